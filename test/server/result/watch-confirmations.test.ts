import { describe, expect, it } from 'vitest';

import { ChangeFeed } from '../../../server/result/feed.ts';
import type { Confirmation } from '../../../server/store/records.ts';
import { affirmed, commit, enrolled, MINUTE, round } from '../store/fixtures.ts';
import { brief, givenWatching, Watcher } from './watcher.ts';

const given = givenWatching();

describe('confirmations', () => {
  const VALIDITY = 3_000;
  const confirm = async (name = 'h-a') => commit(given.store, await round(given.store, name, { validity: VALIDITY }));
  /** A host with a verdict of a short validity. */
  const judged = async (name: string): Promise<void> => {
    await enrolled(given.store, name);
    await confirm(`h-${name}`);
  };

  it('come as the latest validity of each host, with its revision', async () => {
    await judged('a');
    const watcher = given.watch();
    await watcher.take(2);
    for (let count = 0; count < 3; count++) await confirm();
    given.clock.advance(VALIDITY / 4);
    const events = await watcher.take(3);
    expect(events.map(brief)[2]).toBe('validity h-a 3');
    expect(events[2]).toMatchObject({
      confirmation: { revision: 2, validUntil: given.store.now() - VALIDITY / 4 + VALIDITY },
    });
  });

  it('of hosts out of the filter are not told', async () => {
    await judged('a');
    await judged('b');
    const watcher = given.watch({ filter: { hostIds: ['h-b'] } });
    await watcher.take(2);
    await confirm('h-a');
    await confirm('h-b');
    given.clock.advance(VALIDITY / 4);
    expect((await watcher.take(3)).map(brief)[2]).toBe('validity h-b 1');
  });

  it('come within a third of a validity that is shorter than any seen before', async () => {
    await affirmed(given.store, 'b');
    await enrolled(given.store, 'a');
    const watcher = given.watch();
    await watcher.take(3);
    await confirm();
    await watcher.take(4);
    await confirm();
    // By the clock of the store it is not later than that; whoever keeps the pace of before sleeps for minutes.
    given.clock.advance(VALIDITY / 3 - 1);
    expect((await watcher.take(5)).map(brief)[4]).toBe('validity h-a 1');
  });

  it('keep their pace where a flush finds none', async () => {
    await judged('a');
    const watcher = given.watch();
    await watcher.take(2);
    for (let flushes = 0; flushes < 2; flushes++) {
      given.clock.advance(VALIDITY / 4);
      await new Promise((resolve) => setTimeout(resolve, VALIDITY / 4 + 50));
    }
    await confirm();
    given.clock.advance(VALIDITY / 4);
    expect((await watcher.take(3)).map(brief)[2]).toBe('validity h-a 1');
  });

  it('of a verdict that the watcher has not been told yet wait for its change', async () => {
    const confirmation = (sequence: number, revision: number): Confirmation => ({
      sequence,
      revision,
      hostId: `h-${sequence}`,
      status: 'affirming',
      policyId: 'base',
      labels: {},
      validUntil: given.store.now() + VALIDITY,
      confirmations: 1,
    });
    await judged('a');
    const change = (await given.store.changesSince(1, 1))[0];
    if (change === undefined) throw new Error('no change');
    const told = { hidden: true };
    // Between the read of the changes and that of the confirmations somebody wrote revision 2 and confirmed it.
    const store = {
      incarnation: given.store.incarnation,
      now: () => given.store.now(),
      heads: () => Promise.resolve({ revision: told.hidden ? 1 : 2, confirmation: 0 }),
      listResults: () => Promise.resolve({ revision: 1, items: [], next: null }),
      changesSince: (after: number) => Promise.resolve(told.hidden || after >= 2 ? [] : [change]),
      confirmationsSince: (after: number) =>
        Promise.resolve([confirmation(1, 1), confirmation(2, 2), confirmation(3, 1)].slice(after)),
      expireResults: () => Promise.resolve(0),
    };
    const feed = new ChangeFeed({ store, pollInterval: 60_000, onError: () => undefined });
    await feed.start();
    const watcher = new Watcher({ store, feed }, {});
    await watcher.take(1);
    given.clock.advance(MINUTE);
    expect((await watcher.take(2)).map(brief)).toEqual(['synced', 'validity h-1 1']);
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(watcher.events).toHaveLength(2);
    told.hidden = false;
    feed.hint();
    expect((await watcher.take(5)).map(brief).slice(2)).toEqual([
      expect.stringMatching(/^change h-a/),
      'validity h-2 1',
      'validity h-3 1',
    ]);
    await watcher.stop();
    feed.close();
  });

  it('are read for one watcher where many wait for the same', async () => {
    for (const name of ['a', 'b', 'c']) await judged(name);
    const watchers = Array.from({ length: 50 }, () => given.watch());
    for (const watcher of watchers) await watcher.take(4);
    const before = watchers[0]?.reads() ?? 0;
    for (let flush = 1; flush <= 3; flush += 1) {
      for (const name of ['a', 'b', 'c']) await confirm(`h-${name}`);
      given.clock.advance(VALIDITY / 4);
      for (const watcher of watchers) await watcher.take(4 + 3 * flush);
    }
    const [first, ...others] = watchers.map(({ events }) => events.map(brief));
    expect(first?.slice(-3)).toEqual(['validity h-a 3', 'validity h-b 3', 'validity h-c 3']);
    for (const other of others) expect(other).toEqual(first);
    // Each reading for itself, that would be 150 reads.
    expect((watchers[0]?.reads() ?? 0) - before).toBeLessThan(15);
  });

  it('that came while a watch was away are told when it resumes', async () => {
    await affirmed(given.store, 'a');
    const first = given.watch();
    const [, bookmark] = await first.take(2);
    await first.stop();
    await commit(given.store, await round(given.store, 'h-a'));
    const watcher = given.watch({ resumeToken: bookmark?.resumeToken ?? '' });
    expect((await watcher.take(1)).map(brief)).toEqual(['validity h-a 1']);
  });
});

it('an idle watch hears a bookmark, from which it resumes', async () => {
  await affirmed(given.store, 'a');
  const watcher = given.watch();
  await watcher.take(2);
  given.clock.advance(15_000);
  await enrolled(given.store, 'b');
  await watcher.take(3);
  expect(watcher.idle.length).toBeGreaterThan(0);
  const resumed = given.watch({ resumeToken: watcher.idle[0]?.resumeToken ?? '' });
  await given.turned('h-a');
  expect((await resumed.take(1)).map(brief).at(-1)).toMatch(/change h-(b none 3|a contraindicated 4)/);
});
