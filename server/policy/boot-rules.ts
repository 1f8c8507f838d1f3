/** The boot part of a policy: what it may say, and what is wrong with a draft of it. */
import type { PolicyProblem } from './policy-problem.ts';

/** What every rule has. */
export interface BootRule {
  readonly severity: 'warning' | 'contraindicated';
  /** The operator's sentence; may be empty. */
  readonly message: string;
}

/** SHA-256 of certificates, lower-case hex. */
export interface SignerRule extends BootRule {
  readonly certificates: readonly string[];
}

/** Authenticode digests, lower-case hex; the hash shows in their length. */
export interface ImageRule extends BootRule {
  readonly digests: readonly string[];
}

/** Lowest generation by component. */
export interface SbatRule extends BootRule {
  readonly minimum: Readonly<Record<string, number>>;
}

export interface CommandLineRule extends BootRule {
  readonly allowed: readonly string[];
  readonly required: readonly string[];
  readonly forbidden: readonly string[];
}

/** Null where there is no such rule; at least one is there. */
export interface BootRules {
  readonly secureBoot: BootRule | null;
  readonly allowedSigners: SignerRule | null;
  readonly forbiddenSigners: SignerRule | null;
  readonly allowedImages: ImageRule | null;
  readonly forbiddenImages: ImageRule | null;
  readonly sbatLevel: SbatRule | null;
  readonly commandLine: CommandLineRule | null;
}

/** Asks for a verified log, and for nothing of it. */
export const NO_BOOT_RULES: BootRules = {
  secureBoot: null,
  allowedSigners: null,
  forbiddenSigners: null,
  allowedImages: null,
  forbiddenImages: null,
  sbatLevel: null,
  commandLine: null,
};

type Draft<Rule extends BootRule> = Omit<Rule, 'severity'> & {
  readonly severity: BootRule['severity'] | undefined | 'unknown';
};

/** The same as it was written: rules that were left out are undefined. */
export type BootRulesDraft = {
  readonly [Name in keyof BootRules]: Draft<NonNullable<BootRules[Name]>> | undefined;
};

const MAX_SIGNERS = 64;
const MAX_IMAGES = 1024;
const MAX_COMPONENTS = 64;
const MAX_LINES = 64;
const MAX_LINE_BYTES = 4096;
const MAX_MESSAGE_BYTES = 512;
const MAX_GENERATION = 0xffff_ffff;

export function resolveBootRules(draft: BootRulesDraft): BootRules {
  const lower = (values: readonly string[]): readonly string[] => values.map((value) => value.toLowerCase());
  const signers = (rule: BootRulesDraft['allowedSigners']): SignerRule | null =>
    rule === undefined ? null : { ...resolved(rule), certificates: lower(rule.certificates) };
  const images = (rule: BootRulesDraft['allowedImages']): ImageRule | null =>
    rule === undefined ? null : { ...resolved(rule), digests: lower(rule.digests) };
  return {
    secureBoot: draft.secureBoot === undefined ? null : resolved(draft.secureBoot),
    allowedSigners: signers(draft.allowedSigners),
    forbiddenSigners: signers(draft.forbiddenSigners),
    allowedImages: images(draft.allowedImages),
    forbiddenImages: images(draft.forbiddenImages),
    sbatLevel: draft.sbatLevel === undefined ? null : resolved(draft.sbatLevel),
    commandLine: draft.commandLine === undefined ? null : resolved(draft.commandLine),
  };
}

function resolved<Rule extends Draft<BootRule>>(
  rule: Rule,
): Omit<Rule, 'severity'> & { severity: BootRule['severity'] } {
  return { ...rule, severity: rule.severity === 'warning' ? 'warning' : 'contraindicated' };
}

/** Every problem, with the path of its field. */
export function bootRuleProblems(draft: BootRulesDraft): readonly PolicyProblem[] {
  if (Object.values(draft).every((rule) => rule === undefined)) {
    return [{ field: 'boot', message: 'has no rule: give one, or leave it out' }];
  }
  return [
    ...ruleProblems('secure_boot', draft.secureBoot),
    ...ruleProblems('allowed_signers', draft.allowedSigners),
    ...ruleProblems('forbidden_signers', draft.forbiddenSigners),
    ...ruleProblems('allowed_images', draft.allowedImages),
    ...ruleProblems('forbidden_images', draft.forbiddenImages),
    ...ruleProblems('sbat_level', draft.sbatLevel),
    ...ruleProblems('command_line', draft.commandLine),
    ...signerProblems('allowed_signers', draft.allowedSigners),
    ...signerProblems('forbidden_signers', draft.forbiddenSigners),
    ...imageProblems('allowed_images', draft.allowedImages),
    ...imageProblems('forbidden_images', draft.forbiddenImages),
    ...sbatProblems(draft.sbatLevel),
    ...commandLineProblems(draft.commandLine),
  ];
}

function ruleProblems(name: string, rule: Draft<BootRule> | undefined): readonly PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  if (rule?.severity === 'unknown')
    problems.push({ field: `boot.${name}.severity`, message: 'is not a known severity' });
  if (Buffer.byteLength(rule?.message ?? '') > MAX_MESSAGE_BYTES)
    problems.push({ field: `boot.${name}.message`, message: `is longer than ${MAX_MESSAGE_BYTES} bytes` });
  return problems;
}

function signerProblems(name: string, rule: BootRulesDraft['allowedSigners']): readonly PolicyProblem[] {
  if (rule === undefined) return [];
  const field = `boot.${name}.certificates`;
  return [
    ...countProblems(field, rule.certificates.length, MAX_SIGNERS),
    ...hexProblems(field, rule.certificates, [64], '64 hex digits, the sha256 of a certificate'),
  ];
}

function imageProblems(name: string, rule: BootRulesDraft['allowedImages']): readonly PolicyProblem[] {
  if (rule === undefined) return [];
  const field = `boot.${name}.digests`;
  return [
    ...countProblems(field, rule.digests.length, MAX_IMAGES),
    ...hexProblems(field, rule.digests, [64, 96, 128], '64, 96 or 128 hex digits: a sha256, sha384 or sha512 digest'),
  ];
}

const COMPONENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

function sbatProblems(rule: BootRulesDraft['sbatLevel']): readonly PolicyProblem[] {
  if (rule === undefined) return [];
  const field = 'boot.sbat_level.minimum';
  const components = Object.entries(rule.minimum);
  const problems = [...countProblems(field, components.length, MAX_COMPONENTS)];
  for (const [component, generation] of components) {
    const at = `${field}[${JSON.stringify(component)}]`;
    if (!COMPONENT.test(component))
      problems.push({ field: at, message: 'a component is 1 to 64 of A-Z, a-z, 0-9, ".", "_" and "-"' });
    if (!Number.isInteger(generation) || generation < 1 || generation > MAX_GENERATION)
      problems.push({ field: at, message: 'a generation is a number from 1' });
  }
  return problems;
}

/** An argument that nobody gives, written by who means every value of it: `init=`, `init=*`, `systemd.*`. */
const ANY_VALUE = /=\*?$|^[^=]*\*/;

function commandLineProblems(rule: BootRulesDraft['commandLine']): readonly PolicyProblem[] {
  if (rule === undefined) return [];
  const field = 'boot.command_line';
  const { allowed, required, forbidden } = rule;
  if (allowed.length + required.length + forbidden.length === 0)
    return [{ field, message: 'asks for nothing: give allowed, required or forbidden' }];
  const problems: PolicyProblem[] = [];
  for (const [name, lines] of Object.entries({ allowed, required, forbidden })) {
    if (lines.length > MAX_LINES)
      problems.push({ field: `${field}.${name}`, message: `holds more than ${MAX_LINES} entries` });
    for (const [position, line] of lines.entries()) {
      const at = `${field}.${name}[${position}]`;
      if (line === '' || Buffer.byteLength(line) > MAX_LINE_BYTES)
        problems.push({ field: at, message: `must have 1 to ${MAX_LINE_BYTES} bytes` });
      else if (name !== 'allowed' && /[\s"]/.test(line))
        problems.push({ field: at, message: 'is one argument, without white space and quotes' });
      else if (name === 'forbidden' && ANY_VALUE.test(line))
        problems.push({ field: at, message: 'is no pattern: the name alone, without "=", forbids every value' });
    }
  }
  return problems;
}

function countProblems(field: string, count: number, max: number): readonly PolicyProblem[] {
  return count >= 1 && count <= max ? [] : [{ field, message: `must hold 1 to ${max} values` }];
}

function hexProblems(
  field: string,
  values: readonly string[],
  lengths: readonly number[],
  wanted: string,
): readonly PolicyProblem[] {
  return values.flatMap((value, position) =>
    /^[0-9a-fA-F]*$/.test(value) && lengths.includes(value.length)
      ? []
      : [{ field: `${field}[${position}]`, message: `must be ${wanted}` }],
  );
}
