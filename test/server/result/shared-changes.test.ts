import { describe, expect, it } from 'vitest';

import { PAGE, SharedChanges } from '../../../server/result/shared-changes.ts';
import type { Change } from '../../../server/store/records.ts';
import { enrolled } from '../store/fixtures.ts';
import { brief, givenWatching } from './watcher.ts';

/** A store that answers each read by its number; its clock stands until it is moved. */
function given() {
  const reads: number[] = [];
  const clock = { now: 0 };
  const shared = new SharedChanges({
    now: () => clock.now,
    changesSince: (revision) => {
      reads.push(revision);
      if (revision < 0) return Promise.reject(new Error('gone'));
      if (revision >= 1_000_000) return Promise.resolve([]);
      return Promise.resolve([{ revision: revision + 1, hostId: `read ${reads.length}` } as Change]);
    },
  });
  shared.begin(100);
  const read = async (revision: number, since = 0) => (await shared.after(revision, since))[0]?.change.hostId;
  const append = (from: number, to: number): void => {
    const changes = Array.from({ length: to - from }, (_, index) => ({ revision: from + 1 + index, hostId: 'newest' }));
    shared.append(changes as Change[], clock.now);
  };
  return { reads, clock, shared, read, append };
}

describe('the newest changes', () => {
  it('are told without a read of the store, page by page', async () => {
    const { shared, append, reads } = given();
    append(100, 90 + 3 * PAGE);
    const told: number[] = [];
    for (let position = 100; position < shared.head; position = told.at(-1) ?? 0) {
      const page = await shared.after(position, 0);
      expect(page.length).toBeLessThanOrEqual(PAGE);
      told.push(...page.map(({ change }) => change.revision));
    }
    expect(told).toEqual(Array.from({ length: shared.head - 100 }, (_, index) => 101 + index));
    expect(await shared.after(shared.head, 0)).toEqual([]);
    expect(reads).toEqual([]);
  });

  it('are read anew for who wants them as they are now', async () => {
    const { append, clock, read } = given();
    append(100, 110);
    clock.now = 5;
    expect([await read(105), await read(105, 5), await read(105)]).toEqual(['newest', 'read 1', 'newest']);
  });

  it('say of each whether a later one of its host is known', async () => {
    const { shared } = given();
    const changed = (revision: number, hostId: string, present = true) => ({ revision, hostId, present }) as Change;
    const superseded = async () => (await shared.after(100, 0)).map((read) => read.superseded);
    shared.append([changed(101, 'a'), changed(102, 'b'), changed(103, 'a')], 0);
    expect(await superseded()).toEqual([true, false, false]);
    shared.append([changed(104, 'b')], 0);
    expect(await superseded()).toEqual([true, true, false, false]);
    // The store had a later one already.
    shared.append([changed(105, 'c', false)], 0);
    expect((await superseded()).at(-1)).toBe(true);
  });

  it('are so many that memory is bounded, and those before them come from the store', async () => {
    const { append, shared, read } = given();
    for (let revision = 100; revision < 10_100; revision += 10) append(revision, revision + 10);
    expect(await read(10_000)).toBe('newest');
    let held = 0;
    for (let position = shared.head - 1; (await read(position)) === 'newest'; position -= 1) held += 1;
    expect(held).toBeGreaterThanOrEqual(5 * PAGE);
    expect(held).toBeLessThan(10 * PAGE);
  });
});

describe('a page of older changes', () => {
  it('is read once for all who stand at its revision', async () => {
    const { read, reads } = given();
    expect(await Promise.all([read(4), read(4), read(3), read(4)])).toEqual(['read 1', 'read 1', 'read 2', 'read 1']);
    expect(reads).toEqual([4, 3]);
  });

  it('is read anew for who wants it as it is now', async () => {
    const { read, clock } = given();
    await read(4);
    clock.now = 7;
    expect([await read(4, 7), await read(4, 7), await read(4)]).toEqual(['read 2', 'read 2', 'read 2']);
  });

  it('that cannot be read is asked for again', async () => {
    const { read, reads } = given();
    await expect(read(-1)).rejects.toThrow('gone');
    await expect(read(-1)).rejects.toThrow('gone');
    expect(reads).toEqual([-1, -1]);
  });

  it('that has nothing yet is asked for again', async () => {
    const { read, reads } = given();
    expect([await read(1_000_000), await read(1_000_000)]).toEqual([undefined, undefined]);
    expect(reads).toHaveLength(2);
  });

  it('is kept for few revisions', async () => {
    const { read, reads } = given();
    for (let revision = 0; revision < 20; revision += 1) await read(revision);
    await read(0);
    await read(19);
    expect(reads).toHaveLength(21);
  });
});

describe('many watchers', () => {
  const watching = givenWatching();

  it('cost the store little more than one', async () => {
    const { store } = watching;
    await enrolled(store, 'a');
    const watchers = Array.from({ length: 100 }, () => watching.watch());
    for (const watcher of watchers) await watcher.take(2);
    const before = watchers[0]?.reads() ?? 0;
    for (let turn = 0; turn < 5; turn += 1) {
      await enrolled(store, `b${turn}`);
      for (const watcher of watchers) await watcher.take(3 + turn);
    }
    const [first, ...others] = watchers.map(({ events }) => events.map(brief));
    expect(first).toHaveLength(7);
    for (const other of others) expect(other).toEqual(first);
    // 100 watchers hear 5 changes, and each looks again after each: that would be 1,000 reads.
    expect((watchers[0]?.reads() ?? 0) - before).toBeLessThan(20);
  });
});
