/** What a proven list of run-time measurements came to, as expressions see it. */
import type { RuntimeEvidence } from './appraise-runtime.ts';
import { message, Unproven } from './expression-value.ts';
import type { ClaimValue } from './expression-value.ts';
import type { RuntimeReason } from './judge-entry.ts';
import { asksForSignatures } from './runtime-rules.ts';
import type { RuntimeRules } from './runtime-rules.ts';
import { MAX_INVALID_SIGNATURES } from './runtime-tally.ts';

type ProvenRuntime = RuntimeEvidence & { readonly kind: 'proven' };

/** `rules`: those that the list was judged by. What they do not look for is not there. */
export function runtimeClaims(evidence: RuntimeEvidence | null, rules: RuntimeRules | null): ClaimValue {
  if (evidence === null || rules === null) return new Unproven('no list of run-time measurements has come yet');
  if (evidence.kind === 'unproven') {
    return new Unproven(`no proven list of run-time measurements (${evidence.finding.reason})`);
  }
  const { faults } = evidence.tally;
  // What such an entry measured may be anything that a rule looks for.
  const doubt = DOUBTS.find((reason) => faults[reason] !== undefined);
  return doubt === undefined
    ? claimsOfList(evidence, rules)
    : new Unproven(`entries of the list of run-time measurements that say nothing for sure (${doubt})`);
}

/**
 * The same where signatures of the list were not tried, as if every one of them were valid: what is not known must not make a rule
 * hold, whichever way it looks. Null where all were tried.
 */
export function claimsIfValid(evidence: RuntimeEvidence | null, rules: RuntimeRules | null): ClaimValue | null {
  if (evidence?.kind !== 'proven' || rules === null) return null;
  const { tally } = evidence;
  const { FILE_SIGNATURE_INVALID: invalid, FILE_UNKNOWN: unknown } = tally.faults;
  const untried = (invalid?.count ?? 0) - MAX_INVALID_SIGNATURES;
  if (invalid === undefined || untried <= 0) return null;
  const counts = {
    ...tally.counts,
    validSignatures: tally.counts.validSignatures + untried,
    allowed: tally.counts.allowed + untried,
    excluded: Math.max(0, tally.counts.excluded - untried),
  };
  const faults = {
    ...tally.faults,
    FILE_SIGNATURE_INVALID: { ...invalid, count: MAX_INVALID_SIGNATURES },
    ...(unknown === undefined ? {} : { FILE_UNKNOWN: { ...unknown, count: Math.max(0, unknown.count - untried) } }),
  };
  return runtimeClaims({ ...evidence, tally: { ...tally, counts, faults } }, rules);
}

/** The same with what differs between these two left open: between its ends a number may be any. */
export function claimsLeftOpen(worst: ClaimValue, best: ClaimValue): ClaimValue {
  if (!(worst instanceof Map) || !(best instanceof Map)) return worst;
  const ends: ReadonlyMap<unknown, ClaimValue> = best;
  const open = new Unproven('signatures of the list were not tried');
  return new Map([...worst].map(([name, value]) => [name, value === ends.get(name) ? value : open] as const));
}

const DOUBTS: readonly RuntimeReason[] = ['IMA_ENTRY_UNREADABLE', 'IMA_LIST_INCONSISTENT'];

function claimsOfList({ tally, entries, boot }: ProvenRuntime, rules: RuntimeRules): ClaimValue {
  const { counts } = tally;
  const faults = (reason: RuntimeReason): bigint => BigInt(tally.faults[reason]?.count ?? 0);
  const judged = (count: number): bigint | undefined => (rules.files === null ? undefined : BigInt(count));
  const signed = asksForSignatures(rules.files);
  const incomparable = tally.faults.FILE_INCOMPARABLE && new Unproven('files were measured by another hash');
  return message({
    entries: BigInt(entries),
    files: BigInt(counts.files),
    violations: faults('IMA_VIOLATION'),
    other_kernels: faults('KERNEL_REPLACED'),
    boot_aggregate: boot.outcome === 'error' ? new Unproven(boot.message) : boot.outcome === 'passed',
    allowed_files: judged(counts.allowed),
    excluded_files: judged(counts.excluded),
    unknown_files: rules.files === null ? undefined : faults('FILE_UNKNOWN'),
    forbidden_files: rules.forbiddenFiles === null ? undefined : (incomparable ?? faults('FILE_FORBIDDEN')),
    valid_signatures: signed ? BigInt(counts.validSignatures) : undefined,
    unknown_key_signatures: signed ? BigInt(counts.unknownKeySignatures) : undefined,
    invalid_signatures: signed ? faults('FILE_SIGNATURE_INVALID') : undefined,
  });
}
