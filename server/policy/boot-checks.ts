import type { VectorRecord } from '../store/records.ts';
import type { VerifiedBoot } from '../verifier/verify-boot.ts';
import type { BootRule, BootRules, CommandLineRule, ImageRule, SbatRule, SignerRule } from './boot-rules.ts';
import { findArgumentFault } from './command-line.ts';

export interface BootFailure {
  readonly reason: string;
  readonly observed: string;
  readonly expected: string;
  readonly message: string;
}

/** 'error': the boot does not say what the rule needs. */
export type RuleFinding =
  | { readonly kind: 'passed'; readonly observed: string; readonly message: string }
  | ({ readonly kind: 'failed' | 'error' } & BootFailure);

/** One kind of rule: where it shows in a result, and what it rests on. */
export interface BootCheck {
  readonly id: string;
  readonly claim: keyof VectorRecord;
  /** Each round proves that they still hold what the log was replayed against. */
  readonly pcrs: readonly number[];
  readonly evaluate: (boot: VerifiedBoot, rule: BootRule) => RuleFinding;
}

function check<Rule extends BootRule>(
  id: string,
  claim: BootCheck['claim'],
  pcrs: readonly number[],
  evaluate: (boot: VerifiedBoot, rule: Rule) => RuleFinding,
): BootCheck {
  // The table below gives each rule to the check of its own name.
  return { id, claim, pcrs, evaluate: (boot, rule) => evaluate(boot, rule as Rule) };
}

/** A row for each rule. */
export const BOOT_CHECKS: Readonly<Record<keyof BootRules, BootCheck>> = {
  secureBoot: check('boot.secure-boot', 'configuration', [7, 14], checkSecureBoot),
  allowedSigners: check('boot.allowed-signers', 'executables', [7, 14], checkAllowedSigners),
  forbiddenSigners: check('boot.forbidden-signers', 'executables', [7, 14], checkForbiddenSigners),
  allowedImages: check('boot.allowed-images', 'executables', [4, 7, 14], checkAllowedImages),
  forbiddenImages: check('boot.forbidden-images', 'executables', [2, 4, 7, 14], checkForbiddenImages),
  sbatLevel: check('boot.sbat-level', 'configuration', [7, 14], checkSbatLevel),
  commandLine: check('boot.command-line', 'configuration', [8, 9, 12], checkCommandLine),
};

/** The PCRs that the rules of a policy rest on, ascending. */
export function pcrsOfRules(rules: BootRules): readonly number[] {
  const names = (Object.keys(BOOT_CHECKS) as (keyof BootRules)[]).filter((name) => rules[name] !== null);
  return [...new Set(names.flatMap((name) => BOOT_CHECKS[name].pcrs))].toSorted((left, right) => left - right);
}

function checkSecureBoot({ secureBoot }: VerifiedBoot): RuleFinding {
  const { mode } = secureBoot;
  const expected = 'enabled';
  if (mode === 'unknown') return unknown('no verified SecureBoot variable', expected);
  if (mode !== 'enabled') {
    const message = 'Secure Boot was off when the host booted.';
    return { kind: 'failed', reason: 'SECURE_BOOT_OFF', observed: mode, expected, message };
  }
  const flaws = secureBootFlaws(secureBoot);
  if (flaws.length === 0) return { kind: 'passed', observed: mode, message: 'Secure Boot was on.' };
  return {
    kind: 'failed',
    reason: 'SECURE_BOOT_WEAKENED',
    observed: flaws.join(', '),
    expected,
    message: 'Secure Boot was called on, and did not hold.',
  };
}

/** Why Secure Boot that is called on does not hold; empty where it does. */
export function secureBootFlaws(secureBoot: VerifiedBoot['secureBoot']): readonly string[] {
  return [
    ...(secureBoot.setupMode ? ['setup mode'] : []),
    ...(secureBoot.auditMode ? ['audit mode'] : []),
    ...(secureBoot.debugMode ? ['firmware debugger'] : []),
    ...(secureBoot.unused ? ['no image verified with db'] : []),
    ...(secureBoot.shimOff ? ['MokSBState'] : []),
  ];
}

/**
 * Why more may have run than the log names, or null. A boot loader has verified, and so measured, what it runs only where Secure Boot
 * holds: without, GRUB asks nobody about the kernel, shim enforces no revocation level, and an authority in PCR 7 vouched for nothing.
 */
export function findVerificationDoubt(secureBoot: VerifiedBoot['secureBoot']): string | null {
  if (secureBoot.mode !== 'enabled') return `Secure Boot ${secureBoot.mode}`;
  const flaws = secureBootFlaws(secureBoot);
  return flaws.length === 0 ? null : `Secure Boot weakened: ${flaws.join(', ')}`;
}

/** That nothing speaks against a boot says something only where all that ran is in its log. */
function passedIfVerified(
  { secureBoot }: VerifiedBoot,
  expected: string,
  { observed, message }: Pick<BootFailure, 'observed' | 'message'>,
): RuleFinding {
  const doubt = findVerificationDoubt(secureBoot);
  return doubt === null ? { kind: 'passed', observed, message } : unknown(doubt, expected);
}

function checkAllowedSigners(boot: VerifiedBoot, { certificates }: SignerRule): RuleFinding {
  const { authorities } = boot.secureBoot;
  const expected = certificates.join(' or ');
  if (authorities.length === 0) return unknown('no authority was measured', expected);
  const others = authorities.filter((sha256) => !certificates.includes(sha256));
  if (others.length === 0) {
    const message = 'Only allowed signers verified what booted.';
    return passedIfVerified(boot, expected, { observed: shortened(authorities), message });
  }
  return {
    kind: 'failed',
    reason: 'SIGNER_NOT_ALLOWED',
    observed: shortened(others),
    expected,
    message: 'Something booted that a signer vouches for whom the policy does not allow.',
  };
}

function checkForbiddenSigners(boot: VerifiedBoot, { certificates }: SignerRule): RuleFinding {
  const { authorities } = boot.secureBoot;
  const expected = `none of ${certificates.join(', ')}`;
  const found = authorities.filter((sha256) => certificates.includes(sha256));
  if (found.length > 0) {
    const message = 'Something booted that a forbidden signer vouches for.';
    return { kind: 'failed', reason: 'SIGNER_FORBIDDEN', observed: shortened(found), expected, message };
  }
  // Where nothing was verified, a forbidden signer's image may have run all the same.
  if (authorities.length === 0) return unknown('no authority was measured', expected);
  const message = 'No forbidden signer verified what booted.';
  return passedIfVerified(boot, expected, { observed: shortened(authorities), message });
}

function checkAllowedImages(boot: VerifiedBoot, { digests }: ImageRule): RuleFinding {
  const applications = boot.images.filter(({ pcr }) => pcr === 4);
  const expected = 'only allowed images';
  if (applications.length === 0) return unknown('no boot application was measured', expected);
  const known = new Set(digests);
  const others = applications.filter((image) => !image.digests.some((digest) => known.has(digest)));
  if (others.length === 0) {
    const observed = `${applications.length} boot applications`;
    return passedIfVerified(boot, expected, { observed, message: 'Only allowed images booted.' });
  }
  if (!comparable(others, digests)) return unknown('the log has digests of other hashes than the policy', expected);
  return {
    kind: 'failed',
    reason: 'IMAGE_NOT_ALLOWED',
    observed: shortened(others.map((image) => shownDigest(image.digests))),
    expected,
    message: 'An image booted that the policy does not allow.',
  };
}

function checkForbiddenImages(boot: VerifiedBoot, { digests }: ImageRule): RuleFinding {
  const { images } = boot;
  const known = new Set(digests);
  const expected = 'no forbidden image';
  const found = images.flatMap((image) => image.digests.filter((digest) => known.has(digest)));
  if (found.length > 0) {
    const message = 'A forbidden image booted.';
    return { kind: 'failed', reason: 'IMAGE_FORBIDDEN', observed: shortened(found), expected, message };
  }
  if (!images.some(({ pcr }) => pcr === 4)) return unknown('no boot application was measured', expected);
  if (!comparable(images, digests)) return unknown('the log has digests of other hashes than the policy', expected);
  return passedIfVerified(boot, expected, {
    observed: `${images.length} images`,
    message: 'No forbidden image booted.',
  });
}

/** Every image has a digest of each hash that the policy names one of. */
function comparable(images: VerifiedBoot['images'], digests: readonly string[]): boolean {
  const lengths = [...new Set(digests.map(({ length }) => length))];
  return images.every((image) => lengths.every((length) => image.digests.some((digest) => digest.length === length)));
}

/** SHA-256 where there is one: what tools print. */
function shownDigest(digests: readonly string[]): string {
  return digests.find(({ length }) => length === 64) ?? digests.at(-1) ?? '';
}

function checkSbatLevel(boot: VerifiedBoot, { minimum }: SbatRule): RuleFinding {
  const { secureBoot } = boot;
  const expected = Object.entries(minimum)
    .map(([component, generation]) => `${component} ${generation}`)
    .join(', ');
  if (secureBoot.sbatLevel === null) return unknown('no revocation level was measured', expected);
  const level = parseSbatLevel(secureBoot.sbatLevel);
  const low = Object.entries(minimum).filter(([component, generation]) => (level.get(component) ?? 0) < generation);
  const observedOf = (components: readonly string[]): string =>
    components.map((component) => `${component} ${level.get(component) ?? 'not revoked'}`).join(', ');
  if (low.length === 0) {
    const message = "shim's revocation level is high enough.";
    return passedIfVerified(boot, expected, { observed: observedOf(Object.keys(minimum)), message });
  }
  return {
    kind: 'failed',
    reason: 'SBAT_LEVEL_LOW',
    observed: observedOf(low.map(([component]) => component)),
    expected,
    message: "shim's revocation level lets software run that was revoked since.",
  };
}

/** Lines of `component,generation[,…]`. Of a component that stands twice the lower generation counts. */
export function parseSbatLevel(text: string): ReadonlyMap<string, number> {
  const level = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [component = '', generation = ''] = line.trim().split(',');
    if (!/^\d{1,10}$/.test(generation)) continue;
    level.set(component, Math.min(level.get(component) ?? Infinity, Number(generation)));
  }
  return level;
}

function checkCommandLine(boot: VerifiedBoot, rule: CommandLineRule): RuleFinding {
  const expected = describeCommandLine(rule);
  if (boot.commandLines.length === 0) return unknown('no command line was measured', expected);
  if (boot.commandLineAmbiguous) return unknown('several command lines, or something unknown beside one', expected);
  if (boot.commandLines.some(({ text }) => text === null)) {
    return unknown('a command line whose text is not what was measured', expected);
  }
  const texts = boot.commandLines.map(({ text }) => (text ?? '').trim());
  for (const text of texts) {
    const fault = findFault(text, rule);
    if (fault !== null) return { kind: 'failed', observed: text, expected, ...fault };
  }
  const observed = texts[0] ?? '';
  return { kind: 'passed', observed, message: "The kernel's command line is as the policy asks." };
}

function findFault(text: string, rule: CommandLineRule): Pick<BootFailure, 'reason' | 'message'> | null {
  const { allowed } = rule;
  if (allowed.length > 0 && !allowed.some((line) => line.trim() === text)) {
    return { reason: 'COMMAND_LINE_NOT_ALLOWED', message: "The kernel's command line is none of the allowed ones." };
  }
  const fault = findArgumentFault(text, rule);
  if (fault?.kind === 'missing') {
    return {
      reason: 'COMMAND_LINE_ARGUMENT_MISSING',
      message: `The kernel's command line lacks the argument ${fault.argument}.`,
    };
  }
  if (fault === null) return null;
  return {
    reason: 'COMMAND_LINE_ARGUMENT_FORBIDDEN',
    message: `The kernel's command line has the argument ${fault.argument}, which the policy forbids.`,
  };
}

function describeCommandLine({ allowed, required, forbidden }: CommandLineRule): string {
  return [
    ...(allowed.length === 0 ? [] : [allowed.join(' or ')]),
    ...(required.length === 0 ? [] : [`with ${required.join(' ')}`]),
    ...(forbidden.length === 0 ? [] : [`without ${forbidden.join(' ')}`]),
  ].join(', ');
}

function unknown(observed: string, expected: string): RuleFinding {
  const message = 'The boot log does not prove what this rule asks about.';
  return { kind: 'error', reason: 'BOOT_CLAIM_MISSING', observed, expected, message };
}

const MAX_SHOWN = 8;

/** A result is read by people, and a log may hold thousands. */
function shortened(values: readonly string[]): string {
  const shown = values.slice(0, MAX_SHOWN).join(', ');
  return values.length > MAX_SHOWN ? `${shown} and ${values.length - MAX_SHOWN} more` : shown;
}
