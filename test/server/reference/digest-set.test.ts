import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { DigestSet } from '../../../server/reference/digest-set.ts';
import { REFERENCE_ALGORITHMS } from '../../../server/store/reference-store.ts';
import type { ReferenceAlgorithm, ReferenceEntryRecord } from '../../../server/store/reference-store.ts';
import type { Store } from '../../../server/store/store.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { openTestStore, OPERATOR } from '../../support/test-service.ts';

let store: Store;
let close: () => Promise<void>;
beforeAll(async () => {
  ({ store, close } = await openTestStore());
});
afterAll(() => close());

async function put(entries: readonly ReferenceEntryRecord[]): Promise<DigestSet> {
  const draft = await store.openReferenceDraft('base', { from: 'nothing', expected: 'any' });
  await store.addReferenceEntries(draft, entries);
  const { set } = await store.commitReferenceDraft(draft, { ...OPERATOR, detail: '' });
  return DigestSet.load(store, set);
}

describe('a set of digests', () => {
  it('holds what the store holds, each algorithm by itself, and nothing else', async () => {
    const random = new SeededRandom(3);
    const algorithms = Object.keys(REFERENCE_ALGORITHMS) as ReferenceAlgorithm[];
    for (const count of [1, 2, 3, 500]) {
      const entries = Array.from({ length: count }, (_, index) => {
        const algorithm = random.pick(algorithms);
        const digest = random.bytes(REFERENCE_ALGORITHMS[algorithm]);
        // Neighbours and the ends of the order are where a search goes wrong.
        if (index % 5 === 0) digest.fill(index % 2 === 0 ? 0 : 0xff, 0, digest.length - 1);
        return { algorithm, digest: digest.toString('hex'), path: `/${index % 7}` };
      });
      const set = await put([...entries, ...entries.map((entry) => ({ ...entry, path: '/again' }))]);
      expect(set.size).toBe(new Set(entries.map(({ digest }) => digest)).size);
      const known = new Set(entries.map(({ algorithm, digest }) => `${algorithm} ${digest}`));
      for (const { algorithm, digest } of entries) {
        const bytes = Buffer.from(digest, 'hex');
        expect(set.has(algorithm, bytes)).toBe(true);
        for (const step of [1, 0xff]) {
          const near = Buffer.from(bytes);
          near[near.length - 1] = ((near.at(-1) ?? 0) + step) & 0xff;
          expect(set.has(algorithm, near)).toBe(known.has(`${algorithm} ${near.toString('hex')}`));
        }
      }
    }
  });

  it('never holds a digest of another algorithm or length', async () => {
    const digest = Buffer.alloc(32, 7);
    const set = await put([{ algorithm: 'sha256', digest: digest.toString('hex'), path: '/a' }]);
    expect(set.has('sha256', digest)).toBe(true);
    for (const algorithm of ['sha1', 'sha384', 'sha3-256', 'SHA256', 'toString', '']) {
      expect(set.has(algorithm, digest)).toBe(false);
    }
    for (const size of [0, 31, 33, 64]) expect(set.has('sha256', Buffer.alloc(size, 7))).toBe(false);
  });

  it('is of one version, and cannot be of one that is not kept', async () => {
    const before = await put([{ algorithm: 'sha1', digest: '11'.repeat(20), path: '/a' }]);
    const after = await put([{ algorithm: 'sha1', digest: '22'.repeat(20), path: '/a' }]);
    expect(after.version).toBe(before.version + 1);
    expect(before.has('sha1', Buffer.alloc(20, 0x11))).toBe(true);
    expect(after.has('sha1', Buffer.alloc(20, 0x11))).toBe(false);
    expect((await DigestSet.load(store, before)).has('sha1', Buffer.alloc(20, 0x11))).toBe(true);
    await expect(DigestSet.load(store, { id: 'base', version: 99 })).rejects.toMatchObject({ code: 'not_found' });
  });
});
