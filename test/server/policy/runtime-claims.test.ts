import { describe, expect, it } from 'vitest';

import { appraise } from '../../../server/policy/appraise.ts';
import type { RuntimeEvidence } from '../../../server/policy/appraise-runtime.ts';
import type { RuntimeReason } from '../../../server/policy/judge-entry.ts';
import { resolveRuntimeRules } from '../../../server/policy/runtime-rules.ts';
import type { RuntimeRulesDraft } from '../../../server/policy/runtime-rules.ts';
import { EMPTY_TALLY } from '../../../server/policy/runtime-tally.ts';
import type { RuntimeCounts } from '../../../server/policy/runtime-tally.ts';
import type { Verdict } from '../../../server/store/records.ts';
import { failed, passed, unevaluated } from '../../../server/verifier/finding.ts';
import { FILES, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { BASE, policy } from './appraisal-input.ts';
import { checkOf, judge, RULE } from './expression-input.ts';

const BOOT = 'runtime.boot-aggregate';
const WHY = { reason: 'A_REASON', observed: '', expected: '', message: 'A sentence.' };

/** A proven list of 40 entries with these counts and faults. */
function proven(
  faults: Partial<Record<RuntimeReason, number>> = {},
  counts: Partial<RuntimeCounts> = {},
  boot = passed(BOOT, 'It began in this boot.'),
): RuntimeEvidence {
  const found = Object.entries(faults).map(([reason, count]) => [reason, { count, examples: [] }] as const);
  const tally = { ...EMPTY_TALLY, faults: Object.fromEntries(found), counts: { ...EMPTY_TALLY.counts, ...counts } };
  return { kind: 'proven', entries: 40, tally, boot };
}

function unproven(outcome: typeof failed | typeof unevaluated, absent = false): RuntimeEvidence {
  const { tally } = proven() as RuntimeEvidence & { readonly kind: 'proven' };
  return { kind: 'unproven', finding: outcome('runtime.list', WHY), absent, tally, boot: null };
}

/** The verdict by an expression beside run-time rules. */
function judgeBeside(expression: string, runtime: RuntimeEvidence, rules: Partial<RuntimeRulesDraft>): Verdict {
  const judging = {
    ...policy([{}]),
    runtime: resolveRuntimeRules({ ...NO_RUNTIME_RULES, ...rules }),
    expressions: [{ ...RULE, expression }],
  };
  return appraise({ ...BASE, runtime, applicable: { kind: 'policy', policy: judging, version: 1, references: [] } });
}

const SIGNED = { files: { ...FILES, keyrings: ['keyrings/vendor'] } };
const LISTED = { files: { ...FILES, referenceSets: ['referenceSets/base'] } };
const FORBIDDEN = { forbiddenFiles: { digests: ['ab'.repeat(32)], severity: undefined, message: '' } };

describe('an expression over a proven list', () => {
  it.each<[string, string, RuntimeEvidence]>([
    ['its length', 'runtime.entries == 40 && runtime.files == 38', proven({}, { files: 38 })],
    ['that nothing is wrong', 'runtime.violations == 0 && runtime.other_kernels == 0', proven()],
    ['a few violations', 'runtime.violations < 3', proven({ IMA_VIOLATION: 2 })],
    ['the boot that it began in', 'runtime.boot_aggregate', proven()],
    ['what its policy does not look for', '!has(runtime.unknown_files) && !has(runtime.forbidden_files)', proven()],
    ['signatures that nobody asks for', '!has(runtime.invalid_signatures) && !has(runtime.valid_signatures)', proven()],
  ])('holds for %s', (_name, expression, runtime) => {
    const verdict = judge(expression, { runtime });
    expect(checkOf(verdict)).toMatchObject({ outcome: 'passed' });
    expect(verdict.status).toBe('affirming');
  });

  it.each<[string, string, RuntimeEvidence, string]>([
    ['a violation', 'runtime.violations == 0', proven({ IMA_VIOLATION: 1 }), 'runtime.violations = 1'],
    ['another kernel', 'runtime.other_kernels == 0', proven({ KERNEL_REPLACED: 2 }), 'runtime.other_kernels = 2'],
    ['too few files', 'runtime.files > 9', proven({}, { files: 9 }), 'runtime.files = 9'],
    [
      'many violations, with about how many',
      'runtime.violations < 3',
      proven({ IMA_VIOLATION: 345 }),
      'runtime.violations = more than 100',
    ],
  ])('turns the host for %s', (_name, expression, runtime, observed) => {
    const verdict = judge(expression, { runtime });
    expect(checkOf(verdict)).toMatchObject({ outcome: 'failed', reason: 'EXPRESSION_FALSE', observed });
    expect(verdict.status).toBe('contraindicated');
  });

  it('needs the list and the boot that it began in, and no other run-time rule', () => {
    const { checks } = judge('runtime.entries > 0', { runtime: proven({ IMA_VIOLATION: 1 }) });
    const ids = checks.map(({ id }) => id).filter((id) => id.startsWith('runtime.'));
    expect(ids).toEqual(['runtime.list', BOOT]);
  });

  it.each<[string, Partial<RuntimeRulesDraft>, RuntimeEvidence, string]>([
    [
      'files',
      LISTED,
      proven({ FILE_UNKNOWN: 1 }, { files: 9, allowed: 6, excluded: 2 }),
      'runtime.allowed_files == 6 && runtime.excluded_files == 2 && runtime.unknown_files == 1',
    ],
    ['forbidden files', FORBIDDEN, proven({ FILE_FORBIDDEN: 2 }), 'runtime.forbidden_files == 2'],
    [
      'signatures',
      SIGNED,
      proven({ FILE_SIGNATURE_INVALID: 3 }, { validSignatures: 5, unknownKeySignatures: 4 }),
      'runtime.valid_signatures == 5 && runtime.unknown_key_signatures == 4 && runtime.invalid_signatures == 3',
    ],
    ['no signatures where no key is named', LISTED, proven(), '!has(runtime.invalid_signatures)'],
  ])('sees what rules look for: %s', (_name, rules, runtime, expression) => {
    expect(checkOf(judgeBeside(expression, runtime, rules))).toMatchObject({ outcome: 'passed' });
  });
});

describe('an expression over a list of which signatures were not tried', () => {
  // 1,000 are not valid; of 40 more nobody knows.
  const untried = proven(
    { FILE_SIGNATURE_INVALID: 1040, FILE_UNKNOWN: 30 },
    { validSignatures: 3, files: 1100, allowed: 900, excluded: 20 },
  );
  const all = proven(
    { FILE_SIGNATURE_INVALID: 1000, FILE_UNKNOWN: 30 },
    { validSignatures: 3, files: 1100, allowed: 900, excluded: 20 },
  );

  it.each([
    ['few valid signatures', 'runtime.valid_signatures < 5'],
    ['few allowed files', 'runtime.allowed_files <= 930'],
    ['many unknown files', 'runtime.unknown_files > 0'],
    ['many excluded files', 'runtime.excluded_files > 10'],
    ['many invalid signatures', 'runtime.invalid_signatures > 1000'],
    ['the opposite of many valid ones', '!(runtime.valid_signatures >= 5)'],
  ])('does not hold by what is not known: %s', (_name, expression) => {
    const verdict = judgeBeside(expression, untried, SIGNED);
    expect(checkOf(verdict)).toMatchObject({ outcome: 'failed', reason: 'EXPRESSION_FALSE' });
    expect(verdict.status).toBe('contraindicated');
  });

  it.each([
    ['many valid signatures', 'runtime.valid_signatures >= 5'],
    ['few invalid signatures', 'runtime.invalid_signatures < 1020'],
    ['few unknown files', 'runtime.unknown_files < 20'],
  ])('nor as if they were valid: %s', (_name, expression) => {
    expect(checkOf(judgeBeside(expression, untried, SIGNED))).toMatchObject({ outcome: 'failed' });
  });

  const IGNORED = { action: 'ignore', message: '' } as const;

  it.each([
    ['between both', 'runtime.valid_signatures != 20'],
    ['outside of what lies between', 'runtime.valid_signatures < 5 || runtime.valid_signatures > 30'],
  ])('is not known to hold where it does at both ends: %s', (_name, expression) => {
    const unminded = { ...SIGNED, files: { ...SIGNED.files, unknown: 'ignore' }, invalidSignatures: IGNORED } as const;
    const verdict = judgeBeside(expression, untried, unminded);
    expect(checkOf(verdict)).toMatchObject({ outcome: 'error', reason: 'EXPRESSION_CLAIM_MISSING' });
    expect(verdict.status).toBe('none');
  });

  it('holds where it does by what is known, and where all were tried', () => {
    const either = 'runtime.files == 1100 && runtime.violations == 0 || runtime.valid_signatures < 99';
    expect(checkOf(judgeBeside(either, untried, SIGNED))).toMatchObject({ outcome: 'passed' });
    // Counted as if none were valid there is none, so there is none.
    const none = proven({ FILE_SIGNATURE_INVALID: 1040 }, { files: 1100, allowed: 1100 });
    expect(checkOf(judgeBeside('runtime.unknown_files == 0', none, SIGNED))).toMatchObject({ outcome: 'passed' });
    expect(checkOf(judgeBeside('runtime.valid_signatures < 5', all, SIGNED))).toMatchObject({ outcome: 'passed' });
  });
});

describe('an expression over what is not proven', () => {
  it.each<[string, string, RuntimeEvidence | null]>([
    ['a list that has not come', 'runtime.violations == 0', null],
    ['has() of a list that has not come', '!has(runtime.unknown_files)', null],
    ['a list that does not lead to the quote', 'runtime.violations == 0', unproven(failed)],
    ['has() of such a list', '!has(runtime.unknown_files)', unproven(failed)],
    ['a list that nobody can judge', 'runtime.entries < 99', unproven(unevaluated)],
    ['a list that is not there', 'runtime.other_kernels == 0', unproven(unevaluated, true)],
    ['a missing list before ||', 'runtime.violations == 0 || identity.endorsed', null],
    ['entries that cannot be read', 'runtime.violations == 0', proven({ IMA_ENTRY_UNREADABLE: 1 })],
    ['entries that no kernel writes', 'runtime.violations == 0', proven({ IMA_LIST_INCONSISTENT: 1 })],
    ['a boot that it may not have begun in', '!runtime.boot_aggregate', proven({}, {}, unevaluated(BOOT, WHY))],
    ['unknown files that no rule looks for', 'runtime.unknown_files == 0', proven()],
    ['forbidden files that no rule names', 'runtime.forbidden_files == 0', proven()],
    ['signatures without a key', 'runtime.invalid_signatures == 0', proven()],
  ])('is never passed: %s', (_name, expression, runtime) => {
    const verdict = judge(expression, { runtime });
    expect(checkOf(verdict)).toMatchObject({ outcome: 'error', reason: 'EXPRESSION_CLAIM_MISSING' });
    expect(verdict.status).not.toBe('affirming');
  });

  it('is never passed: files of another hash than the forbidden ones', () => {
    const other = judgeBeside('runtime.forbidden_files == 0', proven({ FILE_INCOMPARABLE: 1 }), FORBIDDEN);
    expect(checkOf(other)).toMatchObject({ outcome: 'error', reason: 'EXPRESSION_CLAIM_MISSING' });
    expect(other.status).toBe('none');
  });

  it('leaves the host no better than the list: what is wrong with it stands beside', () => {
    const other = judge('runtime.violations == 0', { runtime: proven({}, {}, failed(BOOT, WHY)) });
    expect(checkOf(other)).toMatchObject({ outcome: 'passed' });
    expect(other.status).toBe('contraindicated');
    expect(judge('true || runtime.entries == 0', { runtime: null }).status).toBe('none');
  });
});
