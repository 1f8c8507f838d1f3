/** Which data of a log is what was measured: each event's digests against the rule of its type. */
import { hash } from 'node:crypto';
import { HASH_ALGORITHMS, algorithmName } from '../structures/constants.ts';
import { DECISIVE_PCRS, EVENT_TYPES, EV_ACTION_TYPES, EV_SEPARATOR, digestRule, eventTypeName } from './event-types.ts';
import type { Candidate, Coverage, DigestRule } from './event-types.ts';
import { FindingList } from './finding.ts';
import { knownDigests } from './known-digests.ts';
import { EV_NO_ACTION } from './parse.ts';
import type { EventLog, LogEvent } from './parse.ts';

/** An event, and what of it can be believed once the PCRs of its banks are proven. */
export interface CheckedEvent extends LogEvent {
  /** Are there bytes in the event that its digests cover? Never true where the type is known to be false. */
  readonly verified: boolean;
  readonly covers: Coverage;
  /** The very bytes that the digests cover. Only from these may anything be concluded. */
  readonly measured: Buffer | undefined;
}

export interface CheckedLog extends EventLog {
  readonly events: readonly CheckedEvent[];
}

/** A bank that takes part: its position in the log's list, and the hash that `node:crypto` knows. */
interface CheckedBank {
  readonly position: number;
  readonly alg: number;
  readonly node: string;
}

/**
 * Checks every event in the given banks (all of the log by default; a caller who has proven but one needs no other). Data is
 * verified where it has the digest in each of them. Digests of other banks are left out: no PCR contradicts them, so that a host
 * may write there what it likes.
 */
export function checkEvents(log: EventLog, banks: readonly number[] = log.banks.map(({ alg }) => alg)): CheckedLog {
  const findings = new FindingList();
  const chosen = log.banks.flatMap(({ alg, replayable }, position): CheckedBank[] => {
    const node = HASH_ALGORITHMS.get(alg)?.node;
    return replayable && node !== undefined && banks.includes(alg) ? [{ position, alg, node }] : [];
  });
  const taken = new Set(log.banks.flatMap(({ alg }, position) => (banks.includes(alg) ? [position] : [])));
  const known = taken.size === log.banks.length ? log.events : log.events.map((event) => withDigestsOf(event, taken));
  const separated = new Set(log.events.filter((event) => isSeparator(event, chosen)).map(({ pcr }) => pcr));
  const events = known.map((event) => checkEvent(event, { banks: chosen, separated, findings }));
  return { ...log, events, findings: [...log.findings, ...findings.list()] };
}

/** By its digest: that an event is called one says nothing. */
function isSeparator({ type, digests }: LogEvent, banks: readonly CheckedBank[]): boolean {
  if (type !== EV_SEPARATOR) return false;
  const first = banks.find(({ position }) => digests[position] !== undefined);
  const digest = first === undefined ? undefined : digests[first.position]?.toString('latin1');
  return first !== undefined && knownDigests(first.alg).get(digest ?? '')?.type === EV_SEPARATOR;
}

function withDigestsOf(event: LogEvent, positions: ReadonlySet<number>): LogEvent {
  const digests = event.digests.map((digest, position) => (positions.has(position) ? digest : undefined));
  return { ...event, digests };
}

interface Surroundings {
  readonly banks: readonly CheckedBank[];
  /** PCRs that have a separator of their own. */
  readonly separated: ReadonlySet<number>;
  readonly findings: FindingList;
}

function checkEvent(event: LogEvent, { banks, separated, findings }: Surroundings): CheckedEvent {
  if (event.type === EV_NO_ACTION) return judged(event, 'nothing', undefined);
  const { index, pcr, type } = event;
  const row = EVENT_TYPES.get(type);
  const place = { event: index, pcr, offset: event.offset };
  if (row === undefined) {
    findings.add('EVENT_TYPE_UNKNOWN', place, `event type ${eventTypeName(type)} is not known`);
  } else if (row.pcrs !== undefined && !row.pcrs.includes(pcr)) {
    findings.add('EVENT_PCR_UNEXPECTED', place, `${row.name} does not belong into pcr ${pcr}`);
  }
  const first = banks.find(({ position }) => event.digests[position] !== undefined);
  if (first === undefined) return judged(event, 'unknown', undefined);
  const rule = digestRule(event);
  const digest = event.digests[first.position]?.toString('latin1') ?? '';
  const found = rule.candidates(event).find(({ bytes }) => hash(first.node, bytes, 'binary') === digest);
  const covers = found?.covers ?? rule.otherwise;
  const match: Match = { first, digest, found, rule, separated };
  const hidden = findHidden(event, match);
  const misfit = hidden ?? findMisfit(event, match);
  if (misfit !== undefined) {
    const isFalse = hidden !== undefined || DECISIVE_PCRS.includes(pcr);
    const code = isFalse ? 'EVENT_TYPE_MISLABELLED' : 'EVENT_TYPE_DOUBTFUL';
    findings.add(code, place, `${eventTypeName(type)}: ${misfit}`);
    return judged(event, covers, undefined);
  }
  if (found === undefined) {
    if (rule.binding === 'data') {
      findings.add('EVENT_DATA_MISMATCH', place, `the data of ${eventTypeName(type)} is not what was measured`);
    }
    return judged(event, covers, undefined);
  }
  const odd = banks.find((bank) => bank !== first && !agrees(event, found, bank));
  if (odd !== undefined) {
    const message = `the ${algorithmName(odd.alg)} digest is not that of the data, the ${algorithmName(first.alg)} digest is`;
    findings.add('EVENT_BANKS_DISAGREE', { ...place, bank: odd.alg }, message);
    return judged(event, covers, undefined);
  }
  return judged(event, covers, found.bytes);
}

/** Spelled out: spreading costs more than hashing what most events hold. */
function judged(event: LogEvent, covers: Coverage, measured: Buffer | undefined): CheckedEvent {
  const { index, offset, pcr, type, digests, data } = event;
  return { index, offset, pcr, type, digests, data, verified: measured !== undefined, covers, measured };
}

/** What was found about one event, in the first of its banks. */
interface Match {
  readonly first: CheckedBank;
  /** Of that bank, as latin1 string. */
  readonly digest: string;
  readonly found: Candidate | undefined;
  readonly rule: DigestRule;
  readonly separated: ReadonlySet<number>;
}

/**
 * What an event is that everybody knows by its digest, and is called otherwise. Four bytes that happen to be those of a separator are
 * no sign where the PCR has its separator: a BootOrder of two entries looks like one, and so do some firmware's contents.
 */
function findHidden({ pcr, type }: LogEvent, { first, digest, separated }: Match): string | undefined {
  const known = knownDigests(first.alg).get(digest);
  if (known !== undefined && !allowedAs(type, known.type) && !(known.type === EV_SEPARATOR && separated.has(pcr))) {
    return `the digest is that of ${known.meaning}`;
  }
  return undefined;
}

/** Why an event is none of its type. Firmware of some makers writes such events where nothing rests on them. */
function findMisfit({ data }: LogEvent, { first, digest, found, rule }: Match): string | undefined {
  if (found !== undefined) return rule.fits?.(found.bytes) === false ? 'what was measured is no such event' : undefined;
  if (rule.binding === 'never' && hash(first.node, data, 'binary') === digest) {
    return 'the digest is that of the data itself, which this type never measures';
  }
  return undefined;
}

/** EV_ACTION and EV_EFI_ACTION are one thing to a known string. */
function allowedAs(type: number, known: number): boolean {
  return known === EV_SEPARATOR ? type === EV_SEPARATOR : EV_ACTION_TYPES.includes(type);
}

/** A bank that the event was not extended into disagrees with nothing. */
function agrees(event: LogEvent, { bytes }: Candidate, { position, node }: CheckedBank): boolean {
  const digest = event.digests[position];
  return digest === undefined || hash(node, bytes, 'binary') === digest.toString('latin1');
}
