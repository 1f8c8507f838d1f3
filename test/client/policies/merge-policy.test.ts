import { expect, test } from 'vitest';

import { learnBoot } from '../../../client/policies/learn-boot.ts';
import { mergePolicy } from '../../../client/policies/merge-policy.ts';
import type { MergeChoice } from '../../../client/policies/merge-policy.ts';
import type { BootReport } from '../../../client/sdk/boot-report.ts';
import { digest, REPORT } from './boot-report.ts';

const merge = (text: string, report: BootReport = REPORT, choice: MergeChoice = {}) =>
  mergePolicy(text, report, learnBoot(report), choice);

const POLICY = `# ours
name: trustPolicies/p # the name
pcr_rules:
  - bank: sha256
    index: 4
    allowed:
      # firmware 1
      - ${digest('a')}
  - bank: sha1
    allowed: ["${'b'.repeat(40)}"]
boot:
  allowedImages:
    digests:
      - ${digest('c')}
  command_line:
    required: [quiet]
`;

test('values are added to the lists that are there, each with its host, and comments stay', () => {
  const { text, added } = merge(POLICY);
  expect(added).toBe(3);
  expect(text).toContain(
    `      # firmware 1\n      - ${digest('a')}\n      # ${REPORT.host}\n      - "${digest('4')}"\n`,
  );
  // PCR 0, whose number nobody wrote, in the bank of the rule.
  expect(text).toMatch(new RegExp(`allowed: \\[ ?"${'b'.repeat(40)}", "${'1'.repeat(40)}" ?\\]`));
  expect(text).toContain(`      # ${REPORT.host}: shim\n      - ${digest('e')}\n`);
  expect(text).toMatch(/^# ours\nname: trustPolicies\/p # the name\n/);
  expect(text).not.toContain('allowed_signers');
  expect(merge(text)).toEqual({ text, added: 0 });
});

test('of the parts that are named, and of their PCRs', () => {
  expect(merge(POLICY, REPORT, { parts: new Set(['images']) }).added).toBe(1);
  expect(merge(POLICY, REPORT, { parts: new Set(['pcrs']), pcrs: [4] }).added).toBe(1);
});

test.each<[string, MergeChoice, RegExp]>([
  ['signers', { parts: new Set(['signers']) }, /no boot\.allowed_signers\.certificates, and a merge makes none/],
  ['a command line', { parts: new Set(['images', 'commandLine']) }, /no boot\.command_line\.allowed/],
  ['Secure Boot', { parts: new Set(['secureBoot']) }, /no boot\.secure_boot/],
  ['a revocation level', { parts: new Set(['sbat']) }, /no boot\.sbat_level\.minimum/],
  ['a PCR', { parts: new Set(['pcrs']), pcrs: [4, 7] }, /no pcr_rules for PCR 7/],
])('what is named and has no rule is no success: %s', (_name, choice, says) => {
  expect(() => merge(POLICY, REPORT, choice)).toThrow(says);
});

test('JSON stays JSON', () => {
  const json = JSON.stringify({
    name: 'trustPolicies/p',
    pcrRules: [{ bank: 'sha256', index: 4, allowed: [digest('a')] }],
    boot: { allowedImages: { digests: [digest('c')] } },
  });
  expect(JSON.parse(merge(json).text)).toMatchObject({
    pcrRules: [{ allowed: [digest('a'), digest('4')] }],
    boot: { allowedImages: { digests: [digest('c'), digest('e')] } },
  });
});

const rules = (boot: string): string => `name: trustPolicies/p\nboot:\n  ${boot}\n`;
const without = (change: Partial<NonNullable<BootReport['secureBoot']>>): BootReport =>
  ({ ...REPORT, secureBoot: { ...REPORT.secureBoot, ...change } }) as BootReport;

test.each([
  {
    name: 'Secure Boot',
    text: rules('secure_boot: {}'),
    report: without({ mode: 'disabled' }),
    says: /boot\.secure_boot, .*it was disabled/,
  },
  {
    name: 'a forbidden signer',
    text: rules(`forbidden_signers: {certificates: ["${digest('5')}"]}`),
    report: REPORT,
    says: /boot\.forbidden_signers, .*5 is forbidden/,
  },
  {
    name: 'a forbidden driver, in another case',
    text: rules(`forbidden_images: {digests: ["${digest('D')}"]}`),
    report: REPORT,
    says: /boot\.forbidden_images, .*d is forbidden/,
  },
  {
    name: 'a revocation level',
    text: rules('sbat_level: {minimum: {shim: 5}}'),
    report: REPORT,
    says: /boot\.sbat_level, .*its shim is at 4/,
  },
  {
    name: 'signers where none was measured',
    text: rules(`allowed_signers: {certificates: ["${digest('5')}"]}`),
    report: without({ authorities: [] }),
    says: /boot\.allowed_signers, .*none was measured/,
  },
])('a policy is not softened: $name', ({ text, report, says }) => {
  expect(() => merge(text, report)).toThrow(says);
});

test('a bank that the host does not have is no bank to learn of', () => {
  const text = `name: trustPolicies/p\npcr_rules:\n  - {bank: sha512, index: 4, allowed: ["${'a'.repeat(128)}"]}\n`;
  expect(() => merge(text)).toThrow(/no active sha512 bank/);
});
