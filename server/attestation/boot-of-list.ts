import { bootAggregatesOf, checkBootAggregate } from '../../tpm/ima/boot-aggregate.ts';
import type { BootAggregateCheck, BootAggregateTable } from '../../tpm/ima/boot-aggregate.ts';
import { imaHashByName } from '../../tpm/ima/hash-names.ts';
import type { RuntimeState } from '../policy/runtime-state.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import { recordedPcrs } from '../verifier/boot-record.ts';
import { failed, passed, unevaluated } from '../verifier/finding.ts';
import type { Finding } from '../verifier/finding.ts';

const ID = 'runtime.boot-aggregate';
const EXPECTED = 'a boot_aggregate over the PCRs of this boot';
const FIRST = { index: 0, offset: 0 } as const;

/**
 * Whether the list began in the boot that the TPM speaks of. Its kernel found the PCRs as the firmware's log leaves them, or, where
 * nothing extended them since, as they are quoted.
 */
export function checkBootOfList(aggregate: string | null, boot: KnownBoot | null): Finding {
  if (aggregate === null || aggregate === '') {
    return failed(ID, {
      reason: 'IMA_BOOT_AGGREGATE_MISSING',
      observed: 'another first entry',
      expected: EXPECTED,
      message: 'The list of run-time measurements does not say in which boot it began.',
    });
  }
  const separator = aggregate.indexOf(':');
  const algorithm = aggregate.slice(0, separator);
  const hash = imaHashByName(algorithm);
  const held = { algorithm, hash, value: Buffer.from(aggregate.slice(separator + 1), 'hex') };
  const checks = tablesOf(boot).map((table) => checkBootAggregate(FIRST, held, table));
  const matched = checks.find((check) => check.kind === 'matched');
  if (matched !== undefined) {
    const observed = `${matched.algorithm} ${matched.variant}`;
    return passed(ID, 'The list of run-time measurements began in this boot.', observed);
  }
  const finding = worstOf(checks);
  if (finding === null || finding.code === 'IMA_BOOT_AGGREGATE_UNCHECKED') {
    return unevaluated(ID, {
      reason: 'IMA_BOOT_AGGREGATE_UNCHECKED',
      observed: finding?.message ?? 'the PCRs of this boot are not proven yet',
      expected: EXPECTED,
      message: 'It is not known whether the list of run-time measurements began in this boot.',
    });
  }
  if (finding.code === 'IMA_BOOT_AGGREGATE_EMPTY') {
    return failed(ID, {
      reason: 'IMA_BOOT_AGGREGATE_EMPTY',
      observed: aggregate,
      expected: EXPECTED,
      message: 'The kernel found no TPM when it began to measure, so that the list cannot be tied to a boot.',
    });
  }
  return failed(ID, {
    reason: 'IMA_BOOT_AGGREGATE_MISMATCH',
    observed: aggregate,
    expected: EXPECTED,
    message: 'The list of run-time measurements began in another boot than the TPM speaks of.',
  });
}

/**
 * What the beginning of a list that was proven in this boot says against the host, whoever can judge its entries, and whether the host
 * still shows it: no other list leads to the same PCR values. Null where it says nothing.
 */
export function bootAgainst(
  state: BeginningOfList | null,
  { resetCount, restartCount }: Pick<BeginningOfList, 'resetCount' | 'restartCount'>,
  boot: KnownBoot | null,
): Finding | null {
  if (state?.resetCount !== resetCount || state.restartCount !== restartCount) return null;
  const { bootAggregate } = state.tally;
  const finding = bootAggregate === null ? null : checkBootOfList(bootAggregate, boot);
  return finding?.outcome === 'failed' ? finding : null;
}

type BeginningOfList = Pick<RuntimeState, 'resetCount' | 'restartCount'> & {
  readonly tally: Pick<RuntimeState['tally'], 'bootAggregate'>;
};

/** By boot: its values do not change while it is known. */
const tables = new WeakMap<KnownBoot['record'], readonly BootAggregateTable[]>();

function tablesOf(boot: KnownBoot | null): readonly BootAggregateTable[] {
  if (boot === null) return [];
  const { record, outcome } = boot;
  const known = tables.get(record);
  if (known !== undefined) return known;
  const firmware = outcome.kind === 'verified' ? [outcome.boot.bootAggregates] : [];
  const made = [...firmware, bootAggregatesOf(recordedPcrs(record))];
  tables.set(record, made);
  return made;
}

function worstOf(checks: readonly BootAggregateCheck[]) {
  const findings = checks.flatMap((check) => (check.kind === 'unmatched' ? [check.finding] : []));
  return findings.find(({ code }) => code !== 'IMA_BOOT_AGGREGATE_UNCHECKED') ?? findings[0] ?? null;
}
