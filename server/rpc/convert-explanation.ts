import type { MessageInitShape } from '@bufbuild/protobuf';

import {
  PolicyChoice as ProtoChoice,
  PolicyStanding as ProtoStanding,
} from '../../proto/gen/assay/v1/host_explanation_pb.ts';
import type { HostExplanationSchema } from '../../proto/gen/assay/v1/host_explanation_pb.ts';
import type { HostExplanation, PolicyChoice, PolicyStanding } from '../attestation/explain-host.ts';
import { checkToProto, resultToProto } from './convert-result.ts';

const MAX_CANDIDATES = 100;

const CHOICES: Readonly<Record<PolicyChoice, ProtoChoice>> = {
  named: ProtoChoice.NAMED,
  selected: ProtoChoice.SELECTED,
  none: ProtoChoice.NONE,
  ambiguous: ProtoChoice.AMBIGUOUS,
  named_missing: ProtoChoice.NAMED_MISSING,
};

const STANDINGS: Readonly<Record<PolicyStanding, ProtoStanding>> = {
  judges: ProtoStanding.JUDGES,
  outranked: ProtoStanding.OUTRANKED,
  tied: ProtoStanding.TIED,
  not_asked: ProtoStanding.NOT_ASKED,
};

export function explanationToProto(explanation: HostExplanation): MessageInitShape<typeof HostExplanationSchema> {
  const { applicable, result } = explanation;
  return {
    host: `hosts/${result.hostId}`,
    choice: CHOICES[explanation.choice],
    ...(applicable.kind === 'policy'
      ? { trustPolicy: `trustPolicies/${applicable.policy.id}`, trustPolicyVersion: BigInt(applicable.version) }
      : {}),
    candidates: explanation.candidates
      .slice(0, MAX_CANDIDATES)
      .map(({ id, version, precedence, selects, standing }) => ({
        name: `trustPolicies/${id}`,
        version: BigInt(version),
        precedence,
        selects,
        standing: STANDINGS[standing],
      })),
    requirements: explanation.requirements.map(({ description, check }) => ({
      description,
      ...(check === null ? {} : { check: checkToProto(check) }),
    })),
    otherChecks: explanation.otherChecks.map(checkToProto),
    missing: [...explanation.missing],
    // Its checks stand beside the requirements: twice they might not fit into a message.
    result: { ...resultToProto(result), checks: [] },
    inputs: explanation.inputs.map(({ name, version }) => ({ name, version: BigInt(version) })),
    appraisalInputDigest: explanation.inputDigest,
  };
}
