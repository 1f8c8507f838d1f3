import { expect, test } from 'vitest';
import { parsePolicyFile } from '../../../client/commands/policy-file.ts';
import { UsageError } from '../../../client/failure.ts';

const digest = 'ab'.repeat(32);
const good = `name: trustPolicies/base
selector: { all_hosts: true }
quote:
  interval: 30s
pcr_rules:
  - bank: sha256
    index: 7
    allowed: ['${digest}']
    severity: RULE_SEVERITY_WARNING
`;

function problemsOf(text: string): readonly string[] {
  try {
    parsePolicyFile('p.yaml', text);
  } catch (error) {
    if (error instanceof UsageError) return error.problems.length > 0 ? error.problems : [error.message];
    throw error;
  }
  throw new TypeError('the file was taken');
}

test('reads YAML and JSON alike, in both spellings of a field', () => {
  const [yaml] = parsePolicyFile('p.yaml', good);
  const [json] = parsePolicyFile('p.json', JSON.stringify(yaml?.json));
  expect(json?.json).toEqual(yaml?.json);
  expect(parsePolicyFile('p.yaml', good.replace('pcr_rules', 'pcrRules'))).toHaveLength(1);
});

test('reads several policies from one file', () => {
  expect(parsePolicyFile('p.yaml', `${good}---\n${good.replace('base', 'other')}`)).toHaveLength(2);
});

test('reads boot rules, and says where one is wrong', () => {
  const boot = `name: trustPolicies/boot
boot:
  secure_boot: {}
  allowedSigners: {certificates: ['${digest}']}
  sbat_level:
    minimum: {shim: 4}
`;
  const [policy] = parsePolicyFile('p.yaml', boot);
  expect(policy?.locate({ field: 'boot.allowed_signers.certificates[0]', message: 'm' })).toMatch(
    /^p\.yaml:4:35: boot\./,
  );
  expect(problemsOf(boot.replace('shim: 4', 'shim: four'))).toEqual([
    expect.stringContaining('boot.sbat_level.minimum'),
  ]);
  expect(problemsOf(boot.replace('secure_boot', 'secure'))).toEqual([
    'p.yaml:3:3: boot.secure: BootRules has no such field',
  ]);
});

test('places a problem that the service found', () => {
  const [policy] = parsePolicyFile('p.yaml', good);
  const located = policy?.locate({ field: 'pcr_rules[0].allowed[0]', message: 'too short' });
  expect(located).toBe('p.yaml:8:15: pcr_rules[0].allowed[0]: too short');
  expect(policy?.locate({ field: 'pcr_rules[9].bank', message: 'm' })).toBe('p.yaml:5:1: pcr_rules[9].bank: m');
  expect(policy?.locate({ field: '', message: 'm' })).toBe('p.yaml:1:1: m');
});

test.each([
  {
    name: 'an unknown field',
    text: good.replace('precedence', 'x').concat('colour: red\n'),
    says: 'p.yaml:10:1: colour: TrustPolicy has no such field',
  },
  {
    name: 'an unknown field deep inside',
    text: good.replace('index: 7', 'indices: 7'),
    says: 'p.yaml:7:5: pcr_rules[0].indices: PcrRule has no such field',
  },
  {
    name: 'a text for a number',
    text: good.replace('index: 7', 'index: seven'),
    says: 'p.yaml:7:5: pcr_rules[0].index: expected number (uint32), got "seven"',
  },
  {
    name: 'a digest that YAML takes for a number',
    text: good.replace(`'${digest}'`, '1234'),
    says: 'p.yaml:8:15: pcr_rules[0].allowed[0]: expected string, got 1234 (put it in quotes)',
  },
  {
    name: 'a word that is none of an enum',
    text: good.replace('RULE_SEVERITY_WARNING', 'loud'),
    says: /^p\.yaml:9:5: pcr_rules\[0\]\.severity: "loud" is none of RULE_SEVERITY_WARNING, /,
  },
  {
    name: 'a time without unit',
    text: good.replace('30s', '30'),
    says: /^p\.yaml:4:3: quote\.interval: not a Duration: 30/,
  },
  {
    name: 'a map where a list must be',
    text: good.replace('  - bank', '    bank'),
    says: 'p.yaml:5:1: pcr_rules: expected a list',
  },
  {
    name: 'a text where fields must be',
    text: 'name: x\nquote: often\n',
    says: 'p.yaml:2:1: quote: expected fields of QuoteRequirements',
  },
  {
    name: 'a rule that is written and left empty',
    text: 'name: x\nboot:\n  secure_boot:\n    # message: off\n  command_line: {required: [a]}\n',
    says: 'p.yaml:3:3: boot.secure_boot: has no value: write {} where nothing else is said, or leave it out',
  },
  {
    name: 'a list that is left empty',
    text: good.replace('{ all_hosts: true }', '\n  match_labels:'),
    says: 'p.yaml:3:3: selector.match_labels: has no value: give one, or leave it out',
  },
  {
    name: 'a null, in JSON',
    text: '{"name": "x", "runtime": {"list": {}, "forbidden_files": null}}',
    says: /^p\.yaml:1:39: runtime\.forbidden_files: has no value/,
  },
  {
    name: 'an entry of a list that is left empty',
    text: good.replace(`['${digest}']`, '\n      -'),
    says: /^p\.yaml:\d+:\d+: pcr_rules\[0\]\.allowed\[0\]: /,
  },
  {
    name: 'a label that is left empty',
    text: good.replace('{ all_hosts: true }', '{match_labels: {role: }}'),
    says: /^p\.yaml:2:\d+: selector\.match_labels/,
  },
  { name: 'brackets without end', text: '['.repeat(100_000), says: /^p\.yaml:1:\d+: nested too deeply$/ },
  { name: 'no fields at all', text: 'policy\n', says: 'p.yaml:1:1: expected fields of TrustPolicy' },
  { name: 'broken YAML', text: 'name: [a\nquote: {\n', says: /^p\.yaml:\d+:\d+: / },
  { name: 'a field twice', text: 'name: a\nname: b\n', says: 'p.yaml:2:1: name stands here twice' },
  {
    name: 'a field twice, deep inside',
    text: good.replace('    index: 7\n', '    index: 7\n    index: 8\n'),
    says: 'p.yaml:8:5: index stands here twice',
  },
  {
    name: 'a field in both spellings',
    text: `${good}pcrRules: []\n`,
    says: 'p.yaml:10:1: pcrRules: is the same field as pcr_rules',
  },
  {
    name: 'a slip of the pen, and what was meant',
    text: good.replace('selector:', 'selectors:'),
    says: 'p.yaml:2:1: selectors: TrustPolicy has no such field: did you mean selector?',
  },
  {
    name: 'a slip of the pen deep inside',
    text: good.replace('severity:', 'severty:'),
    says: 'p.yaml:9:5: pcr_rules[0].severty: PcrRule has no such field: did you mean severity?',
  },
  {
    name: 'an anchor',
    text: good.replace('interval: 30s', 'interval: &time 30s'),
    says: 'p.yaml:4:19: anchors are not taken: write each part out',
  },
  {
    name: 'an alias',
    text: good.replace('{ all_hosts: true }', '*all'),
    says: /^p\.yaml:2:11: .*(alias|anchor)/i,
  },
  {
    name: 'a tag',
    text: good.replace('index: 7', 'index: !!int "7"'),
    says: /^p\.yaml:7:\d+: tags are not taken/,
  },
  { name: 'a tag that nobody knows', text: good.replace('30s', '!secret 30s'), says: /tags are not taken/ },
  { name: 'a merge', text: `${good}<<: {description: x}\n`, says: 'p.yaml:10:1: <<: TrustPolicy has no such field' },
  {
    name: 'a key that is a map',
    text: `${good}? {a: b}\n: c\n`,
    says: /^p\.yaml:10:\d: a field must have a name/,
  },
  {
    name: 'YAML of before, to which yes is true',
    text: `%YAML 1.1\n---\n${good}`,
    says: /a policy is YAML 1\.2: leave the directive out/,
  },
  {
    name: 'a second policy of the name',
    text: `${good}---\n${good.replace('trustPolicies/base', 'base')}`,
    says: 'p.yaml:11:1: name: is the name of another policy of this file',
  },
  {
    name: 'more policies than a file may hold',
    text: Array.from({ length: 101 }, (_, at) => good.replace('base', `p${at}`)).join('---\n'),
    says: 'p.yaml holds more than 100 policies',
  },
  { name: 'nothing', text: '# only a remark\n', says: 'p.yaml holds no policy' },
  { name: 'a null', text: '--- null', says: 'p.yaml:1:5: expected fields of TrustPolicy' },
  {
    name: 'two documents of which one is a null',
    text: `--- null\n---\n${good}`,
    says: 'p.yaml:1:5: expected fields of TrustPolicy',
  },
])('says where: $name', ({ text, says }) => {
  const [first] = problemsOf(text);
  if (typeof says === 'string') expect(first).toBe(says);
  else expect(first).toMatch(says);
});

test('says every problem, not only the first', () => {
  expect(problemsOf(good.replace('index: 7', 'index: seven').replace('bank: sha256', 'bank: 256'))).toHaveLength(2);
});

test('names a hundred problems, and counts the rest', () => {
  const problems = problemsOf(`${good}${Array.from({ length: 150 }, (_, at) => `x${at}: 1\n`).join('')}`);
  expect(problems).toHaveLength(101);
  expect(problems.at(-1)).toBe('and 50 more');
});

test.each([
  { name: 'lists in lists', text: '['.repeat(100_000) },
  { name: 'fields of one map', text: Array.from({ length: 60_000 }, (_, at) => `f${at}: 1\n`).join('') },
  { name: 'documents', text: '---\na: 1\n'.repeat(30_000) },
])('is done in time with many $name', ({ text }) => {
  const started = performance.now();
  expect(() => parsePolicyFile('p.yaml', text)).toThrow(UsageError);
  expect(performance.now() - started).toBeLessThan(20_000);
});

test('refuses aliases that would make a small file large', () => {
  const bomb = [
    'a: &a [x, x, x, x, x, x, x, x, x]',
    ...'bcdefgh'.split('').map((letter, at) => {
      const before = 'abcdefg'[at] ?? 'a';
      return `${letter}: &${letter} [${Array(9).fill(`*${before}`).join(', ')}]`;
    }),
  ].join('\n');
  expect(() => parsePolicyFile('p.yaml', bomb)).toThrow(UsageError);
});
