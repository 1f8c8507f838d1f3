import { afterEach, describe, expect, it } from 'vitest';

import { ChangeFeed } from '../../../server/result/feed.ts';
import type { Change } from '../../../server/store/records.ts';
import { StoreError } from '../../../server/store/store.ts';
import { until } from '../../support/rpc.ts';

/** Changes as a store would have them, written by whomever. */
class FakeStore {
  readonly changes: Change[] = [];
  broken = false;
  expirable = 0;
  looks = 0;

  write(hostId: string): void {
    this.changes.push({ revision: this.changes.length + 1, hostId, cause: 'verdict' } as Change);
  }

  readonly now = () => 0;

  readonly confirmationsSince = () => Promise.resolve([]);

  readonly heads = () => {
    this.looks += 1;
    if (this.broken) return Promise.reject(new StoreError('failed', 'disk'));
    return Promise.resolve({ revision: this.changes.length, confirmation: 0 });
  };

  readonly changesSince = (revision: number, limit: number) =>
    Promise.resolve(this.changes.filter((change) => change.revision > revision).slice(0, limit));

  readonly expireResults = (limit: number) => {
    const expired = Math.min(limit, this.expirable);
    this.expirable -= expired;
    return Promise.resolve(expired);
  };
}

const feeds: ChangeFeed[] = [];
afterEach(() => {
  for (const feed of feeds.splice(0)) feed.close();
});

async function start(
  store: FakeStore,
  pollInterval = 60_000,
): Promise<{ readonly feed: ChangeFeed; readonly errors: unknown[] }> {
  const errors: unknown[] = [];
  const feed = new ChangeFeed({ store, pollInterval, onError: (error) => errors.push(error) });
  feeds.push(feed);
  await feed.start();
  return { feed, errors };
}

const signal = new AbortController().signal;

describe('the feed', () => {
  it('tells the listeners of a host of its changes, in order, from its start on', async () => {
    const store = new FakeStore();
    store.write('before');
    const { feed } = await start(store);
    const heard: string[] = [];
    const listener = (name: string) => ({
      notice: ({ revision }: Change) => void heard.push(`${name} ${revision}`),
    });
    const two = listener('two');
    feed.onHost('a', listener('one'));
    feed.onHost('a', two);
    for (const host of ['a', 'b', 'a']) store.write(host);
    feed.hint();
    await until(() => heard.length === 4, 'four changes heard');
    expect(heard).toEqual(['one 2', 'two 2', 'one 4', 'two 4']);
    feed.offHost('a', two);
    store.write('a');
    feed.hint();
    await until(() => heard.length === 5, 'another change heard');
    expect(heard.at(-1)).toBe('one 5');
  });

  it('hears of what another replica wrote without any hint', async () => {
    const store = new FakeStore();
    const { feed } = await start(store, 10);
    const heard: number[] = [];
    feed.onHost('a', { notice: ({ revision }) => heard.push(revision) });
    store.write('a');
    await until(() => heard.length === 1, 'the change heard');
  });

  it('loses no change to a hint that comes while it looks', async () => {
    const store = new FakeStore();
    const { feed } = await start(store);
    const heard: number[] = [];
    feed.onHost('a', { notice: ({ revision }) => heard.push(revision) });
    for (let count = 0; count < 1_300; count++) {
      store.write('a');
      if (count % 7 === 0) feed.hint();
      if (count % 100 === 0) await Promise.resolve();
    }
    feed.hint();
    await until(() => heard.length === 1_300, 'every change heard');
    expect(heard).toEqual(store.changes.map(({ revision }) => revision));
  });

  it('goes on after a store that failed', async () => {
    const store = new FakeStore();
    const { feed, errors } = await start(store);
    const heard: number[] = [];
    feed.onHost('a', { notice: ({ revision }) => heard.push(revision) });
    store.broken = true;
    store.write('a');
    feed.hint();
    await until(() => errors.length === 1, 'the error told');
    store.broken = false;
    feed.hint();
    await until(() => heard.length === 1, 'the change heard');
  });

  it('goes on after a listener that throws', async () => {
    const store = new FakeStore();
    const { feed, errors } = await start(store);
    const heard: number[] = [];
    const broken = (): never => {
      throw new Error('listener');
    };
    feed.onHost('a', { notice: broken });
    feed.onHost('a', { notice: ({ revision }) => heard.push(revision) });
    store.write('a');
    store.write('a');
    feed.hint();
    await until(() => heard.length === 2, 'both changes heard');
    expect(errors).toHaveLength(2);
  });

  it('writes expiries page by page until none is left', async () => {
    const store = new FakeStore();
    store.expirable = 1_234;
    await start(store, 10);
    await until(() => store.expirable === 0, 'everything expired');
  });

  it('looks no more once it is closed', async () => {
    const store = new FakeStore();
    const { feed, errors } = await start(store, 5);
    feed.close();
    const { looks } = store;
    feed.hint();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(store.looks).toBe(looks);
    expect(errors).toEqual([]);
  });
});

describe('waiting for a change', () => {
  it('ends at once where there is one already', async () => {
    const store = new FakeStore();
    store.write('a');
    const { feed } = await start(store);
    await feed.wait(0, { timeout: 60_000, signal });
  });

  it('ends with the next change, and not before', async () => {
    const store = new FakeStore();
    const { feed } = await start(store);
    let woken = false;
    const waiting = feed.wait(0, { timeout: 60_000, signal }).then(() => (woken = true));
    feed.hint();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(woken).toBe(false);
    store.write('a');
    feed.hint();
    await waiting;
  });

  it('ends with its time, with the abort and with the feed', async () => {
    const { feed } = await start(new FakeStore());
    await feed.wait(0, { timeout: 5, signal });
    const abort = new AbortController();
    const aborted = feed.wait(0, { timeout: 60_000, signal: abort.signal });
    abort.abort();
    await aborted;
    const closed = feed.wait(0, { timeout: 60_000, signal });
    feed.close();
    await closed;
    // Who asks again when it is closed leaves the event loop to others.
    let others = 0;
    const timer = setInterval(() => (others += 1), 1);
    while (others < 3) await feed.wait(0, { timeout: 60_000, signal });
    clearInterval(timer);
    await feed.wait(0, { timeout: 60_000, signal });
  });
});
