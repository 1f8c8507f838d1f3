import { describeRule } from './describe-rule.ts';
import { asksForSignatures } from './runtime-rules.ts';
import type { FileRule, RuntimeFindingRule, RuntimeRules } from './runtime-rules.ts';

/** What the run-time rules of a policy require, a sentence for each. */
export function describeRuntimeRules(rules: RuntimeRules | null): readonly string[] {
  if (rules === null) return [];
  const { list, files, forbiddenFiles, invalidSignatures, violations, otherKernels } = rules;
  return [
    'What ran since the boot is told by a list of the kernel that explains PCR 10, as the TPM signed it.',
    ...(list === null ? [] : [describeRule('There is such a list, and something in it', list)]),
    ...(files === null ? [] : describeFinding(describeFiles(files), { action: files.unknown, message: files.message })),
    ...(forbiddenFiles === null
      ? []
      : [describeRule(`None of ${forbiddenFiles.digests.length} forbidden files was used`, forbiddenFiles)]),
    ...(asksForSignatures(files) ? describeFinding('Every signature on a file is valid', invalidSignatures) : []),
    ...describeFinding('No file was written while it was measured or in use', violations),
    ...describeFinding('No other kernel was loaded', otherKernels),
  ];
}

/** Ids of the checks that answer these sentences, in the same order. */
export function checksOfRuntimeRules(rules: RuntimeRules | null): readonly string[] {
  if (rules === null) return [];
  const { list, files, forbiddenFiles, invalidSignatures, violations, otherKernels } = rules;
  const unless = ({ action }: Pick<RuntimeFindingRule, 'action'>, id: string): readonly string[] =>
    action === 'ignore' ? [] : [id];
  return [
    'runtime.list',
    ...(list === null ? [] : ['runtime.list']),
    ...(files === null ? [] : unless({ action: files.unknown }, 'runtime.files')),
    ...(forbiddenFiles === null ? [] : ['runtime.forbidden-files']),
    ...(asksForSignatures(files) ? unless(invalidSignatures, 'runtime.signatures') : []),
    ...unless(violations, 'runtime.violations'),
    ...unless(otherKernels, 'runtime.kernels'),
  ];
}

/** What a policy ignores it does not require. */
function describeFinding(requirement: string, { action, message }: RuntimeFindingRule): readonly string[] {
  return action === 'ignore' ? [] : [describeRule(requirement, { severity: action, message })];
}

function describeFiles(files: FileRule): string {
  const { referenceSets, keyrings, requireSignature, trustHostKeys, excludes } = files;
  const keys = [...keyrings.map((name) => `of ${name}`), ...(trustHostKeys ? ['that the host added to .ima'] : [])];
  const allowed = [
    ...(referenceSets.length === 0 ? [] : [`stands in ${referenceSets.join(' or ')}`]),
    ...(keys.length === 0 ? [] : [`is signed by a key ${keys.join(' or ')}`]),
  ];
  const excluded = excludes.length === 0 ? '' : `, but for ${excludes.length} patterns of paths`;
  return `Every file that was used ${allowed.join(requireSignature ? ' and ' : ' or ')}${excluded}`;
}
