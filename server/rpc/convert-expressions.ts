import type { MessageInitShape } from '@bufbuild/protobuf';

import { VectorClaim } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { ExpressionRule as ProtoRule, ExpressionRuleSchema } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { ExpressionRule, ExpressionRuleDraft } from '../policy/expression-rules.ts';
import { severityFromProto, severityToProto } from './convert-severity.ts';

const CLAIMS: readonly (readonly [VectorClaim, ExpressionRule['claim']])[] = [
  [VectorClaim.INSTANCE_IDENTITY, 'instanceIdentity'],
  [VectorClaim.CONFIGURATION, 'configuration'],
  [VectorClaim.EXECUTABLES, 'executables'],
  [VectorClaim.HARDWARE, 'hardware'],
];

export function expressionsFromProto(rules: readonly ProtoRule[]): readonly ExpressionRuleDraft[] {
  return rules.map(({ id, expression, claim, severity, message }) => ({
    id,
    expression,
    claim: claimFromProto(claim),
    severity: severityFromProto(severity),
    message,
  }));
}

function claimFromProto(claim: VectorClaim): ExpressionRuleDraft['claim'] {
  if (claim === VectorClaim.UNSPECIFIED) return undefined;
  return CLAIMS.find(([known]) => known === claim)?.[1] ?? 'unknown';
}

export function expressionsToProto(rules: readonly ExpressionRule[]): MessageInitShape<typeof ExpressionRuleSchema>[] {
  return rules.map(({ claim, severity, ...rule }) => ({
    ...rule,
    claim: CLAIMS.find(([, known]) => known === claim)?.[0] ?? VectorClaim.UNSPECIFIED,
    severity: severityToProto(severity),
  }));
}
