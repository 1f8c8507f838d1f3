import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import {
  CheckOutcome as ProtoOutcome,
  Connectivity,
  TrustStatus as ProtoStatus,
} from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type {
  AttestationResultSchema,
  CheckSchema,
  ResultFilter as ProtoFilter,
} from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { isHostId } from '../../proto/certificate-profile.ts';
import { isPolicyId, labelProblem } from '../policy/policy.ts';
import type { CheckOutcome, CheckRecord, Labels, ResultRecord, TrustStatus } from '../store/records.ts';
import type { ResultFilter } from '../store/filters.ts';
import { idOf, invalid } from './invalid.ts';

export const STATUSES: Readonly<Record<TrustStatus, ProtoStatus>> = {
  none: ProtoStatus.NONE,
  affirming: ProtoStatus.AFFIRMING,
  warning: ProtoStatus.WARNING,
  contraindicated: ProtoStatus.CONTRAINDICATED,
};

const OUTCOMES: Readonly<Record<CheckOutcome, ProtoOutcome>> = {
  passed: ProtoOutcome.PASSED,
  failed: ProtoOutcome.FAILED,
  error: ProtoOutcome.ERROR,
};

export const CONNECTIVITY: Readonly<Record<ResultRecord['connectivity'], Connectivity>> = {
  never_seen: Connectivity.NEVER_SEEN,
  connected: Connectivity.CONNECTED,
  unreachable: Connectivity.UNREACHABLE,
};

const MAX_HOSTS = 100;
const MAX_POLICIES = 100;
const MAX_LABELS = 16;

export function statusToProto(status: TrustStatus): ProtoStatus {
  return STATUSES[status];
}

export function resultToProto(result: ResultRecord): MessageInitShape<typeof AttestationResultSchema> {
  return {
    name: `hosts/${result.hostId}/attestationResults/${result.revision}`,
    host: `hosts/${result.hostId}`,
    revision: BigInt(result.revision),
    status: STATUSES[result.status],
    vector: { ...result.vector },
    checks: result.checks.map(checkToProto),
    trustPolicy: result.policyId === '' ? '' : `trustPolicies/${result.policyId}`,
    trustPolicyVersion: BigInt(result.policyVersion),
    appraisalInputDigest: result.inputDigest,
    evidenceDigest: result.evidenceDigest,
    akName: result.akName,
    ...(result.challengeTime === 0 ? {} : { challengeTime: timestampFromMs(result.challengeTime) }),
    ...(result.validUntil === null ? {} : { validUntil: timestampFromMs(result.validUntil) }),
    confirmations: BigInt(result.confirmations),
    connectivity: CONNECTIVITY[result.connectivity],
    resetCount: result.resetCount,
    restartCount: result.restartCount,
    nodeName: result.nodeName,
    labels: { ...result.labels },
    revisionTime: timestampFromMs(result.revisionTime),
    endorsementVersion: BigInt(result.endorsementVersion),
  };
}

export function checkToProto(check: CheckRecord): MessageInitShape<typeof CheckSchema> {
  return { ...check, outcome: OUTCOMES[check.outcome] };
}

/**
 * A filter that is not understood is refused, never ignored.
 * @param scope of the caller, who gets no say in it
 */
export function filterFromProto(filter: ProtoFilter | undefined, scope: Labels): ResultFilter {
  const { hosts = [], statuses = [], matchLabels = {}, trustPolicies = [] } = filter ?? {};
  if (hosts.length > MAX_HOSTS) throw invalid('filter.hosts', `has more than ${MAX_HOSTS} entries`);
  if (trustPolicies.length > MAX_POLICIES)
    throw invalid('filter.trust_policies', `has more than ${MAX_POLICIES} entries`);
  return {
    hostIds: hosts.map((name, index) =>
      idOf(name, { collection: 'hosts', field: `filter.hosts[${index}]`, isId: isHostId }),
    ),
    statuses: statuses.map((status, index) => {
      const known = (Object.keys(STATUSES) as TrustStatus[]).find((candidate) => STATUSES[candidate] === status);
      if (known === undefined) throw invalid(`filter.statuses[${index}]`, 'is no status that is known here');
      return known;
    }),
    policyIds: trustPolicies.map((name, index) =>
      idOf(name, { collection: 'trustPolicies', field: `filter.trust_policies[${index}]`, isId: isPolicyId }),
    ),
    matchLabels: labelsFromProto(matchLabels, 'filter.match_labels', MAX_LABELS),
    scope,
  };
}

export function labelsFromProto(
  labels: Readonly<Record<string, string>>,
  field: string,
  max: number,
): Readonly<Record<string, string>> {
  const entries = Object.entries(labels);
  if (entries.length > max) throw invalid(field, `has more than ${max} labels`);
  for (const [key, value] of entries) {
    const problem = labelProblem(key, value);
    if (problem !== null) throw invalid(`${field}[${JSON.stringify(key)}]`, problem);
  }
  return { ...labels };
}
