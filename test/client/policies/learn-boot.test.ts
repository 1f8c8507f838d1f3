import { describe, expect, it, test } from 'vitest';

import { parsePolicyFile } from '../../../client/commands/policy-file.ts';
import { learnBoot, RESTS_ON } from '../../../client/policies/learn-boot.ts';
import type { LearnedPart } from '../../../client/policies/learn-boot.ts';
import { policyOf, writePolicy } from '../../../client/policies/write-policy.ts';
import type { BootReport } from '../../../client/sdk/boot-report.ts';
import { BOOT_CHECKS } from '../../../server/policy/boot-checks.ts';
import { digest, REPORT } from './boot-report.ts';

const NOW = new Date('2026-11-25T12:00:00Z');
const secureBoot = (change: Partial<NonNullable<BootReport['secureBoot']>>): BootReport => {
  if (REPORT.secureBoot === undefined) throw new TypeError('no Secure Boot');
  return { ...REPORT, secureBoot: { ...REPORT.secureBoot, ...change } };
};
const only = (part: LearnedPart) => ({ parts: new Set([part]) });

describe('a boot that is verified', () => {
  it('is learned with all that a policy can name', () => {
    expect(policyOf(learnBoot(REPORT), 'p')).toEqual({
      name: 'trustPolicies/p',
      description: `Learned from ${REPORT.host}`,
      pcr_rules: [0, 2, 4, 7].map((index) => ({ bank: 'sha256', index, allowed: [digest(String(index))] })),
      boot: {
        secure_boot: {},
        allowed_signers: { certificates: [digest('5')] },
        allowed_images: { digests: [digest('e')] },
        sbat_level: { minimum: { sbat: 1, shim: 4, grub: 2 } },
        command_line: { allowed: ['/vmlinuz quiet'] },
      },
    });
  });

  it('is learned in part where parts are named', () => {
    expect(Object.keys(policyOf(learnBoot(REPORT, only('images')), 'p'))).toEqual(['name', 'description', 'boot']);
    const { pcr_rules: rules } = policyOf(learnBoot(REPORT, { ...only('pcrs'), pcrs: [7], bank: 'sha1' }), 'p');
    expect(rules).toEqual([{ bank: 'sha1', index: 7, allowed: ['1'.repeat(40)] }]);
  });

  it('is written for people, with what each value is, as the file is read again', () => {
    const text = writePolicy(learnBoot(REPORT), 'p', NOW);
    expect(text).toMatch(/^# Learned from hosts\/h-a+ at 2026-11-25T12:00:00\.000Z/);
    expect(text).toContain(`  # PCR 4: the boot loaders that ran\n  - bank: sha256\n`);
    expect(text).toContain('      # CN=Maker (db)\n');
    expect(text).toContain('      # shim\n');
    const [read] = parsePolicyFile('p.yaml', text);
    expect(read?.json).toEqual(policyOf(learnBoot(REPORT), 'p'));
  });

  it('has nothing of a host that leaves its comment or a terminal acts upon', () => {
    const evil = '\n- injected: true\u001b[2J\u202e\r\u0085x';
    const hostile: BootReport = {
      ...secureBoot({ authorities: [{ variable: evil, sha256: digest('5'), subject: evil }] }),
      images: [{ index: 1, pcr: 4, digests: ['', digest('e')], name: evil.repeat(100) }],
      kernelCommandLines: [{ index: 1, pcr: 8, source: evil, text: 'quiet', verified: true }],
    };
    const text = writePolicy(learnBoot(hostile), 'p', NOW);
    // oxlint-disable-next-line no-control-regex -- what must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u0085\u202e]/);
    expect(parsePolicyFile('p.yaml', text)[0]?.json).toEqual(policyOf(learnBoot(hostile), 'p'));
  });

  test.each<{ name: string; report: BootReport; part: LearnedPart; says: RegExp }>([
    {
      name: 'Secure Boot that was off',
      report: secureBoot({ mode: 'disabled' }),
      part: 'secureBoot',
      says: /it was disabled/,
    },
    {
      name: 'Secure Boot that did not hold',
      report: secureBoot({ weaknesses: ['setup mode'] }),
      part: 'secureBoot',
      says: /did not hold \(setup mode\)/,
    },
    {
      name: 'signers where Secure Boot was off',
      report: secureBoot({ mode: 'disabled' }),
      part: 'signers',
      says: /does not vouch for them: it was disabled/,
    },
    {
      name: 'images where Secure Boot did not hold',
      report: secureBoot({ weaknesses: ['setup mode'] }),
      part: 'images',
      says: /does not vouch for them: it was on and did not hold/,
    },
    {
      name: 'a level that shim did not enforce',
      report: secureBoot({ mode: 'unset' }),
      part: 'sbat',
      says: /it was unset/,
    },
    { name: 'no signer', report: secureBoot({ authorities: [] }), part: 'signers', says: /none was measured/ },
    {
      name: 'more signers than are listed',
      report: secureBoot({
        authorities: Array.from({ length: 64 }, () => ({ variable: '', sha256: '', subject: '' })),
      }),
      part: 'signers',
      says: /64 or more/,
    },
    { name: 'no image', report: { ...REPORT, images: [] }, part: 'images', says: /no boot application/ },
    {
      name: 'images whose PCR something else was measured into',
      report: { ...REPORT, unexplainedPcrs: [4] },
      part: 'images',
      says: /PCR 4 was extended by more than the log says/,
    },
    { name: 'no SBAT level', report: secureBoot({ sbatLevel: '' }), part: 'sbat', says: /none was measured/ },
    {
      name: 'a command line that is not what was measured',
      report: { ...REPORT, kernelCommandLines: [{ index: 1, pcr: 8, source: 'grub', text: 'x', verified: false }] },
      part: 'commandLine',
      says: /does not hold the text/,
    },
    {
      name: 'a command line that nobody can read',
      report: {
        ...REPORT,
        kernelCommandLines: [{ index: 1, pcr: 8, source: 'grub', text: 'a\u202eb', verified: true }],
      },
      part: 'commandLine',
      says: /cannot be shown/,
    },
    {
      name: 'several command lines',
      report: { ...REPORT, findings: [{ code: 'KERNEL_COMMAND_LINE_AMBIGUOUS', severity: 'warning', message: '' }] },
      part: 'commandLine',
      says: /several were measured/,
    },
  ])('leaves out with its reason, and refuses where it was asked for: $name', ({ report, part, says }) => {
    const text = writePolicy(learnBoot(report), 'p', NOW);
    expect(text).toMatch(new RegExp(`^# Left out: .*${says.source}`, 'm'));
    expect(() => learnBoot(report, only(part))).toThrow(says);
  });

  test.each([
    { name: 'PCR 10', pcrs: [10], says: /PCR 10: IMA moves it/ },
    { name: 'PCR 16', pcrs: [16], says: /PCR 16: anybody on the host can reset it/ },
    { name: 'a PCR that was not proven', pcrs: [5], says: /PCR 5: .* has no active sha256 bank/ },
    { name: 'a PCR that is none', pcrs: [24], says: /there is no PCR 24/ },
  ])('gives no value of $name', ({ pcrs, says }) => {
    expect(() => learnBoot(REPORT, { pcrs })).toThrow(says);
  });

  it('gives no value of SHA-1 unless that is asked for', () => {
    const report = { ...REPORT, provenPcrs: REPORT.provenPcrs.filter(({ bank }) => bank === 'sha1') };
    expect(() => learnBoot(report)).toThrow(/no active bank but sha1/);
    const learned = learnBoot(report, { bank: 'sha1', pcrs: [7] });
    expect(Object.keys(policyOf(learned, 'p'))).toEqual(['name', 'description', 'pcr_rules']);
    expect(learned.leftOut).toContain('images: no bank but sha1 proves it');
  });
});

test('rules rest on the PCRs that the service says', () => {
  const { secureBoot: secure, allowedSigners, allowedImages, sbatLevel, commandLine } = BOOT_CHECKS;
  const checks = { secureBoot: secure, signers: allowedSigners, images: allowedImages, sbat: sbatLevel, commandLine };
  expect(RESTS_ON).toEqual(Object.fromEntries(Object.entries(checks).map(([part, { pcrs }]) => [part, pcrs])));
});

test.each<{ name: string; change: Partial<BootReport>; says: RegExp }>([
  { name: 'that is not proven', change: { state: 'UNPROVEN' }, says: /not proven yet/ },
  {
    name: 'whose log is another',
    change: { state: 'UNVERIFIED', problem: { reason: 'BOOT_LOG_MISMATCH', observed: '', message: 'It is not.' } },
    says: /BOOT_LOG_MISMATCH: It is not\./,
  },
  { name: 'without a log', change: { state: 'MISSING' }, says: /nothing is learned/ },
  { name: 'of a state that is new', change: { state: 'UNKNOWN_9' }, says: /nothing is learned/ },
  { name: 'that contradicts itself', change: { contradictions: ['EVENT_X'] }, says: /contradicts itself \(EVENT_X\)/ },
])('nothing is learned of a boot $name', ({ change, says }) => {
  expect(() => learnBoot({ ...REPORT, ...change })).toThrow(says);
});
