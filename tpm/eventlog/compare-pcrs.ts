/** Replayed PCRs beside given ones, which a quote should have proven: what differs, and what no event explains. */
import { HASH_ALGORITHMS, algorithmName } from '../structures/constants.ts';
import { digest } from '../crypto/digest.ts';
import { EV_ACTION_TYPES } from './event-types.ts';
import { FindingList } from './finding.ts';
import type { EventLogFinding } from './finding.ts';
import { EXIT_BOOT_SERVICES, EXIT_BOOT_SERVICES_FAILURE, EXIT_BOOT_SERVICES_SUCCESS } from './known-digests.ts';
import type { EventLog } from './parse.ts';
import { ReplayedBank, startValue } from './replay.ts';
import type { Replay, ReplayedPcrs } from './replay.ts';

/**
 * What one PCR turned out to be. `explained`: the log gives its value. `deviation`: it does so with the ExitBootServices actions
 * that the firmware measured and did not log. `unexplained`: no event of the log extends it; its value speaks alone.
 */
export interface PcrComparison {
  readonly bank: number;
  readonly pcr: number;
  readonly outcome: 'explained' | 'deviation' | 'different' | 'unexplained';
}

export interface ComparedPcrs {
  readonly pcrs: readonly PcrComparison[];
  readonly findings: readonly EventLogFinding[];
}

/** PCRs that firmware extends in every bank that is active: none of them may be as at its start. */
const FIRMWARE_PCRS = [0, 1, 2, 3, 4, 5, 6, 7];
const EXIT_PCR = 5;

/** What firmware may have measured into PCR 5 without a word in the log. */
const UNLOGGED_ACTIONS: readonly (readonly string[])[] = [
  [EXIT_BOOT_SERVICES, EXIT_BOOT_SERVICES_SUCCESS],
  [EXIT_BOOT_SERVICES, EXIT_BOOT_SERVICES_FAILURE, EXIT_BOOT_SERVICES, EXIT_BOOT_SERVICES_SUCCESS],
  [EXIT_BOOT_SERVICES],
];

/**
 * Compares a replay with given PCRs, bank by bank. `given` holds the banks that are active, and of each the PCRs that are to be
 * explained; without PCR 10, which is IMA's.
 */
export function comparePcrs(log: EventLog, replay: Replay, given: ReplayedPcrs): ComparedPcrs {
  const findings = new FindingList();
  const pcrs: PcrComparison[] = [];
  for (const [bank, values] of given) {
    const name = algorithmName(bank);
    if (isAtReset(values, bank)) {
      findings.add('BANK_AT_RESET', { bank }, `the active bank ${name} was not extended by the firmware`);
    }
    const replayed = replay.pcrs.get(bank);
    if (replayed === undefined) {
      const declared = log.banks.some(({ alg }) => alg === bank);
      findings.add(
        declared ? 'BANK_NOT_REPLAYABLE' : 'BANK_NOT_IN_LOG',
        { bank },
        declared ? `the active bank ${name} was not replayed` : `the log has no digests for the active bank ${name}`,
      );
      continue;
    }
    for (const [pcr, value] of values) {
      const computed = replayed.get(pcr);
      pcrs.push({ bank, pcr, outcome: comparePcr({ log, replay, bank, pcr, value, computed, findings }) });
    }
  }
  return { pcrs, findings: findings.list() };
}

interface PcrInQuestion {
  readonly log: EventLog;
  readonly replay: Replay;
  readonly bank: number;
  readonly pcr: number;
  readonly value: Buffer;
  readonly computed: Buffer | undefined;
  readonly findings: FindingList;
}

function comparePcr(question: PcrInQuestion): PcrComparison['outcome'] {
  const { log, replay, bank, pcr, value, computed, findings } = question;
  const place = { pcr, bank };
  const name = `${algorithmName(bank)} pcr ${pcr}`;
  if (computed === undefined) {
    if (!value.equals(startValue(pcr, value.length, replay.startup.locality))) {
      findings.add('PCR_WITHOUT_EVENTS', place, `${name} was extended, and no event says by what`);
    }
    return 'unexplained';
  }
  if (computed.equals(value)) return 'explained';
  const actions = pcr === EXIT_PCR ? unloggedActions(log, bank, { computed, value }) : undefined;
  if (actions !== undefined) {
    const message = `${name} is right only with actions that the log lacks: ${actions.join(', ')}`;
    findings.add('EXIT_BOOT_SERVICES_MISSING', place, message);
    return 'deviation';
  }
  const last = lastEventBehind(log, replay, { bank, pcr, value });
  const where = last === undefined ? '' : `; it is the value before event ${last}`;
  findings.add(
    'PCR_MISMATCH',
    last === undefined ? place : { ...place, event: last },
    `${name} is ${value.toString('hex')}, the log gives ${computed.toString('hex')}${where}`,
  );
  return 'different';
}

/** The actions that must be added to get from the computed to the given value; only where the log has no such action. */
function unloggedActions(
  log: EventLog,
  bank: number,
  { computed, value }: { readonly computed: Buffer; readonly value: Buffer },
): readonly string[] | undefined {
  const logged = log.events.some(
    ({ pcr, type, data }) =>
      pcr === EXIT_PCR && EV_ACTION_TYPES.includes(type) && data.toString('latin1').startsWith('Exit Boot Services'),
  );
  if (logged) return undefined;
  return UNLOGGED_ACTIONS.find((actions) => {
    const bankState = new ReplayedBank(bank, 0);
    bankState.load(new Map([[EXIT_PCR, computed]]));
    for (const text of actions) bankState.extend(EXIT_PCR, digest(bank, Buffer.from(text)));
    return bankState.value(EXIT_PCR).equals(value);
  });
}

/** The first event that the given value does not hold, where the log merely goes on further than the PCR. */
function lastEventBehind(
  log: EventLog,
  replay: Replay,
  { bank, pcr, value }: { readonly bank: number; readonly pcr: number; readonly value: Buffer },
): number | undefined {
  const position = log.banks.findIndex(({ alg }) => alg === bank);
  const state = new ReplayedBank(bank, replay.startup.locality);
  for (const event of log.events) {
    if (event.pcr !== pcr) continue;
    if (state.value(pcr).equals(value)) return event.index;
    state.extendByEvent(event, position);
  }
  return undefined;
}

/** Carte Blanche (CVE-2021-42299): a bank that is active and left alone can be extended with any log later. */
function isAtReset(values: ReadonlyMap<number, Buffer>, bank: number): boolean {
  const size = HASH_ALGORITHMS.get(bank)?.size;
  const present = FIRMWARE_PCRS.filter((pcr) => values.has(pcr));
  if (size === undefined || present.length === 0) return false;
  // PCR 0 may begin with a locality; more than its last byte says that it was extended.
  return present.every(
    (pcr) =>
      values
        .get(pcr)
        ?.subarray(0, size - 1)
        .every((byte) => byte === 0) ?? false,
  );
}
