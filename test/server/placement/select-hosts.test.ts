import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { checkHost } from '../../../server/placement/check-host.ts';
import { PlacementIndex } from '../../../server/placement/placement-index.ts';
import { PlacementFeed } from '../../../server/placement/placement-feed.ts';
import { readBriefly, readWholly } from '../../../server/placement/read-chosen.ts';
import { selectHosts } from '../../../server/placement/select-hosts.ts';
import type { Selection, SelectionRequest, SelectionSources } from '../../../server/placement/select-hosts.ts';
import { Turns } from '../../../server/placement/turns.ts';
import { ChangeFeed } from '../../../server/result/feed.ts';
import type { ResultFilter } from '../../../server/store/filters.ts';
import { StoreError } from '../../../server/store/store.ts';
import type { Store } from '../../../server/store/store.ts';
import { openTestStore } from '../../support/test-service.ts';
import { FakeClock } from '../store/contract/harness.ts';
import {
  affirmed,
  commit,
  digest,
  enrollAgain,
  enrolled,
  MINUTE,
  OPERATOR,
  policy,
  round,
  verdict,
} from '../store/fixtures.ts';
import { ANY, NOW, placement } from './world.ts';

let clock: FakeClock;
let opened: Awaited<ReturnType<typeof openTestStore>>;
let store: Store;
let feed: ChangeFeed;
let placements: PlacementFeed;
let turns: Turns;
const faults: unknown[] = [];
beforeEach(async () => {
  clock = new FakeClock();
  opened = await openTestStore(clock);
  ({ store } = opened);
  turns = new Turns(() => performance.now());
  feed = new ChangeFeed({ store, pollInterval: 10, onError: () => undefined });
  await feed.start();
  placements = new PlacementFeed({ store, feed, onError: (error) => faults.push(error) });
  placements.start();
});
afterEach(async () => {
  feed.close();
  await placements.close();
  await opened.close();
  expect(faults.splice(0)).toEqual([]);
});

const REQUEST: SelectionRequest = {
  requirements: ANY,
  scope: {},
  count: 10,
  spreadBy: '',
  order: 'freshest',
  explain: 0,
};

/** Selects once the index has seen what the test has done. */
async function select(change: Partial<SelectionRequest> = {}, from: Partial<Store> = {}): Promise<Selection> {
  await caughtUp();
  const source = {
    now: () => store.now(),
    clockBehind: () => store.clockBehind(),
    snapshot: (filter: ResultFilter) => store.snapshot(filter),
    resultTimes: (hostIds: readonly string[]) => store.resultTimes(hostIds),
    ...from,
  };
  const sources = { store: source, placements, turns };
  return bothWays(sources, { ...REQUEST, ...change });
}

/** What is answered in brief, once it is what whole results say, too. */
async function bothWays(
  sources: SelectionSources & { readonly store: Pick<Store, 'resultTimes'> },
  request: SelectionRequest,
): Promise<Selection> {
  const brief = await selectHosts(sources, request, readBriefly(sources.store));
  const whole = await selectHosts(sources, request, readWholly(sources.store));
  expect(whole.hosts).toMatchObject(brief.hosts);
  expect(brief.hosts).toHaveLength(whole.hosts.length);
  return brief;
}

/** The index is as old as its last look: one that began after now has seen everything. */
async function caughtUp(): Promise<void> {
  clock.advance(1_001);
  await expect.poll(() => placements.freshIndex(), { interval: 5 }).toBeDefined();
}

const idsOf = ({ hosts }: Selection): readonly string[] => hosts.map(({ hostId }) => hostId);
const anyVersion = { ...OPERATOR, version: null };

describe('a selection', () => {
  it('has hosts that are affirmed now, and tells of the others why they are not', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await affirmed(store, name);
    await enrolled(store, 'pending', { state: 'pending' });
    await enrolled(store, 'silent');
    await store.revokeHost('h-b', { ...OPERATOR, reason: '' });
    const host = await store.getHost('h-c');
    if (host === null) throw new Error('no host');
    await commit(store, await round(store, 'h-c', { verdict: verdict(host, { status: 'warning' }) }));
    await store.deleteHost('h-d', OPERATOR);
    const selection = await select({ explain: 10 });
    expect(idsOf(selection)).toEqual(['h-a']);
    expect(selection.selectable).toBe(1);
    expect(selection.refused.map(({ result, refusals }) => [result.hostId, ...refusals])).toEqual([
      ['h-b', 'STATUS_CONTRAINDICATED'],
      ['h-c', 'STATUS_WARNING'],
      ['h-pending', 'STATUS_NONE'],
      ['h-silent', 'STATUS_NONE'],
    ]);
    expect(selection.counts).toEqual([
      { refusal: 'STATUS_CONTRAINDICATED', count: 1 },
      { refusal: 'STATUS_NONE', count: 2 },
      { refusal: 'STATUS_WARNING', count: 1 },
    ]);
    expect(idsOf(await select({ requirements: { ...ANY, minimumTier: 'warning' } }))).toEqual(['h-a', 'h-c']);
    expect((await select({ explain: 2 })).refused).toHaveLength(2);
  });

  it('sees the hosts of its scope alone, in answers, counts and reasons', async () => {
    for (const name of ['a', 'b', 'c']) await affirmed(store, name);
    await store.updateHost('h-a', { labels: { tenant: 'red' } }, anyVersion);
    await store.updateHost('h-b', { labels: { tenant: 'blue' } }, anyVersion);
    await enrolled(store, 'd');
    const selection = await select({ scope: { tenant: 'red' }, explain: 10 });
    expect(idsOf(selection)).toEqual(['h-a']);
    expect(selection).toMatchObject({ selectable: 1, refused: [], counts: [] });
    const blue = { ...ANY, matchLabels: { tenant: 'blue' } };
    expect(idsOf(await select({ scope: { tenant: 'red' }, requirements: blue }))).toEqual([]);
  });

  it('loses a host that is silent at the moment when its validity ends, whatever was written', async () => {
    await affirmed(store, 'a');
    // Nobody writes the expiry down.
    feed.close();
    expect(idsOf(await select())).toEqual(['h-a']);
    clock.advance(10 * MINUTE - 1_002);
    const { validUntil } = (await store.getResult('h-a')) ?? {};
    expect(validUntil).toBe(store.now() + 1);
    clock.advance(1);
    expect(idsOf(await select())).toEqual([]);
    expect((await store.changesSince(0, 10)).map(({ cause }) => cause)).toEqual(['enrolled', 'verdict']);
  });

  it('loses a host whose stream is lost once its shortened validity has ended', async () => {
    await affirmed(store, 'a');
    await store.streamLost('h-a', 7, 5_000);
    expect(idsOf(await select())).toEqual(['h-a']);
    clock.advance(5_000);
    expect(idsOf(await select())).toEqual([]);
  });

  it('loses a host with the first evidence of a reboot, with a new key, and with another policy', async () => {
    const host = await affirmed(store, 'a');
    expect(idsOf(await select())).toEqual(['h-a']);
    const again = async () => commit(store, await round(store, 'h-a'));
    await commit(store, await round(store, 'h-a', { verdict: verdict(host, { status: 'none' }) }));
    expect(idsOf(await select())).toEqual([]);
    await again();
    expect(idsOf(await select())).toEqual(['h-a']);
    const known = await store.getHost('h-a');
    if (known === null) throw new Error('no host');
    const key = { ak: { ...known.ak, name: `000b${digest('another')}` }, callerHostId: 'h-a' };
    expect(await store.enroll(await enrollAgain(store, known, key))).toMatchObject({ outcome: 'replaced' });
    expect(idsOf(await select())).toEqual([]);
    await again();
    expect(idsOf(await select())).toEqual(['h-a']);
    await store.putPolicy(policy('base', { allHosts: true }), { ...OPERATOR, expected: null });
    expect(idsOf(await select())).toEqual([]);
  });

  it('replaces what has changed since the index was read', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await affirmed(store, name);
    await caughtUp();
    await placements.close();
    await store.revokeHost('h-a', { ...OPERATOR, reason: '' });
    await store.deleteHost('h-b', OPERATOR);
    const sources = { store, placements, turns };
    expect(idsOf(await bothWays(sources, { ...REQUEST, count: 1 }))).toEqual(['h-c']);
    expect(idsOf(await bothWays(sources, { ...REQUEST, count: 4 }))).toEqual(['h-c', 'h-d']);
    await store.updateHost('h-c', { labels: { tenant: 'blue' } }, anyVersion);
    expect(idsOf(await bothWays(sources, { ...REQUEST, requirements: { ...ANY, matchLabels: {} } }))).toEqual([
      'h-c',
      'h-d',
    ]);
    const excluded = { ...ANY.excluded, labels: [{ key: 'tenant', value: 'blue' }] };
    expect(idsOf(await bothWays(sources, { ...REQUEST, requirements: { ...ANY, excluded } }))).toEqual(['h-d']);
  });

  it('has of each host what the store says now, also where it changed since the index was read', async () => {
    for (const name of ['a', 'b', 'c']) await affirmed(store, name);
    await caughtUp();
    await placements.close();
    await commit(store, await round(store, 'h-a'));
    await store.updateHost('h-b', { labels: { rack: '7' }, nodeName: 'node-b' }, anyVersion);
    await store.updateHost('h-c', { labels: { tenant: 'blue' } }, anyVersion);
    const { hosts } = await selectHosts({ store, placements, turns }, REQUEST, readBriefly(store));
    const byId = new Map(hosts.map((host) => [host.hostId, host]));
    for (const id of ['h-a', 'h-b', 'h-c']) expect(await store.getResult(id)).toMatchObject({ ...byId.get(id) });
    expect(byId.get('h-a')?.challengeTime).toBe(store.now());
    expect(byId.get('h-b')).toMatchObject({ nodeName: 'node-b', labels: { rack: '7' } });
  });

  it('has no host that left its scope since the index was read', async () => {
    for (const name of ['a', 'b']) {
      await affirmed(store, name);
      await store.updateHost(`h-${name}`, { labels: { tenant: 'red' } }, anyVersion);
    }
    await caughtUp();
    await placements.close();
    await store.updateHost('h-a', { labels: { tenant: 'blue' } }, anyVersion);
    const scope = { tenant: 'red' };
    expect(idsOf(await bothWays({ store, placements, turns }, { ...REQUEST, scope }))).toEqual(['h-b']);
  });

  it('finds the good hosts among many that have changed since the index was read', async () => {
    const names = Array.from('abcdefghijklmnopqrst');
    for (const name of names) await affirmed(store, name);
    await caughtUp();
    await placements.close();
    for (const name of names.slice(0, 12)) await store.revokeHost(`h-${name}`, { ...OPERATOR, reason: '' });
    const sources = { store, placements, turns };
    expect(idsOf(await bothWays(sources, { ...REQUEST, count: 1 }))).toEqual(['h-m']);
    const all = await bothWays(sources, { ...REQUEST, count: 20 });
    expect(idsOf(all)).toEqual(names.slice(12).map((name) => `h-${name}`));
  });

  it('says that it does not know, rather than that there is none, where nearly all have changed', async () => {
    const index = new PlacementIndex();
    for (let host = 0; host < 600; host += 1) index.apply(placement(`h-${host}`));
    let reads = 0;
    const gone: Store['snapshot'] = async () => ((reads += 1), { revision: 0, results: [] });
    const source = { now: () => NOW, clockBehind: () => 0, snapshot: gone };
    const sources = { store: source, placements: { freshIndex: () => index }, turns };
    const selection = selectHosts(sources, { ...REQUEST, count: 1 }, readWholly(source));
    await expect(selection).rejects.toMatchObject({ code: 'PLACEMENT_INDEX_STALE' });
    expect(reads).toBe(5);
  });

  it('answers nothing of what changes at every look', async () => {
    await affirmed(store, 'a');
    const gone: Store['snapshot'] = async () => ({ revision: 0, results: [] });
    expect(idsOf(await select({}, { snapshot: gone, resultTimes: async () => [] }))).toEqual([]);
  });

  it('gives the same answer to the same question', async () => {
    for (const name of ['d', 'b', 'a', 'c']) await affirmed(store, name);
    expect(idsOf(await select())).toEqual(['h-a', 'h-b', 'h-c', 'h-d']);
    clock.advance(1);
    await commit(store, await round(store, 'h-c'));
    expect(idsOf(await select())).toEqual(['h-c', 'h-a', 'h-b', 'h-d']);
  });
});

describe('one host that is checked', () => {
  it('is refused where its verdict ends during the reading, and the answer has the time from before it', async () => {
    await affirmed(store, 'a');
    const begun = store.now();
    const slow: Pick<Store, 'now' | 'clockBehind' | 'findResult'> = {
      now: () => store.now(),
      clockBehind: () => store.clockBehind(),
      findResult: async (host, scope) => {
        const result = await store.findResult(host, scope);
        clock.advance(60 * MINUTE);
        return result;
      },
    };
    const checked = await checkHost(slow, { hostId: 'h-a' }, { requirements: ANY, scope: {} });
    expect(checked).toMatchObject({ refusals: ['STATUS_NONE'], time: begun, result: { status: 'affirming' } });
  });
});

describe('where the service cannot tell', () => {
  it('nothing is selected while the clock is too far behind', async () => {
    await affirmed(store, 'a');
    await caughtUp();
    clock.wall -= 6 * MINUTE;
    const refused = { code: 'CLOCK_BEHIND' };
    await expect(bothWays({ store, placements, turns }, REQUEST)).rejects.toMatchObject(refused);
    await expect(checkHost(store, { hostId: 'h-a' }, { requirements: ANY, scope: {} })).rejects.toMatchObject(refused);
  });

  it('nothing is selected while the index is older than a second', async () => {
    await affirmed(store, 'a');
    await caughtUp();
    await placements.close();
    clock.advance(1_001);
    await expect(bothWays({ store, placements, turns }, REQUEST)).rejects.toMatchObject({
      code: 'PLACEMENT_INDEX_STALE',
    });
  });

  it('nothing is selected while the store fails', async () => {
    await affirmed(store, 'a');
    const snapshot: Store['snapshot'] = () => Promise.reject(new StoreError('failed', 'disk'));
    const resultTimes: Store['resultTimes'] = () => Promise.reject(new StoreError('failed', 'disk'));
    await expect(select({}, { resultTimes })).rejects.toMatchObject({ code: 'failed' });
    await expect(select({}, { snapshot })).rejects.toMatchObject({ code: 'failed' });
  });
});

describe('the index', () => {
  it('is not there before the store was read, tells a failing store once, and begins anew where it missed something', async () => {
    for (const name of ['a', 'b']) await affirmed(store, name);
    let answer: Store['placementsSince'] = () => Promise.reject(new StoreError('failed', 'disk'));
    const told: unknown[] = [];
    const idle = { wait: () => new Promise<void>((resolve) => setTimeout(resolve, 1)) };
    const source = {
      now: () => store.now(),
      placementsSince: ((...args) => answer(...args)) as Store['placementsSince'],
    };
    const failing = new PlacementFeed({ store: source, feed: idle, onError: (error) => told.push(error) });
    expect(() => failing.freshIndex()).toThrow(expect.objectContaining({ code: 'PLACEMENT_INDEX_STALE' }));
    failing.start();
    await expect.poll(() => told.length).toBe(1);
    answer = (position, limit) => store.placementsSince(position, Math.min(limit, 1));
    await expect.poll(() => sizeOf(failing)).toBe(2);
    await store.deleteHost('h-b', OPERATOR);
    await expect.poll(() => sizeOf(failing)).toBe(1);
    await failing.close();
    const late = new PlacementFeed({ store: source, feed: idle, onError: (error) => told.push(error) });
    let calls = 0;
    answer = (position, limit) => {
      calls += 1;
      return calls === 2
        ? Promise.reject(new StoreError('out_of_range', 'gone'))
        : store.placementsSince(position, limit);
    };
    late.start();
    await expect.poll(() => calls).toBeGreaterThan(2);
    await expect.poll(() => sizeOf(late)).toBe(1);
    await late.close();
    expect(told).toMatchObject([{ code: 'failed' }, { code: 'out_of_range' }]);
  });
});

function sizeOf(from: PlacementFeed): number {
  try {
    return from.freshIndex().size;
  } catch {
    return -1;
  }
}
