import { describe, expect, it } from 'vitest';

import { resolveRuntimeRules, runtimeRuleProblems } from '../../../server/policy/runtime-rules.ts';
import type { RuntimeRulesDraft } from '../../../server/policy/runtime-rules.ts';
import { FILES, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';

const BASE = { ...FILES, referenceSets: ['referenceSets/base'] };
const problems = (draft: Partial<RuntimeRulesDraft>): readonly string[] =>
  runtimeRuleProblems({ ...NO_RUNTIME_RULES, ...draft }).map(({ field, message }) => `${field} ${message}`);

describe('run-time rules', () => {
  it('have defaults on the safe side', () => {
    const files = { ...BASE, unknown: undefined };
    expect(resolveRuntimeRules({ ...NO_RUNTIME_RULES, files })).toEqual({
      list: null,
      files: { ...BASE, unknown: 'contraindicated' },
      forbiddenFiles: null,
      invalidSignatures: { action: 'contraindicated', message: '' },
      violations: { action: 'contraindicated', applyExcludes: false, message: '' },
      otherKernels: { action: 'warning', message: '' },
    });
  });

  it('that are good have no problem', () => {
    expect(problems({ files: BASE })).toEqual([]);
    expect(problems({ violations: { action: undefined, applyExcludes: false, message: '' } })).toEqual([]);
  });

  const long = 'x'.repeat(513);
  it.each<[string, Partial<RuntimeRulesDraft>, string]>([
    ['none at all', {}, 'runtime has no rule'],
    ['files that nothing allows', { files: FILES }, 'runtime.files allows nothing'],
    [
      'a signature without keys',
      { files: { ...BASE, requireSignature: true } },
      'runtime.files.require_signature needs keys',
    ],
    [
      'a name of another kind',
      { files: { ...BASE, keyrings: ['base'] } },
      'runtime.files.keyrings[0] must be keyrings/',
    ],
    [
      'a name twice',
      { files: { ...FILES, referenceSets: ['referenceSets/a', 'referenceSets/a'] } },
      'runtime.files.reference_sets[1] is named twice',
    ],
    [
      'too many names',
      { files: { ...FILES, keyrings: Array.from({ length: 17 }, (_, index) => `keyrings/k${index}`) } },
      'runtime.files.keyrings holds more than 16',
    ],
    ['a pattern that fits all', { files: { ...BASE, excludes: ['*'] } }, 'runtime.files.excludes[0] fits nearly'],
    [
      'too many patterns',
      { files: { ...BASE, excludes: Array.from({ length: 257 }, (_, index) => `/${index}`) } },
      'runtime.files.excludes holds more than 256',
    ],
    [
      'an action that is none',
      { files: { ...BASE, unknown: 'unknown' } },
      'runtime.files.unknown is not a known action',
    ],
    ['a severity that is none', { list: { severity: 'unknown', message: '' } }, 'runtime.list.severity is not a known'],
    ['a long sentence', { list: { severity: undefined, message: long } }, 'runtime.list.message is longer'],
    [
      'no digest',
      { forbiddenFiles: { digests: [], severity: undefined, message: '' } },
      'runtime.forbidden_files.digests must hold 1 to 1024',
    ],
    [
      'a digest that is none',
      { forbiddenFiles: { digests: ['abc'], severity: undefined, message: '' } },
      'runtime.forbidden_files.digests[0] must be the hex digits',
    ],
    [
      'a meaning of signatures that nobody asks for',
      { files: BASE, invalidSignatures: { action: 'contraindicated', message: '' } },
      'runtime.invalid_signatures has no effect',
    ],
    [
      'excludes for violations where nothing is excluded',
      { files: BASE, violations: { action: undefined, applyExcludes: true, message: '' } },
      'runtime.violations.apply_excludes has no effect',
    ],
  ])('are refused with %s', (_name, draft, problem) => {
    const [first = '', ...others] = problems(draft);
    expect(first.startsWith(problem), first).toBe(true);
    expect(others).toEqual([]);
  });
});
