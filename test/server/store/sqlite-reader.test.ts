import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { cloneHosts } from '../../../bench/fleet/clone-hosts.ts';
import { openSqliteStore } from '../../../server/store/sqlite.ts';
import type { Store } from '../../../server/store/store.ts';
import { affirmed, OPERATOR } from './fixtures.ts';

const HOSTS = 20_000;
const LIMITS = { exceptions: 10, policies: 10 };

let directory: string;
let store: Store;
const open = () =>
  openSqliteStore({
    directory,
    wallClock: Date.now,
    monotonic: () => performance.now(),
    random: (size) => randomBytes(size),
  });
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'assay-reader-'));
  store = await open();
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('what looks at all hosts', () => {
  it('holds up no other call, and sees what was written before it', async () => {
    await store.close();
    await cloneHosts(directory, { open, hosts: HOSTS });
    store = await open();
    // The thread and its statements are made by the first.
    await store.platform([], LIMITS);
    let looking = true;
    const looked = store.platform([{ zone: 'nowhere' }], LIMITS).finally(() => (looking = false));
    let calls = 0;
    for (; looking; calls += 1) await store.heads();
    expect(await looked).toMatchObject({ groups: [] });
    expect(calls).toBeGreaterThan(20);
    const written = store.revokeHost('h-template', { ...OPERATOR, reason: '' });
    expect((await store.platform([], LIMITS)).exceptions).toMatchObject([{ hostId: 'h-template' }]);
    await written;
  });

  it('ends with the store, and does not begin after it', async () => {
    await affirmed(store, 'a');
    const report = expect(store.platform([], LIMITS)).rejects.toMatchObject({ code: 'closed' });
    await store.close();
    await report;
    // No journal: the database was closed by the last that had it open.
    expect(readdirSync(directory).sort()).toEqual(['assay.db', 'lock.db']);
    await expect(store.platform([], LIMITS)).rejects.toMatchObject({ code: 'closed' });
    store = await open();
    expect(await store.platform([], LIMITS)).toMatchObject({ groups: [{ status: 'affirming', hosts: 1 }] });
  });
});
