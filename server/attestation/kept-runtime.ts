import { parseCheckpoint } from '../../tpm/ima/checkpoint.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import type { RuntimeEvidence } from '../policy/appraise-runtime.ts';
import type { RuntimeJudge } from '../policy/judge-entry.ts';
import { runtimeRulesOf } from '../policy/policy.ts';
import { faultsBeside } from '../policy/runtime-state.ts';
import type { RuntimeState } from '../policy/runtime-state.ts';
import { EMPTY_TALLY, withFormerFaults } from '../policy/runtime-tally.ts';
import type { RuntimeTally } from '../policy/runtime-tally.ts';
import { isDamaged } from '../store/damaged.ts';
import type { LogStore } from '../store/log-store.ts';
import type { CheckRecord } from '../store/records.ts';
import type { Finding } from '../verifier/finding.ts';
import type { KeptEvidence } from './kept-evidence.ts';
import { explainKept } from './kept-findings.ts';
import { followKept, keptBytes } from './kept-list.ts';
import { evidenceOf } from './list-evidence.ts';
import { loadRuntime } from './round-runtime.ts';
import type { RuntimeServices } from './runtime-services.ts';

/** What the kept list of a host comes to under a policy, or why it does not say. */
export type KeptRuntime = { readonly evidence: RuntimeEvidence | null } | { readonly finding: Finding };

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
  if (applicable.kind !== 'policy' || rules === null) return { evidence: null };
  const proven = result.checks.some(isOfProvenList);
  const { state } = await loadRuntime(services.store, host.id);
  if (!proven || state === null) return unknownRuntime('no list that the last quote proved');
  const { resetCount, restartCount } = host.clock;
  if (state.resetCount !== resetCount || state.restartCount !== restartCount)
    return unknownRuntime('a list of another boot');
  const outcome = await services.runtimes.judges.of(applicable, rules);
  if (outcome.kind === 'missing') return unknownRuntime(`not there: ${outcome.names.join(', ')}`);
  const tally = await tallyOf(services, { hostId: host.id, state, judge: outcome.judge }).catch((error: unknown) => {
    if (isDamaged(error)) return 'damaged' as const;
    throw error;
  });
  if (tally === 'damaged') return unknownRuntime('a list that is damaged');
  if (tally === null) return unknownRuntime('a list that does not lead to the values that were proven');
  return { evidence: evidenceOf(parseCheckpoint(state.checkpoint), tally, boot) };
}

async function tallyOf(
  { runtimes }: KeptRuntimeServices,
  { hostId, state, judge }: { readonly hostId: string; readonly state: RuntimeState; readonly judge: RuntimeJudge },
): Promise<RuntimeTally | null> {
  if (state.judge === judge.digest) return withFormerFaults(state.tally, state.former);
  const bytes = keptBytes(runtimes, hostId, state);
  const list = await followKept(runtimes, { hostId, state }, bytes);
  if (list === null) return null;
  const tally = await runtimes.tally(list, { bytes, before: EMPTY_TALLY, judge });
  // Other lists of this reset are gone: what was found in them stands, whoever judges now.
  return withFormerFaults(tally, faultsBeside(state, tally));
}

function unknownRuntime(observed: string): KeptRuntime {
  return { finding: explainKept.unknownRuntime(observed) };
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
