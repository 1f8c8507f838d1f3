import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import {
  IMPORT_TIME,
  MAX_IMPORT_BYTES,
  MAX_IMPORT_CHUNK,
  MAX_IMPORTS,
  ReferenceImports,
} from '../../../server/reference/import.ts';
import type { ImportRequest } from '../../../server/reference/import.ts';
import { MAX_REFERENCE_ENTRIES } from '../../../server/store/reference-store.ts';
import type { ReferenceEntryRecord } from '../../../server/store/reference-store.ts';
import type { Store } from '../../../server/store/store.ts';
import { openTestStore, OPERATOR } from '../../support/test-service.ts';

const REQUEST: ImportRequest = {
  ...OPERATOR,
  id: 'base',
  format: 'digest_list',
  mode: 'replace',
  expected: 'any',
};
const line = (index: number) => `${index.toString(16).padStart(64, '0')}  /usr/lib/${index}\n`;
const file = (first: number, count: number) =>
  Array.from({ length: count }, (_, index) => line(first + index)).join('');

/** A source of chunks. */
function chunksOf(text: string): () => Promise<Buffer | null> {
  const bytes = Buffer.from(text);
  let start = 0;
  return () => {
    if (start >= bytes.length) return Promise.resolve(null);
    const chunk = bytes.subarray(start, (start += MAX_IMPORT_CHUNK));
    return Promise.resolve(chunk);
  };
}

let store: Store;
let close: () => Promise<void>;
let imports: ReferenceImports;
beforeEach(async () => {
  ({ store, close } = await openTestStore());
  imports = new ReferenceImports(store);
});
afterEach(() => close());

describe('an import', () => {
  it('makes a version of what was read and counts what the file repeats', async () => {
    const outcome = await imports.import(REQUEST, chunksOf(file(0, 5000) + file(0, 10)));
    expect(outcome).toMatchObject({ changed: true, read: 5010, notImported: [], set: { version: 1, entries: 5000 } });
    const added = await imports.import({ ...REQUEST, mode: 'add' }, chunksOf(file(4990, 20)));
    expect(added).toMatchObject({ changed: true, read: 20, set: { version: 2, entries: 5010 } });
    const again = await imports.import({ ...REQUEST, mode: 'add' }, chunksOf(file(0, 1)));
    expect(again).toMatchObject({ changed: false, set: { version: 2 } });
  });

  it.each<{ name: string; source: () => () => Promise<Buffer | null>; failure: object }>([
    {
      name: 'is refused amid its file',
      source: () => chunksOf(`${file(0, 9000)}nonsense\n`),
      failure: { code: 'malformed', message: expect.stringMatching(/^line 9001, column 1: /) },
    },
    { name: 'holds nothing', source: () => chunksOf('# nothing\n'), failure: { code: 'malformed' } },
    {
      name: 'breaks off',
      source: () => {
        const next = chunksOf(file(0, 9000));
        return async () => (await next()) ?? Promise.reject(new Error('cut'));
      },
      failure: { message: 'cut' },
    },
    {
      name: 'is too large',
      source: () => {
        // Comments: the bytes count, whatever they hold.
        const chunk = Buffer.from(`#${'x'.repeat(1022)}\n`.repeat(256));
        return () => Promise.resolve(chunk);
      },
      failure: { code: 'too_large', message: `the file is larger than ${MAX_IMPORT_BYTES} bytes` },
    },
  ])('that $name leaves the former version in force', async ({ source, failure }) => {
    await imports.import(REQUEST, chunksOf(file(0, 3)));
    const before = await store.listAudit(0, 100);
    await expect(imports.import(REQUEST, source())).rejects.toMatchObject(failure);
    expect(await store.getReferenceSet('base', null)).toMatchObject({ version: 1, entries: 3 });
    expect(await store.listAudit(0, 100)).toEqual(before);
    await imports.import(REQUEST, chunksOf(file(7, 3)));
  });

  it('takes too long only so long', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const idle = imports.import(REQUEST, () => new Promise(() => undefined));
      const refused = expect(idle).rejects.toMatchObject({ code: 'too_slow' });
      await vi.advanceTimersByTimeAsync(IMPORT_TIME);
      await refused;
    } finally {
      vi.useRealTimers();
    }
    expect(await store.getReferenceSet('base', null)).toBeNull();
  });

  it('waits for nobody: one too many is refused', async () => {
    const gate = Promise.withResolvers<null>();
    const waiting = Array.from({ length: MAX_IMPORTS }, () => imports.import(REQUEST, () => gate.promise));
    await expect(imports.import(REQUEST, chunksOf(file(0, 1)))).rejects.toMatchObject({ code: 'busy' });
    gate.resolve(null);
    for (const each of await Promise.allSettled(waiting)) expect(each.status).toBe('rejected');
    expect(await imports.import(REQUEST, chunksOf(file(0, 1)))).toMatchObject({ changed: true });
  });

  it('holds one chunk and one batch, and lets the event loop go on', async () => {
    let largest = 0;
    let turns = 0;
    const timer = setInterval(() => void turns++, 1);
    const watched = new ReferenceImports({
      openReferenceDraft: (...args) => store.openReferenceDraft(...args),
      commitReferenceDraft: (...args) => store.commitReferenceDraft(...args),
      dropReferenceDraft: (draft) => store.dropReferenceDraft(draft),
      addReferenceEntries: (draft, entries: readonly ReferenceEntryRecord[]) => {
        largest = Math.max(largest, entries.length);
        return store.addReferenceEntries(draft, entries);
      },
    });
    const outcome = await watched.import(REQUEST, chunksOf(file(0, 100_000)));
    clearInterval(timer);
    expect(outcome.set.entries).toBe(100_000);
    expect(largest).toBe(2000);
    // A turn for about every chunk of 256 KiB; a file that is parsed or posted at once would leave one or two.
    expect(turns).toBeGreaterThan(20);
  });
});

describe('a set', () => {
  it('of more entries than are kept is refused', async () => {
    const draft = await store.openReferenceDraft('base', { from: 'nothing', expected: 'any' });
    const batch = (first: number, count: number): ReferenceEntryRecord[] =>
      Array.from({ length: count }, (_, index) => ({
        algorithm: 'sha1',
        digest: (first + index).toString(16).padStart(40, '0'),
        path: '/',
      }));
    for (let first = 0; first < MAX_REFERENCE_ENTRIES; first += 50_000)
      await store.addReferenceEntries(draft, batch(first, 50_000));
    await store.addReferenceEntries(draft, batch(0, 1));
    await expect(store.addReferenceEntries(draft, batch(MAX_REFERENCE_ENTRIES, 1))).rejects.toMatchObject({
      code: 'too_large',
    });
  });
});
