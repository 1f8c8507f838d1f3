import type { FileRule, RuntimeAction, RuntimeRules } from './runtime-rules.ts';

/** What run-time rules require of a host, a sentence for each. */
export function describeRuntimeRules(rules: RuntimeRules | null): readonly string[] {
  if (rules === null) return [];
  const { list, files, forbiddenFiles, invalidSignatures, violations, otherKernels } = rules;
  return [
    'What ran since the boot is told by a list of the kernel that explains PCR 10; without one the host is not affirmed.',
    ...(list === null ? [] : [sentence('A list that is missing or empty', list.severity, list.message)]),
    ...(files === null ? [] : [describeFiles(files)]),
    ...(forbiddenFiles === null
      ? []
      : [
          sentence(
            `The use of one of ${forbiddenFiles.digests.length} forbidden files`,
            forbiddenFiles.severity,
            forbiddenFiles.message,
          ),
        ]),
    ...(hasKeys(files)
      ? [sentence('A signature on a file that is not valid', invalidSignatures.action, invalidSignatures.message)]
      : []),
    sentence('A file that is written while it is measured or in use', violations.action, violations.message),
    sentence('Another kernel that is loaded', otherKernels.action, otherKernels.message),
  ];
}

function hasKeys(files: FileRule | null): boolean {
  return files !== null && (files.keyrings.length > 0 || files.trustHostKeys);
}

function describeFiles(files: FileRule): string {
  const { referenceSets, keyrings, requireSignature, trustHostKeys, excludes } = files;
  const sets = referenceSets.length === 0 ? [] : [`stands in ${referenceSets.join(' or ')}`];
  const host = trustHostKeys ? ['that the host added to .ima'] : [];
  const keys = hasKeys(files)
    ? [`is signed by a key ${[...keyrings.map((name) => `of ${name}`), ...host].join(' or ')}`]
    : [];
  const excluded = excludes.length === 0 ? '' : `, except where one of ${excludes.length} path patterns fits`;
  const allowed = [...sets, ...keys].join(requireSignature ? ' and ' : ' or ');
  return sentence(`Every file that is used ${allowed}${excluded}; another one`, files.unknown, files.message);
}

const MEANINGS: Readonly<Record<RuntimeAction, string>> = {
  ignore: 'means nothing',
  warning: 'is a warning',
  contraindicated: 'makes the host contraindicated',
};

function sentence(what: string, action: RuntimeAction, message: string): string {
  return `${what} ${MEANINGS[action]}.${message === '' ? '' : ` ${message}`}`;
}
