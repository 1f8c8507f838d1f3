import type { MessageInitShape } from '@bufbuild/protobuf';

import { isHostId } from '../../proto/certificate-profile.ts';
import type { SimulatedVerdictSchema, SimulationSummarySchema } from '../../proto/gen/assay/v1/simulation_pb.ts';
import type {
  ReferenceSubstitute as ProtoSubstitute,
  SimulateTrustPolicyRequest,
  TrustPolicy as ProtoPolicy,
} from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import { algorithmName } from '../../tpm/structures/constants.ts';
import type { Reappraisal } from '../attestation/reappraise.ts';
import type { SimulationRequest } from '../attestation/simulate.ts';
import { policyIdOf } from '../attestation/simulation-tally.ts';
import type { SimulatedHost, SimulationSummary } from '../attestation/simulation-tally.ts';
import { isPolicyId } from '../policy/policy.ts';
import type { TrustPolicy } from '../policy/policy.ts';
import type { ReferenceSubstitute } from '../policy/substitute-references.ts';
import type { CheckRecord } from '../store/records.ts';
import { checkToProto, labelsFromProto, statusToProto } from './convert-result.ts';
import { idOf, invalid } from './invalid.ts';

const MAX_HOSTS = 100;
const MAX_LABELS = 16;
const MAX_SUBSTITUTES = 16;
const DEFAULT_VERDICTS = 1_000;
const MAX_VERDICTS = 10_000;
/** Checks and PCRs of one host. */
const MAX_LISTED = 32;

type Wanted = Pick<SimulationRequest, 'change' | 'substitutes' | 'hostIds' | 'matchLabels'> & {
  readonly maxVerdicts: number;
};

/** @param resolve makes a policy of what was written, or throws with every problem */
export function simulationFromProto(
  { change, substitutes, hosts, matchLabels, maxVerdicts }: SimulateTrustPolicyRequest,
  resolve: (policy: ProtoPolicy) => TrustPolicy,
): Wanted {
  if (hosts.length > MAX_HOSTS) throw invalid('hosts', `has more than ${MAX_HOSTS} entries`);
  if (maxVerdicts < 0 || maxVerdicts > MAX_VERDICTS) throw invalid('max_verdicts', `must be from 0 to ${MAX_VERDICTS}`);
  const wanted = {
    substitutes: substitutesFromProto(substitutes),
    hostIds: hosts.map((name, index) => idOf(name, { collection: 'hosts', field: `hosts[${index}]`, isId: isHostId })),
    matchLabels: labelsFromProto(matchLabels, 'match_labels', MAX_LABELS),
    maxVerdicts: maxVerdicts === 0 ? DEFAULT_VERDICTS : maxVerdicts,
  };
  switch (change.case) {
    case 'trustPolicy':
      return { ...wanted, change: { kind: 'apply', policy: resolve(change.value) } };
    case 'deletedTrustPolicy': {
      const field = 'deleted_trust_policy';
      const id = idOf(change.value, { collection: 'trustPolicies', field, isId: isPolicyId });
      return { ...wanted, change: { kind: 'delete', id } };
    }
    case undefined:
      if (substitutes.length > 0) return { ...wanted, change: { kind: 'none' } };
      throw invalid('change', 'is required: a policy to apply, or the name of one to delete; or substitutes');
  }
}

function substitutesFromProto(substitutes: readonly ProtoSubstitute[]): readonly ReferenceSubstitute[] {
  if (substitutes.length > MAX_SUBSTITUTES) throw invalid('substitutes', `has more than ${MAX_SUBSTITUTES} entries`);
  return substitutes.map(({ name, candidate }, index) => {
    const field = `substitutes[${index}]`;
    const collection = name.startsWith('keyrings/') ? 'keyrings' : 'referenceSets';
    idOf(name, { collection, field: `${field}.name`, isId: isPolicyId });
    idOf(candidate, { collection, field: `${field}.candidate`, isId: isPolicyId });
    if (name === candidate) throw invalid(`${field}.candidate`, 'is what it would take the place of');
    if (substitutes.findIndex((other) => other.name === name) < index)
      throw invalid(`${field}.name`, 'is named before');
    return { name, candidate };
  });
}

export function simulatedToProto(simulated: SimulatedHost): MessageInitShape<typeof SimulatedVerdictSchema> {
  const { host, result, before, after, outcome } = simulated;
  return {
    host: `hosts/${host.id}`,
    nodeName: host.nodeName,
    fromStatus: statusToProto(result.status),
    fromTrustPolicy: policyName(policyIdOf(before)),
    toTrustPolicy: policyName(policyIdOf(after)),
    outcome: outcomeToProto(outcome),
    checks: open(outcome.kind === 'unknown' ? [] : outcome.verdict.checks),
    formerChecks: open(result.checks),
    assumedPcrs: (outcome.kind === 'assumed' ? outcome.pcrs : [])
      .slice(0, MAX_LISTED)
      .map(({ hash, pcr }) => ({ bank: algorithmName(hash), index: pcr })),
  };
}

function outcomeToProto(outcome: Reappraisal): NonNullable<MessageInitShape<typeof SimulatedVerdictSchema>['outcome']> {
  switch (outcome.kind) {
    case 'verdict':
      return { case: 'toStatus', value: statusToProto(outcome.verdict.status) };
    case 'assumed':
      return { case: 'assumedStatus', value: statusToProto(outcome.verdict.status) };
    case 'unknown':
      return { case: 'unknown', value: checkToProto(outcome.finding) };
  }
}

export function simulationSummaryToProto(
  summary: SimulationSummary,
  unlisted: number,
): MessageInitShape<typeof SimulationSummarySchema> {
  return {
    hostCount: BigInt(summary.hosts),
    concernedCount: BigInt(summary.concerned),
    worseCount: BigInt(summary.worse),
    betterCount: BigInt(summary.better),
    unknownCount: BigInt(summary.unknown),
    unknownTrustedCount: BigInt(summary.unknownTrusted),
    assumedCount: BigInt(summary.assumed),
    unlistedCount: BigInt(unlisted),
    transitions: summary.transitions.map(({ from, to, assumed, hosts }) => ({
      fromStatus: statusToProto(from),
      ...(to === null ? {} : { toStatus: statusToProto(to) }),
      assumed,
      hostCount: BigInt(hosts),
    })),
    judges: summary.judges.map(({ from, to, ambiguous, hosts }) => ({
      fromTrustPolicy: policyName(from),
      toTrustPolicy: policyName(to),
      ambiguous,
      hostCount: BigInt(hosts),
    })),
  };
}

/** What did not pass. */
function open(checks: readonly CheckRecord[]) {
  return checks
    .filter(({ outcome }) => outcome !== 'passed')
    .slice(0, MAX_LISTED)
    .map(checkToProto);
}

function policyName(id: string): string {
  return id === '' ? '' : `trustPolicies/${id}`;
}
