import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { RuntimeJudges } from '../../../server/policy/runtime-judges.ts';
import { resolveRuntimeRules } from '../../../server/policy/runtime-rules.ts';
import { SignatureCache } from '../../../server/policy/signature-cache.ts';
import type { Store } from '../../../server/store/store.ts';
import { FILES, importFiles, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { openTestStore } from '../../support/test-service.ts';
import { policy } from './appraisal-input.ts';

let store: Store;
let close: () => Promise<void>;
/** Versions that were read, in that order. */
let read: number[];
let judges: RuntimeJudges;
beforeEach(async () => {
  ({ store, close } = await openTestStore());
  read = [];
  const reader: Pick<Store, 'getKeyring' | 'readReferenceDigests'> = {
    getKeyring: (id, version) => store.getKeyring(id, version),
    readReferenceDigests: (set, page) => {
      read.push(set.version);
      return store.readReferenceDigests(set, page);
    },
  };
  judges = new RuntimeJudges(reader, new SignatureCache().try);
});
afterEach(() => close());

/** By a version of the set `base`; of other rules where they are told. */
function judgeOf(version: number, message = '') {
  const files = { ...FILES, referenceSets: ['referenceSets/base'], message };
  const references = [{ name: 'referenceSets/base', version }];
  const rules = resolveRuntimeRules({ ...NO_RUNTIME_RULES, files });
  return judges.of({ kind: 'policy', policy: policy([{}]), version: 1, references }, rules);
}

describe('judges of run-time rules', () => {
  it('are made once for each version, and share what they rest on', async () => {
    await importFiles(store, ['one']);
    const [first, again] = await Promise.all([judgeOf(1), judgeOf(1)]);
    expect(again).toBe(first);
    expect((await judgeOf(1, 'other rules')).kind).toBe('ready');
    expect(read).toEqual([1]);
  });

  it('do not keep a version that another one has followed', async () => {
    await importFiles(store, ['one']);
    await importFiles(store, ['two']);
    await judgeOf(1);
    await judgeOf(1, 'other rules');
    await judgeOf(2);
    await judgeOf(2);
    expect(read).toEqual([1, 2]);
    // Whoever still judges by the former one reads it again.
    expect((await judgeOf(1)).kind).toBe('ready');
    expect(read).toEqual([1, 2, 1]);
    await judgeOf(2);
    expect(read).toEqual([1, 2, 1]);
  });
});
