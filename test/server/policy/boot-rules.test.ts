import { create, equals } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';

import { BootRulesSchema } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { RuleSeverity } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { bootRuleProblems, resolveBootRules } from '../../../server/policy/boot-rules.ts';
import type { BootRulesDraft } from '../../../server/policy/boot-rules.ts';
import { resolvePolicyDraft } from '../../../server/policy/policy.ts';
import { splitCommandLine } from '../../../tpm/eventlog/kernel-arguments.ts';
import { bootRulesFromProto, bootRulesToProto } from '../../../server/rpc/convert-boot-rules.ts';
import { NO_RULES, RULE } from '../../support/booted-machine.ts';
import { EVERY_RULE } from './boot-input.ts';

const SHA256 = 'ab'.repeat(32);
const problems = (rules: Partial<BootRulesDraft>): readonly string[] =>
  bootRuleProblems({ ...NO_RULES, ...rules }).map(({ field }) => field);
const list = (count: number, entry = SHA256): readonly string[] => Array.from({ length: count }, () => entry);
const commandLine = (change: Partial<NonNullable<BootRulesDraft['commandLine']>>) => ({
  commandLine: { ...RULE, allowed: [], required: [], forbidden: [], ...change },
});

describe('boot rules', () => {
  it('default to contraindicated, and take digests in any case', () => {
    const rules = resolveBootRules({ ...NO_RULES, allowedSigners: { ...RULE, certificates: [SHA256.toUpperCase()] } });
    expect(rules.allowedSigners).toEqual({ severity: 'contraindicated', message: '', certificates: [SHA256] });
    expect(rules.secureBoot).toBeNull();
  });

  it('are a policy without PCR rules, which then are not missed', () => {
    const draft = {
      id: 'boot',
      description: '',
      selector: undefined,
      precedence: 0,
      quote: {
        interval: undefined,
        validity: undefined,
        disconnectGrace: undefined,
        allowUnprovenBanks: false,
        allowUnendorsed: false,
      },
      pcrRules: [],
    };
    expect(resolvePolicyDraft({ ...draft, boot: { ...NO_RULES, secureBoot: RULE } })).toHaveProperty('policy');
    expect(resolvePolicyDraft(draft)).toMatchObject({ problems: [{ field: 'pcr_rules' }] });
    expect(resolvePolicyDraft({ ...draft, boot: NO_RULES })).toMatchObject({ problems: [{ field: 'boot' }] });
  });

  it('survive the way through the contract and back', () => {
    const rules = resolveBootRules(EVERY_RULE);
    const message = create(BootRulesSchema, bootRulesToProto(rules));
    const draft = bootRulesFromProto(message);
    if (draft === undefined) throw new Error('no draft');
    expect(resolveBootRules(draft)).toEqual(rules);
    expect(equals(BootRulesSchema, message, create(BootRulesSchema, bootRulesToProto(resolveBootRules(draft))))).toBe(
      true,
    );
    const odd = create(BootRulesSchema, { secureBoot: { severity: 9 as RuleSeverity } });
    expect(bootRuleProblems(bootRulesFromProto(odd) ?? NO_RULES)).toMatchObject([
      { field: 'boot.secure_boot.severity' },
    ]);
  });

  it.each<[string, Partial<BootRulesDraft>, readonly string[]]>([
    ['of every kind', EVERY_RULE, []],
    ['none', {}, ['boot']],
    ['a long sentence', { secureBoot: { ...RULE, message: 'ä'.repeat(257) } }, ['boot.secure_boot.message']],
    ['no signer', { allowedSigners: { ...RULE, certificates: [] } }, ['boot.allowed_signers.certificates']],
    ['65 signers', { forbiddenSigners: { ...RULE, certificates: list(65) } }, ['boot.forbidden_signers.certificates']],
    [
      'a signer by SHA-1',
      { allowedSigners: { ...RULE, certificates: [SHA256, 'ab'.repeat(20)] } },
      ['boot.allowed_signers.certificates[1]'],
    ],
    [
      'an image by SHA-1',
      { forbiddenImages: { ...RULE, digests: ['ab'.repeat(20)] } },
      ['boot.forbidden_images.digests[0]'],
    ],
    [
      'an image that is no digest',
      { allowedImages: { ...RULE, digests: ['x'.repeat(64)] } },
      ['boot.allowed_images.digests[0]'],
    ],
    ['1025 images', { allowedImages: { ...RULE, digests: list(1025) } }, ['boot.allowed_images.digests']],
    [
      'images by every good hash',
      { allowedImages: { ...RULE, digests: [SHA256, 'ab'.repeat(48), 'ab'.repeat(64)] } },
      [],
    ],
    ['no component', { sbatLevel: { ...RULE, minimum: {} } }, ['boot.sbat_level.minimum']],
    ['generation 0', { sbatLevel: { ...RULE, minimum: { shim: 0 } } }, ['boot.sbat_level.minimum["shim"]']],
    ['a component with a comma', { sbatLevel: { ...RULE, minimum: { 'a,b': 1 } } }, ['boot.sbat_level.minimum["a,b"]']],
    ['a command line rule that asks nothing', commandLine({}), ['boot.command_line']],
    ['an empty argument', commandLine({ required: ['a', ''] }), ['boot.command_line.required[1]']],
    ['two arguments in one', commandLine({ forbidden: ['init=/bin/sh debug'] }), ['boot.command_line.forbidden[0]']],
    [
      'arguments that are meant with every value',
      commandLine({ forbidden: ['init=', 'init=*', 'systemd.*', 'a*=b', 'x=*y', 'init'] }),
      [0, 1, 2, 3].map((index) => `boot.command_line.forbidden[${index}]`),
    ],
    ['a quoted argument', commandLine({ required: ['"a"'] }), ['boot.command_line.required[0]']],
    ['a whole line with white space', commandLine({ allowed: ['/vmlinuz quiet'] }), []],
    ['65 arguments', commandLine({ required: list(65, 'a') }), ['boot.command_line.required']],
  ])('with %s: problems at %j', (_name, rules, fields) => {
    expect(problems(rules)).toEqual(fields);
  });
});

describe('a kernel command line', () => {
  it.each([
    ['/vmlinuz  quiet\tx=1', ['/vmlinuz', 'quiet', 'x=1'], []],
    ['a "b c" d="e f"g', ['a', 'b c', 'd=e f"g'], []],
    ['a -- init b', ['a'], ['init', 'b']],
    ['a "--" b', ['a'], ['b']],
    ['', [], []],
    ['a "b c', ['a', 'b c'], []],
  ])('%j is taken apart', (text, kernel, init) => {
    expect(splitCommandLine(text)).toEqual({ kernel, init });
  });
});
