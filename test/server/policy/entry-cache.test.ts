import { describe, expect, it } from 'vitest';

import { ImaKeyring } from '../../../tpm/ima/keyring.ts';
import { EntryCache } from '../../../server/policy/entry-cache.ts';
import { makeJudge } from '../../../server/policy/judge-entry.ts';
import { resolveRuntimeRules } from '../../../server/policy/runtime-rules.ts';
import { bufferPlan, filePlan, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { readOne } from '../../tpm/ima/read-entries.ts';
import { ecSigner, rsaSigner } from '../../tpm/ima/signing.ts';

/** A judge whose one set holds everything, or nothing, with a count of how often it was asked. */
function judgeOf(digest: string, holds: boolean) {
  const asked = { count: 0 };
  const has = (): boolean => {
    asked.count += 1;
    return holds;
  };
  const rules = resolveRuntimeRules({ ...NO_RUNTIME_RULES, files: { ...FILES, referenceSets: ['referenceSets/a'] } });
  const judge = makeJudge(digest, rules, { sets: [{ name: 'referenceSets/a', has }], keyring: new ImaKeyring([]) });
  return { judge, asked };
}

describe('judged entries', () => {
  it('are judged once for equal bytes, whatever hash the list claims', () => {
    const { judge, asked } = judgeOf('a', true);
    const cache = new EntryCache();
    const plan = filePlan('/a', 'a');
    expect(cache.judge(readOne(plan), judge).standing).toBe('allowed');
    expect(cache.judge(readOne(plan), judge).standing).toBe('allowed');
    expect(asked.count).toBe(1);
    const forged = { ...filePlan('/b', 'b'), claimedHash: Buffer.from(readOne(plan).templateHash) };
    cache.judge(readOne(forged), judge);
    expect(asked.count).toBe(2);
  });

  it('are judged anew by another judge, in another template and as a violation', () => {
    const cache = new EntryCache();
    const good = judgeOf('a', true);
    const bad = judgeOf('b', false);
    const plan = filePlan('/a', 'a');
    expect(cache.judge(readOne(plan), good.judge).standing).toBe('allowed');
    expect(cache.judge(readOne(plan), bad.judge).standing).toBe('unknown');
    expect(cache.judge(readOne({ ...plan, template: 'ima-new' }), good.judge).kind).toBe('unreadable');
    expect(cache.judge(readOne({ ...plan, violation: true }), good.judge).kind).toBe('violation');
    expect(cache.judge(readOne(violationPlan('/a')), good.judge).kind).toBe('violation');
  });

  it('are forgotten when there are too many, the oldest first', () => {
    const { judge, asked } = judgeOf('a', true);
    const cache = new EntryCache(2);
    const [one, two, three] = ['1', '2', '3'].map((name) => readOne(filePlan(name, name)));
    if (one === undefined || two === undefined || three === undefined) throw new Error('no entries');
    cache.judge(one, judge);
    cache.judge(two, judge);
    cache.judge(one, judge);
    cache.judge(three, judge);
    expect(cache.size).toBe(2);
    cache.judge(one, judge);
    expect(asked.count).toBe(3);
    cache.judge(two, judge);
    expect(asked.count).toBe(4);
  });

  it('are not kept when the keys that they add are too large together, until others are forgotten', () => {
    const { judge } = judgeOf('a', true);
    const keys = [1, 2, 3].map(() => ecSigner('P-256').spki);
    const [, , last = Buffer.alloc(0)] = keys;
    const cache = new EntryCache(3, 2 * last.length + 1);
    for (const key of keys) expect(cache.judge(readOne(bufferPlan('.ima', key)), judge).kind).toBe('buffer');
    expect(cache.size).toBe(2);
    for (const name of ['1', '2']) cache.judge(readOne(filePlan(name, name)), judge);
    expect(cache.size).toBe(3);
    // The first key made room for the second file, and for another key.
    const third = readOne(bufferPlan('.ima', last));
    expect(cache.judge(third, judge).added?.der).toEqual(last);
    expect(cache.size).toBe(3);
    expect(cache.judge(third, judge)).toBe(cache.judge(third, judge));
  });

  it('hold the key that they add, and not the list that it stood in', () => {
    const { judge } = judgeOf('a', true);
    const cache = new EntryCache();
    const plan = bufferPlan('.ima', rsaSigner().spki);
    cache.judge(readOne(plan), judge);
    const { added } = cache.judge(readOne(plan), judge);
    expect(added).toMatchObject({ keyring: '.ima' });
    expect(added?.der.buffer.byteLength).toBeLessThan(16_384);
  });
});
