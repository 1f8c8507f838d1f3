import { describe, expect, it } from 'vitest';
import type { ReferenceEntryRecord } from '../../../../server/store/reference-store.ts';
import { digest, entry, OPERATOR, putSet } from '../fixtures.ts';
import type { Given } from './harness.ts';

const ANY = { ...OPERATOR, expected: 'any' } as const;
const FIRST = { limit: 1000, after: '' };

export function describeReferenceSets(given: Given): void {
  const put = (id: string, entries: readonly ReferenceEntryRecord[], from?: 'newest') =>
    putSet(given.store, id, entries, from);
  const paths = async (id: string, version: number) =>
    (await given.store.listReferenceEntries({ id, version }, FIRST, { pathPrefix: '' })).items
      .map(({ path }) => path)
      .sort();

  describe('reference sets', () => {
    it('are seen only once they are whole, and keep their entries over a restart', async () => {
      const draft = await given.store.openReferenceDraft('base', { from: 'nothing', expected: 'any' });
      await given.store.addReferenceEntries(draft, [entry('a'), entry('b'), entry('a')]);
      expect(await given.store.getReferenceSet('base', null)).toBeNull();
      expect((await given.store.listReferenceSets(FIRST)).items).toEqual([]);
      const { set, changed } = await given.store.commitReferenceDraft(draft, {
        ...OPERATOR,
        detail: '2 read, ',
      });
      expect(changed).toBe(true);
      expect(set).toEqual({ id: 'base', version: 1, kind: 'files', entries: 2, createTime: given.store.now() });
      await given.reopen();
      expect(await given.store.getReferenceSet('base', null)).toEqual(set);
      expect(await given.store.getReferenceSet('base', 1)).toEqual(set);
      expect(await given.store.getReferenceSet('base', 2)).toBeNull();
      expect(await paths('base', 1)).toEqual(['/usr/bin/a', '/usr/bin/b']);
      expect((await given.store.listAudit(0, 10)).at(-1)).toMatchObject({
        action: 'referenceSet.import',
        target: 'referenceSets/base',
        detail: '2 read, version 1, 2 entries, 0 verdicts dropped',
      });
    });

    it('leave the former version in force when a draft is dropped, and take nothing after it', async () => {
      await put('base', [entry('a')]);
      const before = await given.store.listAudit(0, 100);
      const draft = await given.store.openReferenceDraft('base', { from: 'nothing', expected: 'any' });
      await given.store.addReferenceEntries(draft, [entry('b')]);
      await given.store.dropReferenceDraft(draft);
      await expect(given.store.addReferenceEntries(draft, [entry('c')])).rejects.toMatchObject({ code: 'not_found' });
      await expect(given.store.commitReferenceDraft(draft, { ...OPERATOR, detail: '' })).rejects.toMatchObject({
        code: 'not_found',
      });
      expect(await given.store.getReferenceSet('base', null)).toMatchObject({ version: 1 });
      expect(await paths('base', 1)).toEqual(['/usr/bin/a']);
      expect(await given.store.listAudit(0, 100)).toEqual(before);
    });

    it('add to the newest version, and replace it', async () => {
      await put('base', [entry('a')]);
      expect(await put('base', [entry('b')], 'newest')).toMatchObject({ set: { version: 2, entries: 2 } });
      expect(await put('base', [entry('c')])).toMatchObject({ set: { version: 3, entries: 1 } });
      expect(await paths('base', 2)).toEqual(['/usr/bin/a', '/usr/bin/b']);
      expect(await paths('base', 3)).toEqual(['/usr/bin/c']);
      expect(await put('other', [entry('a')], 'newest')).toMatchObject({ set: { version: 1, entries: 1 } });
    });

    it('make no version of equal content, in whatever order it comes', async () => {
      await put('base', [entry('a'), entry('b')]);
      const before = [await given.store.epochs(), await given.store.listAudit(0, 100)];
      expect(await put('base', [entry('b'), entry('a')])).toMatchObject({ changed: false, set: { version: 1 } });
      expect(await put('base', [entry('b')], 'newest')).toMatchObject({ changed: false, set: { version: 1 } });
      expect([await given.store.epochs(), await given.store.listAudit(0, 100)]).toEqual(before);
      expect(await put('base', [entry('a'), entry('c')])).toMatchObject({ changed: true, set: { version: 2 } });
    });

    it('withdraw a digest with all its paths, or nothing where one of several is not there', async () => {
      await put('base', [entry('a'), entry('a', '/opt/a'), entry('b'), entry('c')]);
      const withdraw = (digests: readonly string[], expected: number | 'any' = 'any') =>
        given.store.withdrawReferenceDigests('base', digests, { ...OPERATOR, expected });
      await expect(withdraw([digest('a'), digest('x')])).rejects.toMatchObject({ code: 'not_found' });
      await expect(withdraw([digest('a')], 2)).rejects.toMatchObject({ code: 'etag_mismatch' });
      await expect(given.store.withdrawReferenceDigests('other', [digest('a')], ANY)).rejects.toMatchObject({
        code: 'not_found',
      });
      expect(await given.store.getReferenceSet('base', null)).toMatchObject({ version: 1 });
      expect(await withdraw([digest('a'), digest('a')], 1)).toMatchObject({
        set: { version: 2, entries: 2 },
        removed: 2,
      });
      expect((await given.store.listAudit(0, 10)).at(-1)).toMatchObject({
        action: 'referenceSet.withdraw',
        detail: `${digest('a')}, version 2, 2 entries, 0 verdicts dropped`,
      });
      expect(await paths('base', 1)).toEqual(['/opt/a', '/usr/bin/a', '/usr/bin/b', '/usr/bin/c']);
      expect(await paths('base', 2)).toEqual(['/usr/bin/b', '/usr/bin/c']);
      const holds = (version: number, name: string) =>
        given.store.hasReferenceDigest({ id: 'base', version }, 'sha256', digest(name));
      expect([await holds(1, 'a'), await holds(2, 'a'), await holds(2, 'b')]).toEqual([true, false, true]);
      expect(await given.store.hasReferenceDigest({ id: 'base', version: 2 }, 'sha384', digest('b'))).toBe(false);
    });

    it('stay without what was withdrawn through every change after it', async () => {
      await put('base', [entry('a'), entry('b'), entry('c')]);
      const withdraw = (name: string) => given.store.withdrawReferenceDigests('base', [digest(name)], ANY);
      await withdraw('a');
      await expect(withdraw('a')).rejects.toMatchObject({ code: 'not_found' });
      expect(await withdraw('b')).toMatchObject({ set: { version: 3, entries: 1 }, removed: 1 });
      const set = { id: 'base', version: 3 };
      expect(await paths('base', 3)).toEqual(['/usr/bin/c']);
      const of = (filter: { digest: string } | { pathPrefix: string }) =>
        given.store.listReferenceEntries(set, FIRST, filter);
      expect((await of({ digest: digest('a') })).items).toEqual([]);
      expect((await of({ pathPrefix: '/usr/bin/' })).items).toMatchObject([{ path: '/usr/bin/c' }]);
      const { digests } = await given.store.readReferenceDigests(set, FIRST);
      expect(Buffer.from(digests.sha256 ?? []).toString('hex')).toBe(digest('c'));
      // The content that the three versions share is there as long as one of them is.
      expect(await put('base', [entry('d')], 'newest')).toMatchObject({ set: { version: 4, entries: 2 } });
      expect(await paths('base', 4)).toEqual(['/usr/bin/c', '/usr/bin/d']);
      await put('base', [entry('x')]);
      expect(await paths('base', 3)).toEqual(['/usr/bin/c']);
      expect(await put('base', [entry('a')])).toMatchObject({ changed: true, set: { version: 6 } });
      expect(await paths('base', 6)).toEqual(['/usr/bin/a']);
    });

    it('tell equal content from one that a withdrawal made different', async () => {
      await put('base', [entry('a'), entry('b')]);
      await given.store.withdrawReferenceDigests('base', [digest('a')], ANY);
      expect(await put('base', [entry('a')])).toMatchObject({ changed: true, set: { version: 3 } });
      await put('base', [entry('a'), entry('b')]);
      await given.store.withdrawReferenceDigests('base', [digest('a')], ANY);
      expect(await put('base', [entry('b')])).toMatchObject({ changed: false, set: { version: 5 } });
    });

    it('hold a change to the version that it was made from', async () => {
      await put('base', [entry('a')]);
      const open = (expected: number | 'any', from: 'nothing' | 'newest' = 'newest') =>
        given.store.openReferenceDraft('base', { from, expected });
      await expect(open(2)).rejects.toMatchObject({ code: 'etag_mismatch' });
      const added = await open('any');
      const named = await open(1, 'nothing');
      const whatever = await open('any', 'nothing');
      for (const draft of [added, named, whatever]) await given.store.addReferenceEntries(draft, [entry('b')]);
      await put('base', [entry('c')]);
      const settle = (draft: number) => given.store.commitReferenceDraft(draft, { ...OPERATOR, detail: '' });
      await expect(settle(added)).rejects.toMatchObject({ code: 'etag_mismatch' });
      await expect(settle(named)).rejects.toMatchObject({ code: 'etag_mismatch' });
      expect(await settle(whatever)).toMatchObject({ set: { version: 3 } });
    });

    it('keep their newest three versions', async () => {
      for (const name of ['a', 'b', 'c', 'd']) await put('base', [entry(name)]);
      expect(await given.store.getReferenceSet('base', 1)).toBeNull();
      await expect(paths('base', 1)).rejects.toMatchObject({ code: 'not_found' });
      expect(await paths('base', 2)).toEqual(['/usr/bin/b']);
    });

    it('never give a version of a deleted set to another content', async () => {
      await put('base', [entry('a')]);
      await given.store.deleteReferenceSet('base', { ...OPERATOR, expected: 1 });
      expect(await given.store.getReferenceSet('base', 1)).toBeNull();
      await expect(given.store.deleteReferenceSet('base', ANY)).rejects.toMatchObject({ code: 'not_found' });
      expect(await put('base', [entry('a')])).toMatchObject({ changed: true, set: { version: 2 } });
    });

    it('are listed page by page, and their entries by digest, by path, and all', async () => {
      await put('b', [entry('a'), entry('a', '/opt/a'), entry('b', '/opt/b'), entry('c', '/opt2'), entry('d', '/op')]);
      await put('a', [entry('a')]);
      const first = await given.store.listReferenceSets({ limit: 1, after: '' });
      expect(first).toMatchObject({ items: [{ id: 'a' }], next: 'a' });
      expect(await given.store.listReferenceSets({ limit: 1, after: 'a' })).toMatchObject({
        items: [{ id: 'b' }],
        next: null,
      });
      const all = async (filter: { digest: string } | { pathPrefix: string }) => {
        const found: ReferenceEntryRecord[] = [];
        for (let after: string | null = ''; after !== null;) {
          const page = await given.store.listReferenceEntries({ id: 'b', version: 1 }, { limit: 1, after }, filter);
          found.push(...page.items);
          after = page.next;
        }
        return found;
      };
      const everything = await all({ pathPrefix: '' });
      expect(everything).toHaveLength(5);
      expect(everything.map((each) => each.digest)).toEqual(everything.map((each) => each.digest).toSorted());
      expect((await all({ digest: digest('a') })).map(({ path }) => path)).toEqual(['/opt/a', '/usr/bin/a']);
      expect((await all({ pathPrefix: '/opt' })).map(({ path }) => path)).toEqual(['/opt/a', '/opt/b', '/opt2']);
      expect(await all({ digest: digest('x') })).toEqual([]);
      const ofOther = given.store.listReferenceEntries(
        { id: 'a', version: 1 },
        { limit: 1, after: '1' },
        { pathPrefix: '' },
      );
      await expect(ofOther).rejects.toMatchObject({ code: 'page_token' });
    });

    it('give their digests in order, each once', async () => {
      const short = { algorithm: 'sha1', digest: 'ff'.repeat(20), path: '/x' } as const;
      await put('base', [entry('a'), entry('a', '/opt/a'), entry('b'), short]);
      const set = { id: 'base', version: 1 };
      const whole = await given.store.readReferenceDigests(set, FIRST);
      const sorted = [digest('a'), digest('b')].sort().join('');
      expect(Buffer.from(whole.digests.sha256 ?? []).toString('hex')).toBe(sorted);
      expect(Buffer.from(whole.digests.sha1 ?? []).toString('hex')).toBe(short.digest);
      expect(whole.next).toBeNull();
      let hex = '';
      for (let after: string | null = ''; after !== null;) {
        const page = await given.store.readReferenceDigests(set, { limit: 1, after });
        hex += Buffer.from(page.digests.sha256 ?? []).toString('hex');
        after = page.next;
      }
      expect(hex).toBe(sorted);
    });
  });
}
