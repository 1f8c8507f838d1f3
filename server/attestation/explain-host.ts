import { appraisalInputDigest, ENGINE_VERSION } from '../policy/appraise.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import { requirementsOf } from '../policy/describe-policy.ts';
import { judgeOf } from '../policy/policy-snapshot.ts';
import type { PolicySnapshot } from '../policy/policy-snapshot.ts';
import { attaches } from '../store/attachment.ts';
import type { CheckRecord, HostRecord, PolicyRecord, ResultRecord } from '../store/records.ts';

export type PolicyChoice = 'named' | 'selected' | 'none' | 'ambiguous' | 'named_missing';
export type PolicyStanding = 'judges' | 'outranked' | 'tied' | 'not_asked';

export interface CandidatePolicy {
  readonly id: string;
  readonly version: number;
  readonly precedence: number;
  readonly selects: boolean;
  readonly standing: PolicyStanding;
}

export interface ExplainedRequirement {
  readonly description: string;
  /** Null where no check answers it, or the host was not judged by this policy yet. */
  readonly check: CheckRecord | null;
}

export interface HostExplanation {
  readonly choice: PolicyChoice;
  readonly applicable: ApplicablePolicy;
  /** The highest precedence first. */
  readonly candidates: readonly CandidatePolicy[];
  readonly requirements: readonly ExplainedRequirement[];
  readonly otherChecks: readonly CheckRecord[];
  /** A sentence for each thing that is missing for AFFIRMING. */
  readonly missing: readonly string[];
  readonly result: ResultRecord;
  readonly inputs: readonly { readonly name: string; readonly version: number }[];
  readonly inputDigest: string;
}

/** Which policy judges a host and why, and what of it holds by the present result. */
export function explainHost(
  { host, result }: { readonly host: HostRecord; readonly result: ResultRecord },
  policies: PolicySnapshot,
): HostExplanation {
  const applicable = judgeOf(policies, host);
  const { epochs } = policies;
  const judged =
    applicable.kind === 'policy' &&
    applicable.policy.id === result.policyId &&
    applicable.version === result.policyVersion;
  const checks = new Map(result.checks.map((check) => [check.id, check]));
  const requirements = applicable.kind === 'policy' ? requirementsOf(applicable.policy) : [];
  const named = new Set(judged ? requirements.map(({ check }) => check) : []);
  return {
    choice: choiceOf(host, applicable),
    applicable,
    candidates: candidatesOf(host, { applicable, records: policies.records }),
    requirements: requirements.map(({ description, check }) => ({
      description,
      check: (judged ? checks.get(check) : undefined) ?? null,
    })),
    otherChecks: result.checks.filter(({ id }) => !named.has(id)),
    missing: missingFor(result),
    result,
    inputs: [
      { name: 'engine', version: ENGINE_VERSION },
      ...(applicable.kind === 'policy'
        ? [
            { name: `trustPolicies/${applicable.policy.id}`, version: applicable.version },
            ...applicable.references.map(({ name, version }) => ({ name, version })),
          ]
        : []),
      { name: 'endorsements', version: epochs.endorsement },
    ],
    inputDigest: appraisalInputDigest(applicable, epochs),
  };
}

function choiceOf({ trustPolicy }: HostRecord, { kind }: ApplicablePolicy): PolicyChoice {
  if (kind === 'ambiguous') return 'ambiguous';
  if (trustPolicy !== '') return kind === 'policy' ? 'named' : 'named_missing';
  return kind === 'policy' ? 'selected' : 'none';
}

function candidatesOf(
  host: HostRecord,
  { applicable, records }: { readonly applicable: ApplicablePolicy; readonly records: readonly PolicyRecord[] },
): readonly CandidatePolicy[] {
  const standingOf = ({ id }: PolicyRecord): PolicyStanding => {
    if (applicable.kind === 'policy' && applicable.policy.id === id) return 'judges';
    if (host.trustPolicy !== '') return 'not_asked';
    return applicable.kind === 'ambiguous' && applicable.ids.includes(id) ? 'tied' : 'outranked';
  };
  return records
    .map((record) => ({ record, selects: attaches(record, host.labels) }))
    .filter(({ record, selects }) => selects || record.id === host.trustPolicy)
    .map(({ record, selects }) => ({
      id: record.id,
      version: record.version,
      precedence: record.attachment.precedence,
      selects,
      standing: standingOf(record),
    }))
    .toSorted((left, right) => right.precedence - left.precedence || (left.id < right.id ? -1 : 1));
}

function missingFor({ status, checks }: ResultRecord): readonly string[] {
  if (status === 'affirming') return [];
  const sentences = checks.filter(({ outcome }) => outcome !== 'passed').map(({ message }) => message);
  return sentences.length > 0 ? sentences : ['No rule of the policy has passed yet.'];
}
