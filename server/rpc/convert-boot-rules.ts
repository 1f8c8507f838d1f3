import type { MessageInitShape } from '@bufbuild/protobuf';

import type {
  BootRules as ProtoBootRules,
  BootRulesSchema,
  RuleSeverity,
} from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { BootRule, BootRules, BootRulesDraft } from '../policy/boot-rules.ts';
import { severityFromProto, severityToProto } from './convert-severity.ts';

export function bootRulesFromProto(boot: ProtoBootRules | undefined): BootRulesDraft | undefined {
  if (boot === undefined) return undefined;
  const { secureBoot, allowedSigners, forbiddenSigners, allowedImages, forbiddenImages, sbatLevel, commandLine } = boot;
  const signers = (rule: typeof allowedSigners): BootRulesDraft['allowedSigners'] =>
    rule && { ...common(rule), certificates: [...rule.certificates] };
  const images = (rule: typeof allowedImages): BootRulesDraft['allowedImages'] =>
    rule && { ...common(rule), digests: [...rule.digests] };
  return {
    secureBoot: secureBoot && common(secureBoot),
    allowedSigners: signers(allowedSigners),
    forbiddenSigners: signers(forbiddenSigners),
    allowedImages: images(allowedImages),
    forbiddenImages: images(forbiddenImages),
    sbatLevel: sbatLevel && { ...common(sbatLevel), minimum: { ...sbatLevel.minimum } },
    commandLine: commandLine && {
      ...common(commandLine),
      allowed: [...commandLine.allowed],
      required: [...commandLine.required],
      forbidden: [...commandLine.forbidden],
    },
  };
}

function common(rule: { readonly severity: RuleSeverity; readonly message: string }) {
  return { severity: severityFromProto(rule.severity), message: rule.message };
}

export function bootRulesToProto(rules: BootRules): MessageInitShape<typeof BootRulesSchema> {
  const { secureBoot, allowedSigners, forbiddenSigners, allowedImages, forbiddenImages, sbatLevel, commandLine } =
    rules;
  const severe = ({ severity, message }: BootRule) => ({ severity: severityToProto(severity), message });
  const signers = (rule: NonNullable<typeof allowedSigners>) => {
    return { ...severe(rule), certificates: [...rule.certificates] };
  };
  const images = (rule: NonNullable<typeof allowedImages>) => ({ ...severe(rule), digests: [...rule.digests] });
  return {
    ...(secureBoot === null ? {} : { secureBoot: severe(secureBoot) }),
    ...(allowedSigners === null ? {} : { allowedSigners: signers(allowedSigners) }),
    ...(forbiddenSigners === null ? {} : { forbiddenSigners: signers(forbiddenSigners) }),
    ...(allowedImages === null ? {} : { allowedImages: images(allowedImages) }),
    ...(forbiddenImages === null ? {} : { forbiddenImages: images(forbiddenImages) }),
    ...(sbatLevel === null ? {} : { sbatLevel: { ...severe(sbatLevel), minimum: { ...sbatLevel.minimum } } }),
    ...(commandLine === null
      ? {}
      : {
          commandLine: {
            ...severe(commandLine),
            allowed: [...commandLine.allowed],
            required: [...commandLine.required],
            forbidden: [...commandLine.forbidden],
          },
        }),
  };
}
