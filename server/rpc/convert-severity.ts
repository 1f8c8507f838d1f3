import { RuleSeverity } from '../../proto/gen/assay/v1/trust_policy_pb.ts';

export function severityFromProto(severity: RuleSeverity): 'warning' | 'contraindicated' | undefined | 'unknown' {
  switch (severity) {
    case RuleSeverity.UNSPECIFIED:
      return undefined;
    case RuleSeverity.WARNING:
      return 'warning';
    case RuleSeverity.CONTRAINDICATED:
      return 'contraindicated';
    default:
      return 'unknown';
  }
}

export function severityToProto(severity: 'warning' | 'contraindicated'): RuleSeverity {
  return severity === 'warning' ? RuleSeverity.WARNING : RuleSeverity.CONTRAINDICATED;
}
