import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BLOB_BYTES } from '../../../../server/store/sqlite/blobs.ts';
import { openSqliteStore } from '../../../../server/store/sqlite.ts';
import type { LogKind, LogPart } from '../../../../server/store/records.ts';
import type { Store } from '../../../../server/store/store.ts';
import { FakeClock } from '../contract/harness.ts';
import { enrolled, OPERATOR, round } from '../fixtures.ts';

describe('what logs hold', () => {
  let directory: string;
  let store: Store;
  const clock = new FakeClock();

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'assay-chunks-'));
    store = await open();
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function open(): Promise<Store> {
    return openSqliteStore({
      directory,
      wallClock: () => clock.wall,
      monotonic: () => clock.elapsed,
      random: (size) => randomBytes(size),
    });
  }

  const part = (kind: LogKind, offset: number, data: Uint8Array): LogPart => ({ kind, offset, data });

  async function send(hostId: string, logs: readonly LogPart[]): Promise<string | undefined> {
    return (await store.commitRounds([await round(store, hostId, { logs })]))[0]?.outcome;
  }

  async function read(hostId: string, kind: LogKind = 'ima'): Promise<Buffer> {
    return Buffer.from(await store.readLog(hostId, kind, 0, 1e9));
  }

  function rows(sql: string): Record<string, unknown>[] {
    const database = new DatabaseSync(join(directory, 'assay.db'), { readOnly: true });
    try {
      return database.prepare(sql).all();
    } finally {
      database.close();
    }
  }

  /** Changes the file behind the back of the store. */
  async function spoil(sql: string, ...values: (Uint8Array | number)[]): Promise<void> {
    await store.close();
    const database = new DatabaseSync(join(directory, 'assay.db'));
    expect(database.prepare(sql).run(...values).changes).toBeGreaterThan(0);
    database.close();
    store = await open();
  }

  const text = (size: number, word = 'measured '): Buffer =>
    Buffer.from(word.repeat(size / word.length + 1)).subarray(0, size);

  it('is kept once, packed, for all hosts that sent it, and goes with the last of them', async () => {
    const log = text(30_000);
    for (const name of ['a', 'b', 'c']) await enrolled(store, name, { logs: [part('boot', 0, log)] });
    const [blob, ...others] = rows('SELECT encoding, size, length(data) AS kept FROM blobs');
    expect(others).toEqual([]);
    expect(blob).toMatchObject({ encoding: 'zstd', size: 30_000 });
    expect(Number(blob?.['kept'])).toBeLessThan(1_000);
    await store.deleteHost('h-a', OPERATOR);
    await send('h-b', [part('boot', 0, text(10, 'another'))]);
    expect(await read('h-c', 'boot')).toEqual(log);
    await store.deleteHost('h-c', OPERATOR);
    await store.deleteHost('h-b', OPERATOR);
    expect(rows('SELECT id FROM blobs')).toEqual([]);
  });

  it('goes with the last boot that had it, and not where another host still has it', async () => {
    const log = text(100_000);
    const reboot = async (hostId: string, resetCount: number) => {
      const input = await round(store, hostId);
      await store.commitRounds([{ ...input, clock: { ...input.clock, resetCount } }]);
    };
    for (const name of ['a', 'b']) await enrolled(store, name, { logs: [part('ima', 0, log)] });
    for (const id of ['h-a', 'h-b']) {
      await reboot(id, 2);
      expect(await read(id)).toEqual(Buffer.alloc(0));
    }
    await send('h-a', [part('ima', 0, log)]);
    expect(rows('SELECT id FROM blobs')).toHaveLength(2);
    await store.compact(store.now() + 1);
    expect(await read('h-a')).toEqual(log);
    await reboot('h-a', 3);
    expect(rows('SELECT id FROM blobs')).toHaveLength(2);
    await store.compact(store.now() + 1);
    expect(rows('SELECT id FROM blobs')).toEqual([]);
  });

  it('goes with every boot whose time is over, however many there are', async () => {
    const reboots = [];
    for (let index = 0; index < 60; index++) {
      const { id } = await enrolled(store, `n${index}`, { logs: [part('boot', 0, text(50 + index))] });
      const input = await round(store, id);
      reboots.push({ ...input, clock: { ...input.clock, resetCount: 2 } });
    }
    await store.commitRounds(reboots);
    expect(rows('SELECT id FROM former_boots')).toHaveLength(60);
    await store.compact(store.now() + 1);
    expect([rows('SELECT id FROM former_boots'), rows('SELECT id FROM blobs')]).toEqual([[], []]);
  });

  it('cannot be dropped while a log refers to it', async () => {
    await enrolled(store, 'a', { logs: [part('boot', 0, text(10))] });
    await expect(spoil('DELETE FROM blobs')).rejects.toThrow('FOREIGN KEY');
  });

  it('keeps what cannot be packed as it is', async () => {
    const noise = randomBytes(5_000);
    await enrolled(store, 'a', { logs: [part('ima', 0, noise)] });
    expect(rows('SELECT encoding, size FROM blobs')).toEqual([{ encoding: 'plain', size: 5_000 }]);
    expect(await read('h-a')).toEqual(noise);
  });

  it('cuts a list at fixed places, so that lists that begin alike share their beginning', async () => {
    const list = randomBytes(BLOB_BYTES * 2 + 100);
    await enrolled(store, 'a', { logs: [part('ima', 0, list)] });
    await enrolled(store, 'b', { logs: [part('ima', 0, list.subarray(0, BLOB_BYTES + 50))] });
    await send('h-b', [part('ima', BLOB_BYTES + 50, list.subarray(BLOB_BYTES + 50))]);
    expect(await read('h-b')).toEqual(list);
    expect(rows('SELECT id FROM blobs')).toHaveLength(3);
  });

  it('appends to a long list without writing it anew, in few pieces', async () => {
    const list = randomBytes(BLOB_BYTES * 3 + 300 * 100);
    const first = BLOB_BYTES * 3;
    await enrolled(store, 'a', { logs: [part('ima', 0, list.subarray(0, first))] });
    const before = new Set(rows('SELECT id FROM blobs').map(({ id }) => id));
    let most = 0;
    let written = 0;
    let newest = Math.max(...[...before].map(Number));
    for (let at = first; at < list.length; at += 100) {
      await send('h-a', [part('ima', at, list.subarray(at, at + 100))]);
      const [tail] = rows(`SELECT count(*) AS pieces FROM log_chunks WHERE start >= ${first}`);
      most = Math.max(most, Number(tail?.['pieces']));
      const [made] = rows(`SELECT max(id) AS id, sum(size) FILTER (WHERE id > ${newest}) AS size FROM blobs`);
      written += Number(made?.['size'] ?? 0);
      newest = Math.max(newest, Number(made?.['id']));
    }
    expect(await read('h-a')).toEqual(list);
    const kept = rows('SELECT id FROM blobs').map(({ id }) => id);
    for (const id of before) expect(kept).toContain(id);
    expect(most).toBeLessThanOrEqual(17);
    expect(written).toBeLessThan(10 * (list.length - first));
  });

  it('fills the last chunk and goes on with the next, whatever the sizes of the parts', async () => {
    await enrolled(store, 'a');
    const list = randomBytes(BLOB_BYTES * 3);
    for (let at = 0, size = 7; at < list.length; at += size, size = (size * 5) % 9_973) {
      expect(await send('h-a', [part('ima', at, list.subarray(at, at + size))])).not.toBe('fenced');
      size = Math.min(size, list.length - at);
    }
    expect(await read('h-a')).toEqual(list);
    const chunks = rows('SELECT start, size FROM log_chunks ORDER BY start');
    expect(chunks).toEqual([0, 1, 2].map((index) => ({ start: index * BLOB_BYTES, size: BLOB_BYTES })));
    expect(Buffer.from(await store.readLog('h-a', 'ima', 65_000, 2_000))).toEqual(list.subarray(65_000, 67_000));
  });

  it.each([
    ['of which a byte is another', 'UPDATE blobs SET data = ?', zstdCompressSync(text(2_000, 'tampered '))],
    ['that says to be shorter', 'UPDATE blobs SET size = size - ?', 1],
    ['that is more than was recorded', 'UPDATE blobs SET data = ?', zstdCompressSync(Buffer.alloc(50_000_000))],
    ['that is no frame', 'UPDATE blobs SET data = zeroblob(20) WHERE size > ?', 0],
    ['that is kept under another name', 'UPDATE blobs SET sha256 = ?', Buffer.alloc(32)],
    ['that says to be huge', 'UPDATE blobs SET size = ?', 1_000_000_000],
    ['of which a part is missing', 'UPDATE log_chunks SET size = size - ?', 1],
  ])('is refused as damaged: a blob %s', async (_name, sql, value) => {
    await enrolled(store, 'a', { logs: [part('ima', 0, text(2_000))] });
    await spoil(sql, value);
    await expect(read('h-a')).rejects.toMatchObject({ name: 'StoreError', code: 'corrupt' });
  });

  it('goes on where the last chunk is damaged, for every host of the batch, and is whole when the log comes anew', async () => {
    const log = text(2_000);
    await enrolled(store, 'a', { logs: [part('ima', 0, log)] });
    await enrolled(store, 'b');
    await spoil('UPDATE blobs SET data = ?', Buffer.from('damaged'));
    const rounds = [
      await round(store, 'h-a', { logs: [part('ima', 2_000, log)] }),
      await round(store, 'h-b', { logs: [part('ima', 0, log)] }),
    ];
    expect((await store.commitRounds(rounds)).map(({ outcome }) => outcome)).toEqual(['changed', 'changed']);
    // The same bytes came from another host: what was damaged is whole again for both.
    expect(await read('h-b')).toEqual(log);
    expect(await read('h-a')).toEqual(Buffer.concat([log, log]));
    await send('h-a', [part('ima', 0, log)]);
    expect(await read('h-a')).toEqual(log);
  });
});
