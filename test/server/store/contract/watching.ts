import { describe, expect, it } from 'vitest';
import {
  affirmed,
  commit,
  digest,
  enrolled,
  MINUTE,
  NO_FILTER,
  OPERATOR,
  policy,
  round,
  verdict,
} from '../fixtures.ts';
import type { Page } from '../../../../server/store/store.ts';
import type { Given } from './harness.ts';

export function describeWatching(given: Given): void {
  describe('watching', () => {
    /** Every revision after one, read in small steps. */
    async function follow(from: number): Promise<number[]> {
      const seen: number[] = [];
      for (let at = from; ;) {
        const changes = await given.store.changesSince(at, 2);
        if (changes.length === 0) return seen;
        seen.push(...changes.map(({ revision }) => revision));
        at = seen.at(-1) ?? at;
      }
    }

    it('gives every revision once and in order, across a restart', async () => {
      await Promise.all(['a', 'b', 'c'].map((name) => affirmed(given.store, name)));
      await given.store.updateHost('h-a', { labels: { x: 'y' } }, { ...OPERATOR, version: null });
      const half = await follow(0);
      await given.reopen();
      await given.store.putPolicy(policy('base', { allHosts: true }), { ...OPERATOR, expected: null });
      await given.store.deleteHost('h-c', OPERATOR);
      const rest = await follow(half.at(-1) ?? 0);
      const { revision } = await given.store.heads();
      expect([...half, ...rest]).toEqual(Array.from({ length: revision }, (_, index) => index + 1));
      expect(half.length).toBe(7);
      expect(rest.length).toBe(4);
    });

    it('says which revisions are present, as what they were recorded, and whether what was before had lapsed', async () => {
      const validUntil = given.store.now() + 10 * MINUTE;
      for (const name of ['a', 'b', 'c']) await affirmed(given.store, name);
      given.clock.advance(MINUTE);
      await commit(given.store, await round(given.store, 'h-a'));
      await given.store.updateHost('h-a', { labels: { x: 'y' } }, { ...OPERATOR, version: null });
      given.clock.advance(9 * MINUTE);
      // It was over by now, though nobody has written that: h-a was confirmed a minute later.
      await given.store.updateHost('h-a', { labels: {} }, { ...OPERATOR, version: null });
      await given.store.updateHost('h-b', { labels: { x: 'y' } }, { ...OPERATOR, version: null });
      await given.store.deleteHost('h-c', OPERATOR);
      const told = (await given.store.changesSince(0, 20)).map(({ hostId, cause, result, present, prior }) =>
        [
          hostId,
          cause,
          result.status,
          present,
          prior?.lapsed ?? 'new',
          (result.validUntil ?? validUntil) - validUntil,
        ].join(' '),
      );
      expect(told).toEqual([
        'h-a enrolled none false new 0',
        `h-a verdict affirming false false ${MINUTE}`,
        'h-b enrolled none false new 0',
        'h-b verdict affirming false false 0',
        'h-c enrolled none false new 0',
        'h-c verdict affirming false false 0',
        `h-a updated affirming false false ${MINUTE}`,
        `h-a updated affirming true false ${MINUTE}`,
        'h-b expired none false true 0',
        'h-b updated none true false 0',
        'h-c deleted affirming false true 0',
      ]);
      await given.store.updateHost('h-a', { labels: { x: 'y' } }, { ...OPERATOR, version: null });
      const newest = async () => {
        const { revision } = await given.store.heads();
        return (await given.store.changesSince(revision - 1, 1)).map(({ prior }) => prior?.lapsed);
      };
      expect(await newest()).toEqual([false]);
      given.clock.advance(1);
      await given.store.compact(given.store.now());
      // What is no longer kept may have lapsed.
      expect(await newest()).toEqual([true]);
    });

    it('refuses revisions that were never given', async () => {
      await enrolled(given.store, 'a');
      expect(await given.store.changesSince(1, 10)).toEqual([]);
      for (const revision of [2, -1]) {
        await expect(given.store.changesSince(revision, 10)).rejects.toMatchObject({ code: 'out_of_range' });
      }
    });

    it('takes a snapshot that the changes after it continue', async () => {
      await affirmed(given.store, 'b');
      await affirmed(given.store, 'a');
      const [taken] = await Promise.all([
        given.store.snapshot(NO_FILTER),
        given.store.revokeHost('h-a', { ...OPERATOR, reason: '' }),
      ]);
      expect(taken.results.map(({ hostId, status }) => `${hostId} ${status}`)).toEqual([
        'h-a affirming',
        'h-b affirming',
      ]);
      const after = await given.store.changesSince(taken.revision, 10);
      expect(after).toMatchObject([{ hostId: 'h-a', cause: 'revoked' }]);
    });

    it('says at which revision each page of present results stood', async () => {
      for (const name of ['a', 'b', 'c']) await affirmed(given.store, name);
      const read = (after: string) => given.store.listResults({ limit: 2, after }, NO_FILTER);
      const [first, , second] = await Promise.all([
        read(''),
        given.store.revokeHost('h-a', { ...OPERATOR, reason: '' }),
        read('h-b'),
      ]);
      expect(first).toMatchObject({ revision: 6, next: 'h-b', items: [{ status: 'affirming' }, { hostId: 'h-b' }] });
      expect(second).toMatchObject({ revision: 7, next: null, items: [{ hostId: 'h-c' }] });
      expect(await given.store.changesSince(first.revision, 10)).toMatchObject([{ hostId: 'h-a', revision: 7 }]);
    });

    it('looks at no more rows for a page of results or hosts than it is told, and goes on behind them', async () => {
      for (const name of ['a', 'b', 'c', 'd', 'e']) await affirmed(given.store, name);
      for (const id of ['h-b', 'h-e'])
        await given.store.updateHost(id, { labels: { zone: 'n' } }, { ...OPERATOR, version: null });
      const filter = { ...NO_FILTER, matchLabels: { zone: 'n' } };
      const pages = async (read: (after: string) => Promise<Page<{ hostId?: string; id?: string }>>) => {
        const told: string[] = [];
        for (let after: string | null = ''; after !== null;) {
          const page: Awaited<ReturnType<typeof read>> = await read(after);
          told.push(page.items.map(({ hostId, id }) => hostId ?? id).join());
          after = page.next;
        }
        return told;
      };
      const { store } = given;
      const results = (walk: number, limit = 10) => pages((after) => store.listResults({ limit, after, walk }, filter));
      const hosts = (walk: number, limit = 10) =>
        pages((after) => store.listHosts({ limit, after, walk }, { ...filter, states: [] }));
      for (const list of [results, hosts]) {
        expect(await list(1)).toEqual(['', 'h-b', '', '', 'h-e']);
        expect(await list(2)).toEqual(['h-b', '', 'h-e']);
        expect(await list(5)).toEqual(['h-b,h-e']);
        expect(await list(5, 1)).toEqual(['h-b', 'h-e']);
      }
      const named = { ...filter, hostIds: ['h-e'] };
      expect(await store.listResults({ limit: 10, after: '', walk: 1 }, named)).toMatchObject({ next: null });
    });

    it('filters present results by host, status and labels, page by page', async () => {
      for (const name of ['a', 'b', 'c']) await affirmed(given.store, name);
      await enrolled(given.store, 'd');
      await given.store.updateHost('h-b', { labels: { zone: 'n', rack: '1' } }, { ...OPERATOR, version: null });
      const list = async (change: Partial<Parameters<typeof given.store.snapshot>[0]>, after = '') => {
        const page = await given.store.listResults({ limit: 2, after }, { ...NO_FILTER, ...change });
        return { ids: page.items.map(({ hostId }) => hostId), next: page.next };
      };
      expect(await list({})).toEqual({ ids: ['h-a', 'h-b'], next: 'h-b' });
      expect(await list({}, 'h-b')).toEqual({ ids: ['h-c', 'h-d'], next: null });
      expect(await list({ statuses: ['none'] })).toEqual({ ids: ['h-d'], next: null });
      expect(await list({ hostIds: ['h-d', 'h-x', 'h-a'] })).toEqual({ ids: ['h-a', 'h-d'], next: null });
      expect(await list({ hostIds: ['h-d', 'h-a'], statuses: ['affirming'] })).toEqual({ ids: ['h-a'], next: null });
      expect(await list({ matchLabels: { zone: 'n' } })).toEqual({ ids: ['h-b'], next: null });
      expect(await list({ matchLabels: { zone: 'n', rack: '2' } })).toEqual({ ids: [], next: null });
    });

    it('coalesces confirmations by host and drops those of a former revision', async () => {
      await affirmed(given.store, 'a');
      await affirmed(given.store, 'b');
      for (const id of ['h-a', 'h-b', 'h-a']) await commit(given.store, await round(given.store, id));
      const all = await given.store.confirmationsSince(0, 10);
      expect(all.map(({ hostId, sequence, confirmations }) => [hostId, sequence, confirmations])).toEqual([
        ['h-b', 2, 1],
        ['h-a', 3, 2],
      ]);
      expect(await given.store.confirmationsSince(2, 10)).toHaveLength(1);
      expect((await given.store.heads()).confirmation).toBe(3);
      await given.store.revokeHost('h-a', { ...OPERATOR, reason: '' });
      expect((await given.store.confirmationsSince(0, 10)).map(({ hostId }) => hostId)).toEqual(['h-b']);
    });

    it('counts revisions and confirmations on after a restart', async () => {
      await affirmed(given.store, 'a');
      await commit(given.store, await round(given.store, 'h-a'));
      const before = await given.store.heads();
      await given.reopen();
      expect(await given.store.heads()).toEqual(before);
      expect(await commit(given.store, await round(given.store, 'h-a'))).toMatchObject({ outcome: 'confirmed' });
      expect(await given.store.heads()).toEqual({ ...before, confirmation: before.confirmation + 1 });
    });

    it('pages through history, newest first', async () => {
      const host = await affirmed(given.store, 'a');
      await affirmed(given.store, 'b');
      await commit(
        given.store,
        await round(given.store, 'h-a', { verdict: verdict(host, { inputDigest: digest('2') }) }),
      );
      const first = await given.store.listHistory('h-a', { limit: 2, after: '' }, {});
      expect(first.items.map(({ revision }) => revision)).toEqual([5, 2]);
      const second = await given.store.listHistory('h-a', { limit: 2, after: first.next ?? '' }, {});
      expect(second).toMatchObject({ items: [{ revision: 1 }], next: null });
      await expect(given.store.listHistory('h-a', { limit: 2, after: 'x' }, {})).rejects.toMatchObject({
        code: 'page_token',
      });
    });

    it('compacts old changes, keeps every present result, and says which revisions are gone', async () => {
      const host = await affirmed(given.store, 'a');
      await affirmed(given.store, 'b');
      given.clock.advance(MINUTE);
      await commit(
        given.store,
        await round(given.store, 'h-a', { verdict: verdict(host, { inputDigest: digest('2') }) }),
      );
      expect((await given.store.changesSince(0, 10)).map(({ revision }) => revision)).toEqual([1, 2, 3, 4, 5]);

      expect(await given.store.compact(given.store.now())).toBe(3);
      expect(await given.store.getResult('h-b')).toMatchObject({ revision: 4, status: 'affirming' });
      await expect(given.store.changesSince(2, 10)).rejects.toMatchObject({ code: 'out_of_range' });
      expect((await given.store.changesSince(3, 10)).map(({ revision }) => revision)).toEqual([4, 5]);
      expect((await given.store.listHistory('h-a', { limit: 10, after: '' }, {})).items).toHaveLength(1);
      expect(await given.store.compact(given.store.now())).toBe(0);
      expect(await commit(given.store, await round(given.store, 'h-b'))).toMatchObject({ outcome: 'confirmed' });

      await given.reopen();
      await expect(given.store.changesSince(2, 10)).rejects.toMatchObject({ code: 'out_of_range' });
    });
  });
}
