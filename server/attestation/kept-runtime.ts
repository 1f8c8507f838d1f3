import { parseCheckpoint } from '../../tpm/ima/checkpoint.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import { NOTHING_YET } from '../policy/appraise-runtime.ts';
import type { RuntimeEvidence } from '../policy/appraise-runtime.ts';
import type { RuntimeJudge } from '../policy/judge-entry.ts';
import { runtimeRulesOf } from '../policy/policy.ts';
import { faultsBeside, foundInReset, tallyOfFaults } from '../policy/runtime-state.ts';
import type { RuntimeState } from '../policy/runtime-state.ts';
import { EMPTY_TALLY, withFormerFaults } from '../policy/runtime-tally.ts';
import type { RuntimeTally } from '../policy/runtime-tally.ts';
import { isDamaged } from '../store/damaged.ts';
import type { LogStore } from '../store/log-store.ts';
import type { CheckRecord } from '../store/records.ts';
import type { Finding } from '../verifier/finding.ts';
import type { KeptEvidence } from './kept-evidence.ts';
import { explainKept } from './kept-findings.ts';
import { bootAgainst } from './boot-of-list.ts';
import { followKept, keptBytes } from './kept-list.ts';
import { evidenceOf } from './list-evidence.ts';
import { explainFollowed } from './list-findings.ts';
import { loadRuntime } from './known-runtime.ts';
import type { RuntimeServices } from './runtime-services.ts';

/** What the kept list of a host comes to under a policy. */
export interface KeptRuntime {
  /** Null where the policy asks for none. */
  readonly evidence: RuntimeEvidence | null;
  /** Why the kept list does not say what ran; what stands against the host is in the evidence all the same. Null where it does. */
  readonly finding: Finding | null;
}

export interface KeptRuntimeServices {
  readonly store: Pick<LogStore, 'getRuntime' | 'readLog'>;
  readonly runtimes: RuntimeServices;
}

/**
 * Judges the kept list of run-time measurements, as far as the last round proved it. Another judge than that of the rounds judges
 * every entry anew, against the values that they proved.
 */
export async function judgeKeptRuntime(
  services: KeptRuntimeServices,
  { host, result, boot }: KeptEvidence,
  applicable: ApplicablePolicy,
): Promise<KeptRuntime> {
  const rules = applicable.kind === 'policy' ? runtimeRulesOf(applicable.policy) : null;
  if (applicable.kind !== 'policy' || rules === null) return { evidence: null, finding: null };
  const { state } = await loadRuntime(services.store, host.id);
  if (state?.resetCount !== host.clock.resetCount) return unknownRuntime('no list of this boot');
  const outcome = await services.runtimes.judges.of(applicable, rules);
  const found = { tally: foundInReset(state, host.clock), boot: bootAgainst(state, host.clock, boot) };
  if (outcome.kind === 'missing') return unknownRuntime(`not there: ${outcome.names.join(', ')}`, found);
  const tally = await tallyOf(services, { hostId: host.id, state, judge: outcome.judge }).catch((error: unknown) => {
    if (isDamaged(error)) return 'damaged' as const;
    throw error;
  });
  if (tally === 'damaged') return unknownRuntime('a list that is damaged', found);
  // It took the place of the one in which this was found.
  if (tally === null) return unknownRuntime('a list that does not lead to the values that were proven', found);
  // After a resume the list that came since may begin with it: then the rules of now have judged that.
  if (state.restartCount !== host.clock.restartCount)
    return unknownRuntime('a list of another boot', { tally: tallyOfFaults(tally.faults), boot: null });
  const checkpoint = parseCheckpoint(state.checkpoint);
  const { entries } = checkpoint;
  const said = result.checks.find(({ id }) => id === 'runtime.list');
  if (said === undefined || !isOfProvenList(said)) {
    const { finding } = unknownRuntime('no list that the last quote proved');
    return { evidence: unprovenBy(said, { tally, entries, boot: found.boot }), finding };
  }
  return { evidence: evidenceOf(checkpoint, tally, boot), finding: null };
}

async function tallyOf(
  { runtimes }: KeptRuntimeServices,
  { hostId, state, judge }: { readonly hostId: string; readonly state: RuntimeState; readonly judge: RuntimeJudge },
): Promise<RuntimeTally | null> {
  if (state.judge === judge.digest) return withFormerFaults(state.tally, state.former);
  if (parseCheckpoint(state.checkpoint).entries === 0) return withFormerFaults(EMPTY_TALLY, state.former);
  const bytes = keptBytes(runtimes, hostId, state);
  const list = await followKept(runtimes, { hostId, state }, bytes);
  if (list === null) return null;
  const tally = await runtimes.tally(list, { bytes, before: EMPTY_TALLY, judge });
  // Other lists of this reset are gone: what was found in them stands, whoever judges now.
  return withFormerFaults(tally, faultsBeside(state, tally));
}

type Against = Pick<RuntimeEvidence & { readonly kind: 'unproven' }, 'tally' | 'boot'>;

/** `found`: what stands against the host all the same. */
function unknownRuntime(observed: string, found: Against = { tally: null, boot: null }) {
  const evidence: RuntimeEvidence = { ...NOTHING_YET, ...found };
  return { evidence, finding: explainKept.unknownRuntime(observed) };
}

/** What the last round said of a list that did not explain its quote, beside what earlier ones proved of it. */
function unprovenBy(
  said: CheckRecord | undefined,
  { entries, ...against }: Against & { readonly entries: number },
): RuntimeEvidence {
  switch (said?.reason) {
    case 'IMA_LOG_INCOMPLETE':
      return { kind: 'unproven', finding: said, absent: false, ...against };
    case 'RUNTIME_LIST_EMPTY':
      return { kind: 'unproven', finding: explainFollowed.empty(), absent: true, ...against };
    case 'RUNTIME_LIST_UNREADABLE':
      return {
        kind: 'unproven',
        finding: explainFollowed.unreadable(said.observed),
        absent: entries === 0,
        ...against,
      };
    default:
      return { ...NOTHING_YET, ...against };
  }
}

/** What the check of a list says that was followed to the quote. */
const OF_PROVEN_LISTS: readonly string[] = [
  'IMA_LIST_INCONSISTENT',
  'IMA_ENTRY_UNREADABLE',
  'RUNTIME_BANK_WEAK',
  'RUNTIME_FORMAT_AMBIGUOUS',
  'RUNTIME_NOTHING_MEASURED',
];

/** An inconsistent list may have been followed in an earlier round alone: then it stands against its host all the same. */
function isOfProvenList({ id, outcome, reason }: CheckRecord): boolean {
  return id === 'runtime.list' && (outcome === 'passed' || OF_PROVEN_LISTS.includes(reason));
}
