import { describe, expect, it } from 'vitest';

import { labelProblem, resolvePolicyDraft } from '../../../server/policy/policy.ts';
import type { PolicyDraft } from '../../../server/policy/policy.ts';

type Rule = PolicyDraft['pcrRules'][number];

const ZERO = '00'.repeat(32);
const rule = (change: Partial<Rule> = {}): Rule => ({
  bank: 'sha256',
  index: 7,
  allowed: [ZERO],
  severity: undefined,
  message: '',
  ...change,
});
const QUOTE: PolicyDraft['quote'] = {
  interval: undefined,
  validity: undefined,
  disconnectGrace: undefined,
  allowUnprovenBanks: false,
  allowUnendorsed: false,
};
const draft = (change: Partial<PolicyDraft> = {}): PolicyDraft => ({
  id: 'base',
  description: '',
  selector: { matchLabels: {}, allHosts: true },
  precedence: 0,
  quote: QUOTE,
  pcrRules: [rule()],
  ...change,
});
const timed = (quote: Partial<PolicyDraft['quote']>) => draft({ quote: { ...QUOTE, ...quote } });

function problems(given: PolicyDraft): readonly string[] {
  const outcome = resolvePolicyDraft(given);
  return 'problems' in outcome ? outcome.problems.map(({ field }) => field) : [];
}

function resolved(given: PolicyDraft) {
  const outcome = resolvePolicyDraft(given);
  if ('problems' in outcome) throw new Error(JSON.stringify(outcome.problems));
  return outcome.policy;
}

describe('a policy', () => {
  it('gets defaults: a minute, three intervals of validity, one of grace, and nothing allowed', () => {
    expect(resolved(draft()).quote).toEqual({
      interval: 60_000,
      validity: 180_000,
      disconnectGrace: 60_000,
      allowUnprovenBanks: false,
      allowUnendorsed: false,
    });
    expect(resolved(timed({ interval: 2_000 })).quote).toMatchObject({ validity: 6_000, disconnectGrace: 2_000 });
  });

  it('is contraindicating where a rule does not say otherwise, and compares values in lower case', () => {
    const allowed = ['AB'.repeat(32)];
    const { pcrRules } = resolved(draft({ pcrRules: [rule({ allowed }), rule({ index: 8, severity: 'warning' })] }));
    expect(pcrRules.map(({ severity }) => severity)).toEqual(['contraindicated', 'warning']);
    expect(pcrRules[0]?.allowed).toEqual(['ab'.repeat(32)]);
  });

  it('may have no selector', () => {
    expect(resolved(draft({ selector: undefined })).selector).toBeNull();
  });

  it.each<[string, PolicyDraft]>([
    ['the shortest interval', timed({ interval: 1_000 })],
    ['the longest interval', timed({ interval: 24 * 3_600_000, validity: 24 * 3_600_000 })],
    ['a validity of one interval', timed({ interval: 5_000, validity: 5_000 })],
    ['the longest validity', timed({ validity: 7 * 24 * 3_600_000 })],
    ['no grace', timed({ disconnectGrace: 0 })],
    [
      'every bank',
      draft({
        pcrRules: [
          rule(),
          rule({ bank: 'sha1', allowed: ['0'.repeat(40)] }),
          rule({ bank: 'sha384', allowed: ['0'.repeat(96)] }),
          rule({ bank: 'sha512', allowed: ['0'.repeat(128)] }),
        ],
      }),
    ],
    ['the first and the last PCR', draft({ pcrRules: [rule({ index: 0 }), rule({ index: 23 })] })],
    ['64 allowed values', draft({ pcrRules: [rule({ allowed: Array.from({ length: 64 }, () => ZERO) })] })],
    [
      '16 labels',
      draft({
        selector: {
          allHosts: false,
          matchLabels: Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`l${i}`, 'x'])),
        },
      }),
    ],
    ['an id of one letter', draft({ id: 'a' })],
    ['an id of 63', draft({ id: 'a'.repeat(63) })],
  ])('with %s is good', (_name, given) => {
    expect(problems(given)).toEqual([]);
  });

  it.each<[string, PolicyDraft, string]>([
    ['no id', draft({ id: '' }), 'name'],
    ['an id in upper case', draft({ id: 'Base' }), 'name'],
    ['an id that ends in a dash', draft({ id: 'base-' }), 'name'],
    ['an id of 64', draft({ id: 'a'.repeat(64) }), 'name'],
    ['an id with a slash', draft({ id: 'a/b' }), 'name'],
    ['a long description', draft({ description: 'ä'.repeat(513) }), 'description'],
    [
      'a selector of labels that takes every host',
      draft({ selector: { matchLabels: { tier: 'lab' }, allHosts: true } }),
      'selector.all_hosts',
    ],
    ['a selector that selects nothing', draft({ selector: { matchLabels: {}, allHosts: false } }), 'selector'],
    [
      'too many labels',
      draft({
        selector: {
          allHosts: false,
          matchLabels: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`l${i}`, 'x'])),
        },
      }),
      'selector.match_labels',
    ],
    [
      'a bad label',
      draft({ selector: { allHosts: false, matchLabels: { 'a b': 'c' } } }),
      'selector.match_labels["a b"]',
    ],
    ['an interval below a second', timed({ interval: 999 }), 'quote.interval'],
    ['an interval above a day', timed({ interval: 86_400_001, validity: 86_400_001 }), 'quote.interval'],
    ['a grace that is no number', timed({ disconnectGrace: Number.NaN }), 'quote.disconnect_grace'],
    [
      'a validity shorter than the interval',
      timed({ interval: 10_000, validity: 9_999, disconnectGrace: 0 }),
      'quote.validity',
    ],
    ['a validity above a week', timed({ validity: 7 * 86_400_000 + 1 }), 'quote.validity'],
    ['a negative grace', timed({ disconnectGrace: -1 }), 'quote.disconnect_grace'],
    ['a grace above the validity', timed({ validity: 60_000, disconnectGrace: 60_001 }), 'quote.disconnect_grace'],
    ['no rules', draft({ pcrRules: [] }), 'pcr_rules'],
    ['too many rules', draft({ pcrRules: Array.from({ length: 257 }, () => rule()) }), 'pcr_rules'],
    ['two rules for one PCR', draft({ pcrRules: [rule(), rule()] }), 'pcr_rules[1]'],
    ['an unknown bank', draft({ pcrRules: [rule({ bank: 'md5' })] }), 'pcr_rules[0].bank'],
    ['a bank that is known elsewhere only', draft({ pcrRules: [rule({ bank: 'sm3_256' })] }), 'pcr_rules[0].bank'],
    ['a PCR that no TPM has', draft({ pcrRules: [rule({ index: 24 })] }), 'pcr_rules[0].index'],
    ['a PCR that is no whole number', draft({ pcrRules: [rule({ index: 7.5 })] }), 'pcr_rules[0].index'],
    ['no allowed value', draft({ pcrRules: [rule({ allowed: [] })] }), 'pcr_rules[0].allowed'],
    [
      'too many allowed values',
      draft({ pcrRules: [rule({ allowed: Array.from({ length: 65 }, () => ZERO) })] }),
      'pcr_rules[0].allowed',
    ],
    [
      'an allowed value of another bank',
      draft({ pcrRules: [rule(), rule({ index: 8, allowed: [ZERO, '00'.repeat(20)] })] }),
      'pcr_rules[1].allowed[1]',
    ],
    [
      'an allowed value that is no hex',
      draft({ pcrRules: [rule({ allowed: ['z'.repeat(64)] })] }),
      'pcr_rules[0].allowed[0]',
    ],
    ['an empty allowed value', draft({ pcrRules: [rule({ allowed: [''] })] }), 'pcr_rules[0].allowed[0]'],
    ['an unknown severity', draft({ pcrRules: [rule({ severity: 'unknown' })] }), 'pcr_rules[0].severity'],
    ['a long sentence', draft({ pcrRules: [rule({ message: 'x'.repeat(513) })] }), 'pcr_rules[0].message'],
  ])('with %s is refused at that field and no other', (_name, given, field) => {
    expect(problems(given)).toEqual([field]);
  });

  it('tells all its problems together', () => {
    const bad = {
      ...timed({ interval: 1, validity: 0 }),
      id: '',
      pcrRules: [rule({ bank: 'x', index: -1, allowed: [] })],
    };
    expect(problems(bad)).toEqual([
      'name',
      'quote.interval',
      'quote.validity',
      'quote.disconnect_grace',
      'pcr_rules[0].bank',
      'pcr_rules[0].index',
      'pcr_rules[0].allowed',
    ]);
  });
});

describe('a label', () => {
  it.each([
    ['zone', 'eu-1'],
    ['example.org/rack', 'r1'],
    ['a', ''],
    ['A_b.c-d', '0'],
  ])('%s=%s is good', (key, value) => {
    expect(labelProblem(key, value)).toBeNull();
  });

  it.each([
    ['', 'x'],
    ['-a', 'x'],
    ['a-', 'x'],
    ['a'.repeat(64), 'x'],
    ['a\u202eb', 'x'],
    ['a', 'x y'],
    ['a', '-x'],
    ['a', 'x'.repeat(64)],
    ['a', 'ä'],
    ['a', 'x\n'],
  ])('%j=%j is refused', (key, value) => {
    expect(labelProblem(key, value)).not.toBeNull();
  });
});
