import { describe, expect, it } from 'vitest';

import { appraise } from '../../../server/policy/appraise.ts';
import type { BootEvidence } from '../../../server/policy/appraise-boot.ts';
import type { BootRulesDraft } from '../../../server/policy/boot-rules.ts';
import { unevaluated } from '../../../server/verifier/finding.ts';
import {
  bootedTpm,
  bootLog,
  COMMAND_LINE,
  NO_SECURE_BOOT,
  proveBootOf,
  RULE,
  SECURE_BOOT,
} from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { BASE, policy } from './appraisal-input.ts';
import { bootOf, EVERY_RULE, findingOf, judge, line, secureBoot } from './boot-input.ts';

const here = dataIsHere('measured-boot');

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
