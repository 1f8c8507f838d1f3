import { describe, expect, it } from 'vitest';

import type { BootEvidence } from '../../../server/policy/appraise-boot.ts';
import type { BootRulesDraft } from '../../../server/policy/boot-rules.ts';
import {
  bootedTpm,
  bootLog,
  COMMAND_LINE,
  IMAGES,
  NO_SECURE_BOOT,
  proveBootOf,
  RULE,
  SIGNERS,
} from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { bootOf, EVERY_RULE, judge, line, NO_DIGEST as none, secureBoot } from './boot-input.ts';

const here = dataIsHere('measured-boot');

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
      boot: () => secureBoot({ shimOff: true }),
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
