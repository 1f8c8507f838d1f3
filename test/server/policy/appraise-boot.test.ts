import { describe, expect, it } from 'vitest';

import { appraise } from '../../../server/policy/appraise.ts';
import type { BootEvidence } from '../../../server/policy/appraise-boot.ts';
import { resolveBootRules } from '../../../server/policy/boot-rules.ts';
import type { BootRulesDraft } from '../../../server/policy/boot-rules.ts';
import type { PcrRule } from '../../../server/policy/policy.ts';
import type { Verdict } from '../../../server/store/records.ts';
import type { BootClaims } from '../../../server/verifier/boot-claims.ts';
import { unevaluated } from '../../../server/verifier/finding.ts';
import type { VerifiedBoot } from '../../../server/verifier/verify-boot.ts';
import {
  bootedTpm,
  bootLog,
  COMMAND_LINE,
  IMAGES,
  NO_RULES,
  NO_SECURE_BOOT,
  proveBootOf,
  RULE,
  SECURE_BOOT,
  SIGNERS,
} from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { BASE, policy } from './appraisal-input.ts';

const here = dataIsHere('measured-boot');
const none = '00'.repeat(32);

/** What the policy of a test asks, and what it makes of a boot. */
function judge(rules: Partial<BootRulesDraft>, boot: BootEvidence, pcrRules: readonly PcrRule[] = []): Verdict {
  const judged = { ...policy([{}]), pcrRules, boot: resolveBootRules({ ...NO_RULES, ...rules }) };
  return appraise({ ...BASE, applicable: { kind: 'policy', policy: judged, version: 1 }, boot });
}

function findingOf(verdict: Verdict, id: string) {
  return verdict.checks.find((check) => check.id === id);
}

const EVERY_RULE: BootRulesDraft = {
  secureBoot: RULE,
  allowedSigners: { ...RULE, certificates: SIGNERS },
  forbiddenSigners: { ...RULE, certificates: [none] },
  allowedImages: { ...RULE, digests: IMAGES },
  forbiddenImages: { ...RULE, digests: [none] },
  sbatLevel: { ...RULE, minimum: { shim: 4, grub: 5 } },
  commandLine: { ...RULE, allowed: [COMMAND_LINE], required: ['ima_policy=tcb'], forbidden: ['init', 'debug'] },
};

/** A real boot, some of whose claims a test sets. */
function bootOf(change: (boot: VerifiedBoot) => Partial<BootClaims> = () => ({})): BootEvidence {
  const { outcome } = proveBootOf(bootedTpm(SECURE_BOOT), [bootLog(SECURE_BOOT)]);
  if (outcome.kind !== 'verified') throw new Error('the capture does not verify');
  return { kind: 'verified', boot: { ...outcome.boot, ...change(outcome.boot) } };
}

const secureBoot = (change: Partial<BootClaims['secureBoot']>): BootEvidence =>
  bootOf((boot) => ({ secureBoot: { ...boot.secureBoot, ...change } }));
const line = (...texts: readonly (string | null)[]): BootEvidence =>
  bootOf(() => ({ commandLines: texts.map((text) => ({ text })) }));

describe.skipIf(!here)('a policy of boot rules alone', () => {
  it('affirms a boot that satisfies every one of them', () => {
    const verdict = judge(EVERY_RULE, bootOf());
    expect(verdict.checks.filter(({ outcome }) => outcome !== 'passed')).toEqual([]);
    expect(verdict).toMatchObject({
      status: 'affirming',
      vector: { instanceIdentity: 2, configuration: 2, executables: 3, hardware: 0 },
    });
  });

  it.each(Object.keys(EVERY_RULE) as (keyof BootRulesDraft)[])('of %s alone affirms', (name) => {
    expect(judge({ [name]: EVERY_RULE[name] }, bootOf()).status).toBe('affirming');
  });

  it('contraindicates a real boot without Secure Boot', () => {
    const { outcome } = proveBootOf(bootedTpm(NO_SECURE_BOOT), [bootLog(NO_SECURE_BOOT)]);
    expect(judge({ allowedImages: { ...RULE, digests: [none] } }, outcome).status).toBe('contraindicated');
    expect(judge({ secureBoot: RULE }, outcome)).toMatchObject({
      status: 'contraindicated',
      vector: { configuration: 96 },
    });
  });
});

describe.skipIf(!here)('a boot rule that does not hold', () => {
  const rows: readonly {
    readonly name: string;
    readonly rules: Partial<BootRulesDraft>;
    readonly boot?: () => BootEvidence;
    readonly reason: string;
  }[] = [
    {
      name: 'Secure Boot off',
      rules: { secureBoot: RULE },
      boot: () => secureBoot({ mode: 'disabled' }),
      reason: 'SECURE_BOOT_OFF',
    },
    {
      name: 'no Secure Boot at all',
      rules: { secureBoot: RULE },
      boot: () => secureBoot({ mode: 'unset' }),
      reason: 'SECURE_BOOT_OFF',
    },
    {
      name: 'setup mode',
      rules: { secureBoot: RULE },
      boot: () => secureBoot({ setupMode: true }),
      reason: 'SECURE_BOOT_WEAKENED',
    },
    {
      name: 'audit mode',
      rules: { secureBoot: RULE },
      boot: () => secureBoot({ auditMode: true }),
      reason: 'SECURE_BOOT_WEAKENED',
    },
    {
      name: 'a firmware debugger',
      rules: { secureBoot: RULE },
      boot: () => secureBoot({ debugMode: true }),
      reason: 'SECURE_BOOT_WEAKENED',
    },
    {
      name: 'nothing verified with db',
      rules: { secureBoot: RULE },
      boot: () => secureBoot({ unused: true }),
      reason: 'SECURE_BOOT_WEAKENED',
    },
    {
      name: 'shim told to verify nothing',
      rules: { secureBoot: RULE },
      boot: () => secureBoot({ mokMeasurements: ['MokList', 'MokSBState'] }),
      reason: 'SECURE_BOOT_WEAKENED',
    },
    {
      name: 'a signer that is not allowed',
      rules: { allowedSigners: { ...RULE, certificates: [SIGNERS[0]] } },
      reason: 'SIGNER_NOT_ALLOWED',
    },
    {
      name: 'a forbidden signer',
      rules: { forbiddenSigners: { ...RULE, certificates: [SIGNERS[1]] } },
      reason: 'SIGNER_FORBIDDEN',
    },
    {
      name: 'an image that is not allowed',
      rules: { allowedImages: { ...RULE, digests: IMAGES.slice(1) } },
      reason: 'IMAGE_NOT_ALLOWED',
    },
    {
      name: 'a forbidden image',
      rules: { forbiddenImages: { ...RULE, digests: [IMAGES[2]] } },
      reason: 'IMAGE_FORBIDDEN',
    },
    {
      name: 'a forbidden driver of an option ROM',
      rules: { forbiddenImages: { ...RULE, digests: [none] } },
      boot: () => bootOf(({ images }) => ({ images: [...images, { pcr: 2, digests: [none] }] })),
      reason: 'IMAGE_FORBIDDEN',
    },
    {
      name: 'a low revocation level',
      rules: { sbatLevel: { ...RULE, minimum: { shim: 5 } } },
      reason: 'SBAT_LEVEL_LOW',
    },
    {
      name: 'a component that is not revoked at all',
      rules: { sbatLevel: { ...RULE, minimum: { 'grub.debian': 1 } } },
      reason: 'SBAT_LEVEL_LOW',
    },
    {
      name: 'a component twice, once too low',
      rules: { sbatLevel: { ...RULE, minimum: { shim: 4 } } },
      boot: () => secureBoot({ sbatLevel: 'sbat,1\nshim,4\nshim,2\n' }),
      reason: 'SBAT_LEVEL_LOW',
    },
    {
      name: 'another command line',
      rules: { commandLine: { ...RULE, allowed: [`${COMMAND_LINE} x`], required: [], forbidden: [] } },
      reason: 'COMMAND_LINE_NOT_ALLOWED',
    },
    {
      name: 'an argument that lacks',
      rules: { commandLine: { ...RULE, allowed: [], required: ['ima_policy=critical_data'], forbidden: [] } },
      reason: 'COMMAND_LINE_ARGUMENT_MISSING',
    },
    {
      name: 'a forbidden argument with any value',
      rules: { commandLine: { ...RULE, allowed: [], required: [], forbidden: ['ima-policy'] } },
      reason: 'COMMAND_LINE_ARGUMENT_FORBIDDEN',
    },
    {
      name: 'a forbidden argument between quotes',
      rules: { commandLine: { ...RULE, allowed: [], required: [], forbidden: ['init=/bin/sh'] } },
      boot: () => line('/vmlinuz "init=/bin/sh"'),
      reason: 'COMMAND_LINE_ARGUMENT_FORBIDDEN',
    },
    {
      name: 'a required argument that a later one takes back',
      rules: { commandLine: { ...RULE, allowed: [], required: ['lockdown=confidentiality'], forbidden: [] } },
      boot: () => line('/vmlinuz lockdown=confidentiality lockdown=none'),
      reason: 'COMMAND_LINE_ARGUMENT_FORBIDDEN',
    },
    {
      name: 'a required argument that only the first process gets',
      rules: { commandLine: { ...RULE, allowed: [], required: ['lockdown=confidentiality'], forbidden: [] } },
      boot: () => line('/vmlinuz -- lockdown=confidentiality'),
      reason: 'COMMAND_LINE_ARGUMENT_MISSING',
    },
    {
      name: 'a required argument within another',
      rules: { commandLine: { ...RULE, allowed: [], required: ['lockdown=confidentiality'], forbidden: [] } },
      boot: () => line('/vmlinuz "x lockdown=confidentiality y"'),
      reason: 'COMMAND_LINE_ARGUMENT_MISSING',
    },
  ];

  it.each(rows)('for $name is contraindicated by $reason', ({ rules, boot = bootOf, reason }) => {
    const verdict = judge(rules, boot());
    expect(verdict.status).toBe('contraindicated');
    expect(verdict.checks[0]).toMatchObject({
      id: expect.stringMatching(/^boot\./) as string,
      outcome: 'failed',
      reason,
    });
  });

  it.each(rows)('for $name warns where the rule says so, with its sentence', ({ rules, boot = bootOf, reason }) => {
    const [[name, rule] = []] = Object.entries(rules);
    const milder = { [name ?? '']: { ...rule, severity: 'warning' as const, message: 'Call the boot team.' } };
    const verdict = judge(milder, boot());
    expect(verdict.status).toBe('warning');
    expect(verdict.checks[0]).toMatchObject({
      reason,
      message: expect.stringContaining('Call the boot team.') as string,
    });
  });
});

describe.skipIf(!here)('a boot rule that cannot be evaluated is an error, never passed', () => {
  const rows: readonly {
    readonly name: string;
    readonly rule: keyof BootRulesDraft;
    readonly boot: () => BootEvidence;
  }[] = [
    { name: 'no SecureBoot variable', rule: 'secureBoot', boot: () => secureBoot({ mode: 'unknown' }) },
    { name: 'no authority', rule: 'allowedSigners', boot: () => secureBoot({ authorities: [] }) },
    {
      name: 'no authority, and none forbidden seen',
      rule: 'forbiddenSigners',
      boot: () => secureBoot({ authorities: [] }),
    },
    { name: 'no boot application', rule: 'allowedImages', boot: () => bootOf(() => ({ images: [] })) },
    {
      name: 'no boot application, and none forbidden seen',
      rule: 'forbiddenImages',
      boot: () => bootOf(() => ({ images: [] })),
    },
    {
      name: 'digests of another hash',
      rule: 'allowedImages',
      boot: () => bootOf(() => ({ images: [{ pcr: 4, digests: ['11'.repeat(20)] }] })),
    },
    {
      name: 'digests of another hash than the forbidden ones',
      rule: 'forbiddenImages',
      boot: () => bootOf(() => ({ images: [{ pcr: 4, digests: ['11'.repeat(48)] }] })),
    },
    { name: 'no revocation level', rule: 'sbatLevel', boot: () => secureBoot({ sbatLevel: null }) },
    { name: 'no command line', rule: 'commandLine', boot: () => line() },
    { name: 'a command line that the log does not hold', rule: 'commandLine', boot: () => line(null) },
    {
      name: 'a good command line beside one that nobody can read',
      rule: 'commandLine',
      boot: () => line(COMMAND_LINE, null),
    },
    { name: 'several command lines', rule: 'commandLine', boot: () => bootOf(() => ({ commandLineAmbiguous: true })) },
    { name: 'PCR 7 unexplained', rule: 'secureBoot', boot: () => bootOf(() => ({ unexplained: [7] })) },
    { name: 'PCR 4 unexplained', rule: 'allowedImages', boot: () => bootOf(() => ({ unexplained: [4] })) },
    { name: 'PCR 2 unexplained', rule: 'forbiddenImages', boot: () => bootOf(() => ({ unexplained: [2] })) },
    { name: 'PCR 12 unexplained', rule: 'commandLine', boot: () => bootOf(() => ({ unexplained: [12] })) },
  ];

  it.each(rows)('$rule with $name', ({ rule, boot }) => {
    const verdict = judge({ [rule]: EVERY_RULE[rule] }, boot());
    expect(verdict.status).toBe('none');
    expect(verdict.checks[0]).toMatchObject({ id: expect.stringMatching(/^boot\./) as string, outcome: 'error' });
  });

  it.each([
    ['no log that came', { kind: 'none' }, 'BOOT_LOG_MISSING'],
    [
      'a log that the host cannot read',
      {
        kind: 'missing',
        finding: unevaluated('boot-log', { reason: 'BOOT_LOG_UNREADABLE', observed: '', expected: '', message: '' }),
      },
      'BOOT_LOG_UNREADABLE',
    ],
    [
      'PCRs that moved',
      {
        kind: 'moved',
        finding: unevaluated('boot-log', { reason: 'BOOT_PCRS_MOVED', observed: '', expected: '', message: '' }),
      },
      'BOOT_PCRS_MOVED',
    ],
  ] as const)('with %s, whatever the PCR rules say', (_name, boot, reason) => {
    const verdict = judge(EVERY_RULE, boot, policy([{}]).pcrRules);
    expect(verdict.status).toBe('none');
    expect(findingOf(verdict, 'boot-log')).toMatchObject({ outcome: 'error', reason });
    expect(findingOf(verdict, 'pcr.sha256.7')).toMatchObject({ outcome: 'passed' });
    const rules = verdict.checks.filter(({ id }) => id.startsWith('boot.'));
    expect(rules).toHaveLength(7);
    expect(rules.every(({ outcome, reason: code }) => outcome === 'error' && code === 'BOOT_UNVERIFIED')).toBe(true);
  });
});

describe.skipIf(!here)('a false boot log', () => {
  const foreign = (): BootEvidence => proveBootOf(bootedTpm(SECURE_BOOT), [bootLog(NO_SECURE_BOOT)]).outcome;

  it('contraindicates where a boot rule needs it', () => {
    const verdict = judge({ secureBoot: RULE }, foreign());
    expect(verdict.status).toBe('contraindicated');
    expect(findingOf(verdict, 'boot-log')).toMatchObject({ outcome: 'failed', reason: 'BOOT_LOG_MISMATCH' });
  });

  it('warns where no rule needs it: the host lies', () => {
    expect(appraise({ ...BASE, boot: foreign() })).toMatchObject({ status: 'warning', vector: { configuration: 36 } });
  });

  it('contraindicates where it explains the PCRs and contradicts itself', () => {
    const verdict = judge(
      { commandLine: EVERY_RULE.commandLine },
      bootOf(() => ({ contradictions: ['FIRMWARE_ERROR'] })),
    );
    expect(verdict).toMatchObject({ status: 'contraindicated' });
    expect(findingOf(verdict, 'boot-log')).toMatchObject({
      reason: 'BOOT_LOG_INCONSISTENT',
      observed: 'FIRMWARE_ERROR',
    });
  });

  it.each([
    ['no log', { kind: 'none' }],
    [
      'a log that cannot be read',
      {
        kind: 'missing',
        finding: unevaluated('boot-log', { reason: 'X', observed: 'not found', expected: '', message: '' }),
      },
    ],
  ] as const)('is not what %s is: a policy that asks for none affirms', (_name, boot) => {
    expect(appraise({ ...BASE, boot }).status).toBe('affirming');
  });
});
