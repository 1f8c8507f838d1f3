import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ChangeFeed } from '../../../server/result/feed.ts';
import { matches, watchResults } from '../../../server/result/watch.ts';
import type { WatchEvent } from '../../../server/result/watch.ts';
import type { Store } from '../../../server/store/store.ts';
import type { ResultFilter } from '../../../server/store/store.ts';
import { openTestStore } from '../../support/test-service.ts';
import { affirmed, commit, enrolled, MINUTE, NO_FILTER, OPERATOR, round, verdict } from '../store/fixtures.ts';
import { FakeClock } from '../store/contract/harness.ts';

let clock: FakeClock;
let store: Store;
let close: () => Promise<void>;
let feed: ChangeFeed;
const open: Watcher[] = [];
beforeEach(async () => {
  clock = new FakeClock();
  ({ store, close } = await openTestStore(clock));
  feed = new ChangeFeed({ store, pollInterval: 10, onError: () => undefined });
  await feed.start();
});
afterEach(async () => {
  for (const watcher of open.splice(0)) await watcher.stop();
  feed.close();
  await close();
});

/** A watcher that notes what it hears. */
class Watcher {
  readonly events: WatchEvent[] = [];
  readonly #abort = new AbortController();
  readonly #ended: Promise<unknown>;
  #heard: () => void = () => undefined;

  constructor(change: Partial<{ readonly filter: Partial<ResultFilter>; readonly resumeToken: string }> = {}) {
    open.push(this);
    this.#ended = this.#listen({ ...NO_FILTER, ...change.filter }, change.resumeToken ?? '');
  }

  /** The first so many events. */
  async take(count: number): Promise<readonly WatchEvent[]> {
    const end = Date.now() + 5_000;
    while (this.events.length < count) {
      if (Date.now() > end) throw new Error(`heard ${JSON.stringify(this.events.map(brief))}, not ${count} events`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#heard = resolve;
      setTimeout(resolve, 100);
      await promise;
    }
    return this.events.slice(0, count);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended.catch(() => undefined);
  }

  get ended(): Promise<unknown> {
    return this.#ended;
  }

  async #listen(filter: ResultFilter, resumeToken: string): Promise<void> {
    for await (const event of watchResults({ store, feed, filter, resumeToken, signal: this.#abort.signal })) {
      this.events.push(event);
      this.#heard();
    }
  }
}

function brief(event: WatchEvent): string {
  switch (event.kind) {
    case 'change':
      return `${event.initial ? 'initial' : 'change'} ${event.result.hostId} ${event.result.status} ${event.result.revision}`;
    case 'removal':
      return `removal ${event.hostId} ${event.reason}`;
    case 'validity':
      return `validity ${event.confirmation.hostId} ${event.confirmation.confirmations}`;
    case 'bookmark':
      return event.synced ? 'synced' : 'bookmark';
  }
}

const turned = async (name: string): Promise<void> => {
  const host = await store.getHost(name);
  if (host === null) throw new Error(`no host ${name}`);
  await commit(store, await round(store, name, { verdict: verdict(host, { status: 'contraindicated' }) }));
};

describe('a watch', () => {
  it('begins with the present results and a bookmark, and goes on with every change', async () => {
    await affirmed(store, 'a');
    await affirmed(store, 'b');
    const watcher = new Watcher();
    await watcher.take(3);
    await turned('h-a');
    await store.updateHost('h-b', { labels: { zone: 'eu' } }, { ...OPERATOR, version: null });
    await enrolled(store, 'c');
    expect((await watcher.take(6)).map(brief)).toEqual([
      'initial h-a affirming 2',
      'initial h-b affirming 4',
      'synced',
      'change h-a contraindicated 5',
      'change h-b affirming 6',
      'change h-c none 7',
    ]);
  });

  it('of an empty service begins with a bookmark', async () => {
    const watcher = new Watcher();
    expect((await watcher.take(1)).map(brief)).toEqual(['synced']);
    await enrolled(store, 'a');
    expect((await watcher.take(2)).map(brief)[1]).toBe('change h-a none 1');
  });

  it('gives no token to resume from before the present results are all told', async () => {
    await affirmed(store, 'a');
    await affirmed(store, 'b');
    const events = await new Watcher().take(3);
    expect(events.map(({ resumeToken }) => resumeToken === '')).toEqual([true, true, false]);
  });

  it('tells that a host was deleted, and that a result expired, once', async () => {
    await affirmed(store, 'a');
    await affirmed(store, 'b');
    const watcher = new Watcher();
    await watcher.take(3);
    await store.deleteHost('h-b', OPERATOR);
    await watcher.take(4);
    clock.advance(10 * MINUTE);
    const events = await watcher.take(5);
    expect(events.slice(3).map(brief)).toEqual(['removal h-b DELETED', expect.stringMatching(/^change h-a none/)]);
    expect(events[4]).toMatchObject({ result: { connectivity: 'unreachable', validUntil: null } });
  });
});

describe('a resumed watch', () => {
  it('hears every change exactly once, at whichever event it was cut', async () => {
    await affirmed(store, 'a');
    const whole = new Watcher();
    await whole.take(2);
    for (let count = 0; count < 4; count++) {
      await turned('h-a');
      await commit(store, await round(store, 'h-a'));
    }
    await affirmed(store, 'b');
    await store.deleteHost('h-b', OPERATOR);
    const all = (await whole.take(13)).filter(({ kind }) => kind !== 'validity');
    const told = all.map(brief);
    for (const [index, { resumeToken }] of all.entries()) {
      if (resumeToken === '') continue;
      const rest = told.slice(index + 1);
      const watcher = new Watcher({ resumeToken });
      const again = rest.length === 0 ? [] : await watcher.take(rest.length);
      expect(again.map(brief)).toEqual(rest);
      await watcher.stop();
    }
  });

  it.each([
    ['no base64', '%%%'],
    ['no JSON', Buffer.from('nonsense').toString('base64url')],
    ['another shape', Buffer.from('{"a":1}').toString('base64url')],
    ['too few parts', Buffer.from('["x",1]').toString('base64url')],
    ['a revision that is no number', Buffer.from('["x","1",0]').toString('base64url')],
    ['a negative revision', Buffer.from('["x",-1,0]').toString('base64url')],
    ['a revision that is no whole number', Buffer.from('["x",1.5,0]').toString('base64url')],
    ['a huge revision', Buffer.from('["x",1e300,0]').toString('base64url')],
    ['600 bytes', 'a'.repeat(600)],
  ])('from a token that is %s is refused', async (_name, resumeToken) => {
    await expect(new Watcher({ resumeToken }).ended).rejects.toMatchObject({ code: 'RESUME_TOKEN_INVALID' });
  });

  it('from a token of another incarnation is refused: the client must list anew', async () => {
    const resumeToken = Buffer.from(JSON.stringify(['another', 0, 0])).toString('base64url');
    await expect(new Watcher({ resumeToken }).ended).rejects.toMatchObject({ code: 'INCARNATION_CHANGED' });
  });

  it('from a revision that is no longer kept, or was never given, is refused', async () => {
    await affirmed(store, 'a');
    const [, bookmark] = await new Watcher().take(2);
    for (let count = 0; count < 3; count++) await turned('h-a').then(async () => commit(store, await round(store, 'h-a')));
    clock.advance(1);
    expect(await store.compact(store.now())).toBeGreaterThan(0);
    await expect(new Watcher({ resumeToken: bookmark?.resumeToken ?? '' }).ended).rejects.toMatchObject({ code: 'REVISION_GONE' });
    const future = Buffer.from(JSON.stringify([store.incarnation, 10_000, 0])).toString('base64url');
    await expect(new Watcher({ resumeToken: future }).ended).rejects.toMatchObject({ code: 'REVISION_GONE' });
  });
});

describe('a filtered watch', () => {
  it('hears of the hosts it names alone', async () => {
    await affirmed(store, 'a');
    await affirmed(store, 'b');
    const watcher = new Watcher({ filter: { hostIds: ['h-b'] } });
    await watcher.take(2);
    await turned('h-a');
    await turned('h-b');
    expect((await watcher.take(3)).map(brief)).toEqual(['initial h-b affirming 4', 'synced', 'change h-b contraindicated 6']);
  });

  it('is told when a host leaves it by its status, and when one comes in', async () => {
    await affirmed(store, 'a');
    const watcher = new Watcher({ filter: { statuses: ['affirming'] } });
    await watcher.take(2);
    await turned('h-a');
    await turned('h-a');
    await commit(store, await round(store, 'h-a'));
    const events = await watcher.take(4);
    expect(events.map(brief).slice(2)).toEqual(['removal h-a FILTERED', expect.stringMatching(/^change h-a affirming/)]);
  });

  it('is told when a host leaves it by its labels, and not of a removal of what it never had', async () => {
    await affirmed(store, 'a');
    await affirmed(store, 'b');
    await store.updateHost('h-a', { labels: { zone: 'eu' } }, { ...OPERATOR, version: null });
    const watcher = new Watcher({ filter: { matchLabels: { zone: 'eu' } } });
    await watcher.take(2);
    await store.deleteHost('h-b', OPERATOR);
    await store.updateHost('h-a', { labels: { zone: 'us' } }, { ...OPERATOR, version: null });
    await store.deleteHost('h-a', OPERATOR);
    await affirmed(store, 'c');
    await store.updateHost('h-c', { labels: { zone: 'eu' } }, { ...OPERATOR, version: null });
    expect((await watcher.take(4)).map(brief).slice(2)).toEqual(['removal h-a FILTERED', expect.stringMatching(/^change h-c/)]);
  });

  it('is told when an affirmed host expires out of it', async () => {
    await affirmed(store, 'a');
    const watcher = new Watcher({ filter: { statuses: ['affirming'] } });
    await watcher.take(2);
    clock.advance(10 * MINUTE);
    expect((await watcher.take(3)).map(brief)[2]).toBe('removal h-a FILTERED');
  });

  it.each<[Partial<ResultFilter>, boolean]>([
    [{}, true],
    [{ hostIds: ['h-a', 'h-b'] }, true],
    [{ hostIds: ['h-b'] }, false],
    [{ statuses: ['none', 'affirming'] }, true],
    [{ statuses: ['warning'] }, false],
    [{ matchLabels: { zone: 'eu' } }, true],
    [{ matchLabels: { zone: 'eu', rack: '1' } }, false],
    [{ matchLabels: { toString: '' } }, false],
    [{ hostIds: ['h-a'], statuses: ['none'] }, false],
  ])('with %j: %j', (filter, expected) => {
    const host = { hostId: 'h-a', labels: { zone: 'eu' }, status: 'affirming' } as const;
    expect(matches(host, { ...NO_FILTER, ...filter })).toBe(expected);
  });
});

describe('confirmations', () => {
  const confirm = async (name = 'h-a', validity = 10 * MINUTE) => commit(store, await round(store, name, { validity }));

  it('come as the latest validity of each host, with its revision', async () => {
    await affirmed(store, 'a');
    const watcher = new Watcher();
    await watcher.take(2);
    clock.advance(11_000);
    for (let count = 0; count < 3; count++) await confirm();
    const events = await watcher.take(3);
    expect(brief(events[2] ?? { kind: 'bookmark', synced: false, resumeToken: '' })).toBe('validity h-a 3');
    expect(events[2]).toMatchObject({ confirmation: { revision: 2, validUntil: store.now() + 10 * MINUTE } });
  });

  it('of hosts out of the filter are not told', async () => {
    await affirmed(store, 'a');
    await affirmed(store, 'b');
    const watcher = new Watcher({ filter: { hostIds: ['h-b'] } });
    await watcher.take(2);
    clock.advance(11_000);
    await confirm('h-a');
    await confirm('h-b');
    expect((await watcher.take(3)).map(brief)[2]).toBe('validity h-b 1');
  });

  it('come at least every third of a short validity', async () => {
    await enrolled(store, 'a');
    const watcher = new Watcher();
    await watcher.take(2);
    await confirm('h-a', 3_000);
    await watcher.take(3);
    const start = performance.now();
    await confirm('h-a', 3_000);
    clock.advance(900);
    expect((await watcher.take(4)).map(brief)[3]).toBe('validity h-a 1');
    expect(performance.now() - start).toBeLessThan(1_500);
  });

  it('that came while a watch was away are told when it resumes', async () => {
    await affirmed(store, 'a');
    const first = new Watcher();
    const [, bookmark] = await first.take(2);
    await first.stop();
    await confirm();
    const watcher = new Watcher({ resumeToken: bookmark?.resumeToken ?? '' });
    expect((await watcher.take(1)).map(brief)).toEqual(['validity h-a 1']);
  });
});

it('an idle watch hears a bookmark, from which it resumes', async () => {
  await affirmed(store, 'a');
  const watcher = new Watcher();
  await watcher.take(2);
  clock.advance(15_000);
  await enrolled(store, 'b');
  const events = await watcher.take(4);
  expect(events.map(brief).slice(2)).toEqual(['change h-b none 3', 'bookmark']);
  const resumed = new Watcher({ resumeToken: events[3]?.resumeToken ?? '' });
  await turned('h-a');
  expect((await resumed.take(1)).map(brief)).toEqual(['change h-a contraindicated 4']);
});
