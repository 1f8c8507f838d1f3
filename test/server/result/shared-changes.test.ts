import { describe, expect, it } from 'vitest';

import { PAGE, SharedChanges } from '../../../server/result/shared-changes.ts';
import type { Change } from '../../../server/store/records.ts';
import { enrolled } from '../store/fixtures.ts';
import { brief, givenWatching } from './watcher.ts';

/** A store that answers each read by its number. */
function given() {
  const reads: number[] = [];
  const shared = new SharedChanges({
    changesSince: (revision) => {
      reads.push(revision);
      if (revision < 0) return Promise.reject(new Error('gone'));
      return Promise.resolve([{ revision: revision + 1, hostId: `read ${reads.length}` } as Change]);
    },
  });
  const read = async (revision: number, head: number, since = 0) =>
    (await shared.after(revision, { head, since }))[0]?.hostId;
  return { reads, shared, read };
}

describe('a page of changes', () => {
  it('is read once for all who stand at its revision', async () => {
    const { read, reads } = given();
    expect(await Promise.all([read(4, 5), read(4, 5), read(3, 5), read(4, 5)])).toEqual([
      'read 1',
      'read 1',
      'read 2',
      'read 1',
    ]);
    expect(reads).toEqual([4, 3]);
  });

  it('is read anew once there is more than it can have', async () => {
    const { read } = given();
    expect([await read(4, 5), await read(4, 6), await read(4, 6)]).toEqual(['read 1', 'read 2', 'read 2']);
  });

  it('is read anew for who has read confirmations since: it would not know what they confirmed', async () => {
    const { read, shared } = given();
    await read(4, 5);
    expect(shared.reads).toBe(1);
    expect([await read(4, 5, 1), await read(4, 5, 1), await read(4, 5)]).toEqual(['read 2', 'read 2', 'read 2']);
  });

  it('that cannot be read is asked for again', async () => {
    const { read, reads } = given();
    await expect(read(-1, 5)).rejects.toThrow('gone');
    await expect(read(-1, 5)).rejects.toThrow('gone');
    expect(reads).toEqual([-1, -1]);
  });

  it('is kept for few revisions', async () => {
    const { read, reads } = given();
    for (let revision = 0; revision < 20; revision += 1) await read(revision, 100);
    await read(0, 100);
    await read(19, 100);
    expect(reads).toHaveLength(21);
    expect(PAGE).toBeLessThanOrEqual(500);
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
    expect((watchers[0]?.reads() ?? 0) - before).toBeLessThan(60);
  });
});
