import { describe, expect, it } from 'vitest';

import { ChangeFeed } from '../../../server/result/feed.ts';
import { resultMatcher } from '../../../server/result/match-results.ts';
import { PAGE } from '../../../server/result/shared-changes.ts';
import { watchResults } from '../../../server/result/watch.ts';
import type { WatchEvent, WatchOptions } from '../../../server/result/watch.ts';
import type { ResultFilter } from '../../../server/store/filters.ts';
import type { ResultRecord } from '../../../server/store/records.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { affirmed, commit, enrolled, MINUTE, NO_FILTER, OPERATOR, round } from '../store/fixtures.ts';
import { brief, givenWatching, SIGNING } from './watcher.ts';

const given = givenWatching();

const label = (id: string, labels: Readonly<Record<string, string>>) =>
  given.store.updateHost(id, { labels }, { ...OPERATOR, version: null });

/** Pages of two hosts, and what happens after each of them was read. */
function paged(after: (read: number) => Promise<unknown> = () => Promise.resolve()) {
  const limits: number[] = [];
  const store: WatchOptions['store'] = {
    incarnation: given.store.incarnation,
    now: () => given.store.now(),
    heads: () => given.store.heads(),
    listResults: async (page, filter) => {
      limits.push(page.limit);
      const read = await given.store.listResults({ ...page, limit: 2 }, filter);
      await after(limits.length);
      return read;
    },
  };
  return { store, limits };
}

/** Takes events one by one, as the bridge does. */
async function open(store: WatchOptions['store'], filter: Partial<ResultFilter> = {}) {
  const feed = new ChangeFeed({ store: given.store, pollInterval: 5, onError: () => undefined });
  await feed.start();
  const abort = new AbortController();
  const { signal } = abort;
  const options = { store, feed, filter: { ...NO_FILTER, ...filter }, signing: SIGNING, resumeToken: '', signal };
  const events = watchResults(options);
  const next = async (): Promise<WatchEvent> => {
    const { value } = await events.next();
    if (value === undefined) throw new Error('the watch has ended');
    return value;
  };
  const untilSynced = async (): Promise<readonly WatchEvent[]> => {
    const heard = [await next()];
    while (heard.at(-1)?.kind !== 'bookmark') heard.push(await next());
    return heard;
  };
  const close = async (): Promise<void> => {
    abort.abort();
    await events.return();
    feed.close();
  };
  return { next, untilSynced, [Symbol.asyncDispose]: close };
}

const said = ({ hostId, revision, status }: ResultRecord): string => `${hostId} ${revision} ${status}`;

/** Tokens are the service's own affair; this test looks into one to know of which revision the bookmark is. */
function revisionOf(token: string): number {
  const [, revision] = JSON.parse(Buffer.from(token, 'base64url').toString()) as [string, number];
  return revision;
}

describe('the present results', () => {
  it('are read a page at a time, the next one when the last is taken', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await affirmed(given.store, name);
    const { store, limits } = paged();
    await using watch = await open(store);
    await watch.next();
    await watch.next();
    expect(limits).toHaveLength(1);
    await watch.next();
    expect(limits).toHaveLength(2);
    expect((await watch.untilSynced()).map(brief)).toEqual([
      expect.stringContaining('h-d'),
      expect.stringContaining('h-e'),
      'synced',
    ]);
    expect(Math.max(...limits)).toBeLessThanOrEqual(PAGE);
  });

  it('that change meanwhile come again before the bookmark, and only where they had come', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) await affirmed(given.store, name);
    const { store } = paged(async (read) => {
      if (read === 1) {
        await given.turned('h-b');
        await given.turned('h-d');
        await given.store.deleteHost('h-c', OPERATOR);
        await enrolled(given.store, 'aa');
      }
      if (read === 2) {
        await given.store.deleteHost('h-d', OPERATOR);
        await given.turned('h-f');
      }
    });
    await using watch = await open(store);
    const heard = await watch.untilSynced();
    expect(heard.map(brief)).toEqual([
      'initial h-a affirming 2',
      'initial h-b affirming 4',
      'initial h-d contraindicated 14',
      'initial h-e affirming 10',
      'initial h-f contraindicated 18',
      'initial h-b contraindicated 13',
      'initial h-aa none 16',
      'removal h-d DELETED',
      'synced',
    ]);
    expect(heard.map(({ resumeToken }) => resumeToken === '')).toEqual([...Array(8).fill(true), false]);
    await given.turned('h-a');
    expect(brief(await watch.next())).toBe('change h-a contraindicated 19');
  });

  it('that have run out since they were read are told as none', async () => {
    for (const name of ['a', 'b']) await affirmed(given.store, name);
    await using watch = await open(paged().store);
    expect(brief(await watch.next())).toBe('initial h-a affirming 2');
    given.clock.advance(10 * MINUTE);
    expect(await watch.next()).toMatchObject({ result: { hostId: 'h-b', status: 'none', validUntil: null } });
  });

  it('that were confirmed since they were read, and would have run out without, are told as they are', async () => {
    for (const name of ['a', 'b']) await affirmed(given.store, name);
    await using watch = await open(paged().store);
    await watch.next();
    given.clock.advance(6 * MINUTE);
    await commit(given.store, await round(given.store, 'h-b'));
    given.clock.advance(6 * MINUTE);
    expect(await watch.next()).toMatchObject({ result: { hostId: 'h-b', status: 'affirming', confirmations: 1 } });
  });

  it.each([1, 2, 3, 4, 5, 6])(
    'of any filter come to what one list says, and nothing comes that is older than what came (seed %d)',
    async (seed) => {
      const random = new SeededRandom(seed);
      const names = 'abcdefgh'.split('');
      for (const name of names.slice(0, 6)) await affirmed(given.store, name);
      const deeds: readonly ((id: string) => Promise<unknown>)[] = [
        (id) => label(id, { zone: random.pick(['x', 'y']) }),
        (id) => given.store.deleteHost(id, OPERATOR),
        async (id) => commit(given.store, await round(given.store, id)),
        (id) => given.turned(id),
      ];
      const happen = async (): Promise<void> => {
        for (let count = random.below(4); count > 0; count -= 1) {
          const name = random.pick(names);
          const there = (await given.store.getHost(`h-${name}`)) !== null;
          await (there ? random.pick(deeds)(`h-${name}`) : affirmed(given.store, name));
        }
      };
      for (const filter of [{}, { statuses: ['affirming' as const] }, { scope: { zone: 'x' } }]) {
        await using watch = await open(paged(happen).store, filter);
        const heard = await watch.untilSynced();
        const held = new Map<string, ResultRecord>();
        for (const event of heard) {
          if (event.kind === 'change') {
            const { hostId, revision } = event.result;
            expect(revision).toBeGreaterThan(held.get(hostId)?.revision ?? 0);
            held.set(hostId, event.result);
          } else if (event.kind === 'removal') expect(held.delete(event.hostId)).toBe(true);
        }
        const at = revisionOf(heard.at(-1)?.resumeToken ?? '');
        const list = new Map<string, ResultRecord>();
        for (const { hostId, revision, cause, result } of await given.store.changesSince(0, 1_000)) {
          if (revision > at) break;
          list.delete(hostId);
          if (cause !== 'deleted' && resultMatcher({ ...NO_FILTER, ...filter })(result)) list.set(hostId, result);
        }
        expect([...held.values()].map(said).sort()).toEqual([...list.values()].map(said).sort());
      }
    },
  );
});
