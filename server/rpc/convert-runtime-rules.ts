import type { MessageInitShape } from '@bufbuild/protobuf';

import { RuntimeAction as ProtoAction } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type {
  RuntimeRules as ProtoRuntimeRules,
  RuntimeRulesSchema,
} from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { RuntimeAction, RuntimeRules, RuntimeRulesDraft } from '../policy/runtime-rules.ts';
import { asksForSignatures } from '../policy/runtime-rules.ts';
import { severityFromProto, severityToProto } from './convert-severity.ts';

const ACTIONS: Readonly<Record<RuntimeAction, ProtoAction>> = {
  ignore: ProtoAction.IGNORE,
  warning: ProtoAction.WARNING,
  contraindicated: ProtoAction.CONTRAINDICATED,
};

export function runtimeRulesFromProto(runtime: ProtoRuntimeRules | undefined): RuntimeRulesDraft | undefined {
  if (runtime === undefined) return undefined;
  const { list, files, forbiddenFiles, invalidSignatures, violations, otherKernels } = runtime;
  const finding = (rule: typeof invalidSignatures): RuntimeRulesDraft['invalidSignatures'] =>
    rule && { action: actionFromProto(rule.action), message: rule.message };
  return {
    list: list && { severity: severityFromProto(list.severity), message: list.message },
    files: files && {
      referenceSets: [...files.referenceSets],
      keyrings: [...files.keyrings],
      requireSignature: files.requireSignature,
      trustHostKeys: files.trustHostKeys,
      excludes: [...files.excludes],
      unknown: actionFromProto(files.unknown),
      message: files.message,
    },
    forbiddenFiles: forbiddenFiles && {
      digests: [...forbiddenFiles.digests],
      severity: severityFromProto(forbiddenFiles.severity),
      message: forbiddenFiles.message,
    },
    invalidSignatures: finding(invalidSignatures),
    violations: violations && {
      action: actionFromProto(violations.action),
      applyExcludes: violations.applyExcludes,
      message: violations.message,
    },
    otherKernels: finding(otherKernels),
  };
}

function actionFromProto(action: ProtoAction): RuntimeAction | undefined | 'unknown' {
  if (action === ProtoAction.UNSPECIFIED) return undefined;
  const known = (Object.keys(ACTIONS) as RuntimeAction[]).find((candidate) => ACTIONS[candidate] === action);
  return known ?? 'unknown';
}

export function runtimeRulesToProto(rules: RuntimeRules): MessageInitShape<typeof RuntimeRulesSchema> {
  const { list, files, forbiddenFiles, invalidSignatures, violations, otherKernels } = rules;
  return {
    ...(list === null ? {} : { list: { severity: severityToProto(list.severity), message: list.message } }),
    ...(files === null
      ? {}
      : {
          files: {
            ...files,
            referenceSets: [...files.referenceSets],
            keyrings: [...files.keyrings],
            excludes: [...files.excludes],
            unknown: ACTIONS[files.unknown],
          },
        }),
    ...(forbiddenFiles === null
      ? {}
      : {
          forbiddenFiles: {
            digests: [...forbiddenFiles.digests],
            severity: severityToProto(forbiddenFiles.severity),
            message: forbiddenFiles.message,
          },
        }),
    ...(asksForSignatures(files)
      ? { invalidSignatures: { ...invalidSignatures, action: ACTIONS[invalidSignatures.action] } }
      : {}),
    violations: { ...violations, action: ACTIONS[violations.action] },
    otherKernels: { ...otherKernels, action: ACTIONS[otherKernels.action] },
  };
}
