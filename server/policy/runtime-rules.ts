/** The run-time part of a policy: what it may say, and what is wrong with a draft of it. */
import { pathPatternProblems } from './path-pattern.ts';
import type { PolicyProblem } from './policy-problem.ts';

export type Severity = 'warning' | 'contraindicated';
/** What something that was measured means. */
export type RuntimeAction = 'ignore' | Severity;

/** There must be a list. */
export interface RuntimeListRule {
  readonly severity: Severity;
  /** The operator's sentence; may be empty. */
  readonly message: string;
}

export interface FileRule {
  /** Resource names. */
  readonly referenceSets: readonly string[];
  readonly keyrings: readonly string[];
  readonly requireSignature: boolean;
  readonly trustHostKeys: boolean;
  readonly excludes: readonly string[];
  readonly unknown: RuntimeAction;
  readonly message: string;
}

export interface ForbiddenFileRule extends RuntimeListRule {
  /** Lower-case hex; the hash shows in their length. */
  readonly digests: readonly string[];
}

export interface RuntimeFindingRule {
  readonly action: RuntimeAction;
  readonly message: string;
}

export interface ViolationRule extends RuntimeFindingRule {
  readonly applyExcludes: boolean;
}

/** Null where there is no such rule. */
export interface RuntimeRules {
  readonly list: RuntimeListRule | null;
  readonly files: FileRule | null;
  readonly forbiddenFiles: ForbiddenFileRule | null;
  readonly invalidSignatures: RuntimeFindingRule;
  readonly violations: ViolationRule;
  readonly otherKernels: RuntimeFindingRule;
}

/** Asks for a list that explains the quote, and for nothing of it. */
export const NO_RUNTIME_RULES: RuntimeRules = {
  list: null,
  files: null,
  forbiddenFiles: null,
  invalidSignatures: { action: 'ignore', message: '' },
  violations: { action: 'ignore', message: '', applyExcludes: false },
  otherKernels: { action: 'ignore', message: '' },
};

/** Signatures are asked for where keys are named. */
export function asksForSignatures(files: Pick<FileRule, 'keyrings' | 'trustHostKeys'> | null): boolean {
  return files !== null && (files.keyrings.length > 0 || files.trustHostKeys);
}

type Choice<Word extends string> = Word | undefined | 'unknown';
type ActionDraft<Rule extends RuntimeFindingRule> = Omit<Rule, 'action'> & { readonly action: Choice<RuntimeAction> };
type SeverityDraft<Rule extends RuntimeListRule> = Omit<Rule, 'severity'> & { readonly severity: Choice<Severity> };

/** The same as it was written: rules that were left out are undefined. */
export interface RuntimeRulesDraft {
  readonly list: SeverityDraft<RuntimeListRule> | undefined;
  readonly files: (Omit<FileRule, 'unknown'> & { readonly unknown: Choice<RuntimeAction> }) | undefined;
  readonly forbiddenFiles: SeverityDraft<ForbiddenFileRule> | undefined;
  readonly invalidSignatures: ActionDraft<RuntimeFindingRule> | undefined;
  readonly violations: ActionDraft<ViolationRule> | undefined;
  readonly otherKernels: ActionDraft<RuntimeFindingRule> | undefined;
}

const MAX_NAMES = 16;
const MAX_DIGESTS = 1024;
const MAX_MESSAGE_BYTES = 512;
/** Hex digits of SHA-1, SHA-224, SHA-256, SHA-384 and SHA-512. */
const DIGEST_LENGTHS: readonly number[] = [40, 56, 64, 96, 128];

const severityOf = (severity: Choice<Severity>): Severity => (severity === 'warning' ? 'warning' : 'contraindicated');
const actionOf = (action: Choice<RuntimeAction>, otherwise: RuntimeAction): RuntimeAction =>
  action === undefined || action === 'unknown' ? otherwise : action;

export function resolveRuntimeRules(draft: RuntimeRulesDraft): RuntimeRules {
  const { list, files, forbiddenFiles, invalidSignatures, violations, otherKernels } = draft;
  return {
    list: list === undefined ? null : { ...list, severity: severityOf(list.severity) },
    files: files === undefined ? null : { ...files, unknown: actionOf(files.unknown, 'contraindicated') },
    forbiddenFiles:
      forbiddenFiles === undefined
        ? null
        : {
            ...forbiddenFiles,
            severity: severityOf(forbiddenFiles.severity),
            digests: forbiddenFiles.digests.map((digest) => digest.toLowerCase()),
          },
    invalidSignatures: {
      message: invalidSignatures?.message ?? '',
      action: actionOf(invalidSignatures?.action, 'contraindicated'),
    },
    violations: {
      message: violations?.message ?? '',
      applyExcludes: violations?.applyExcludes ?? false,
      action: actionOf(violations?.action, 'contraindicated'),
    },
    otherKernels: { message: otherKernels?.message ?? '', action: actionOf(otherKernels?.action, 'warning') },
  };
}

/** Resource names of the sets and keyrings that the rules name. */
export function referencesOfRules(rules: RuntimeRules | null): readonly string[] {
  return [...(rules?.files?.referenceSets ?? []), ...(rules?.files?.keyrings ?? [])];
}

/** Every problem, with the path of its field. */
export function runtimeRuleProblems(draft: RuntimeRulesDraft): readonly PolicyProblem[] {
  if (Object.values(draft).every((rule) => rule === undefined)) {
    return [{ field: 'runtime', message: 'has no rule: give one, or leave it out' }];
  }
  const { list, files, forbiddenFiles, invalidSignatures, violations, otherKernels } = draft;
  return [
    ...commonProblems('list', list),
    ...commonProblems('files', files && { action: files.unknown, message: files.message }, 'unknown'),
    ...commonProblems('forbidden_files', forbiddenFiles),
    ...commonProblems('invalid_signatures', invalidSignatures),
    ...commonProblems('violations', violations),
    ...commonProblems('other_kernels', otherKernels),
    ...fileProblems(files),
    ...digestProblems(forbiddenFiles),
    ...(invalidSignatures !== undefined && !asksForSignatures(files ?? null)
      ? [{ field: 'runtime.invalid_signatures', message: 'has no effect: the files rule names no keys' }]
      : []),
    ...(violations?.applyExcludes === true && (files?.excludes.length ?? 0) === 0
      ? [{ field: 'runtime.violations.apply_excludes', message: 'has no effect: the files rule excludes nothing' }]
      : []),
  ];
}

function commonProblems(
  name: string,
  rule:
    | { readonly severity?: Choice<Severity>; readonly action?: Choice<RuntimeAction>; readonly message: string }
    | undefined,
  actionField = 'action',
): readonly PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  if (rule?.severity === 'unknown')
    problems.push({ field: `runtime.${name}.severity`, message: 'is not a known severity' });
  if (rule?.action === 'unknown')
    problems.push({ field: `runtime.${name}.${actionField}`, message: 'is not a known action' });
  if (Buffer.byteLength(rule?.message ?? '') > MAX_MESSAGE_BYTES)
    problems.push({ field: `runtime.${name}.message`, message: `is longer than ${MAX_MESSAGE_BYTES} bytes` });
  return problems;
}

function fileProblems(rule: RuntimeRulesDraft['files']): readonly PolicyProblem[] {
  if (rule === undefined) return [];
  const problems = [
    ...nameProblems('reference_sets', 'referenceSets/', rule.referenceSets),
    ...nameProblems('keyrings', 'keyrings/', rule.keyrings),
  ];
  const noKeys = rule.keyrings.length === 0 && !rule.trustHostKeys;
  if (noKeys && rule.referenceSets.length === 0) {
    problems.push({
      field: 'runtime.files',
      message: 'allows nothing: name reference sets or keyrings',
    });
  } else if (noKeys && rule.requireSignature) {
    problems.push({ field: 'runtime.files.require_signature', message: 'needs keys: name keyrings' });
  }
  problems.push(...pathPatternProblems(rule.excludes, 'runtime.files.excludes'));
  return problems;
}

const ID = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

function nameProblems(field: string, collection: string, names: readonly string[]): readonly PolicyProblem[] {
  const at = `runtime.files.${field}`;
  if (names.length > MAX_NAMES) return [{ field: at, message: `holds more than ${MAX_NAMES} names` }];
  return names.flatMap((name, position) => {
    const place = `${at}[${position}]`;
    if (!name.startsWith(collection) || !ID.test(name.slice(collection.length)))
      return [{ field: place, message: `must be ${collection} and 1 to 63 of a-z, 0-9 and -` }];
    return names.indexOf(name) === position ? [] : [{ field: place, message: 'is named twice' }];
  });
}

function digestProblems(rule: RuntimeRulesDraft['forbiddenFiles']): readonly PolicyProblem[] {
  if (rule === undefined) return [];
  const field = 'runtime.forbidden_files.digests';
  const { digests } = rule;
  if (digests.length === 0 || digests.length > MAX_DIGESTS)
    return [{ field, message: `must hold 1 to ${MAX_DIGESTS} values` }];
  return digests.flatMap((digest, position) =>
    /^[0-9a-fA-F]*$/.test(digest) && DIGEST_LENGTHS.includes(digest.length)
      ? []
      : [{ field: `${field}[${position}]`, message: 'must be the hex digits of a sha1 or sha2 digest' }],
  );
}
