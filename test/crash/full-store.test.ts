import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { openSqliteStore } from '../../server/store/sqlite.ts';
import type { Store } from '../../server/store/store.ts';
import { FakeClock } from '../server/store/contract/harness.ts';
import {
  affirmed,
  commit,
  enrolled,
  enrollment,
  MINUTE,
  OPERATOR,
  policy,
  reasons,
  round,
  verdict,
} from '../server/store/fixtures.ts';
import { dump } from '../support/test-service.ts';
import { checkWhole } from './model/check-whole.ts';
import { historyOf } from './model/history.ts';

/** A log that does not become smaller. */
const NOISE = randomBytes(100_000);
/** More than fits into a page of the database. */
const FILLER = 'x'.repeat(9_000);

describe('a store that may not grow any more', () => {
  let parent: string;
  let clock: FakeClock;
  let store: Store;

  /** SQLite takes the present size for the limit where the limit is below it. */
  function open(maxBytes: number): Promise<Store> {
    return openSqliteStore({
      directory: join(parent, 'store'),
      wallClock: () => clock.wall,
      monotonic: () => clock.elapsed,
      random: (size) => randomBytes(size),
      maxBytes,
    });
  }

  /** Pages that steps of the schema left free are room, too. */
  function fillFreePages(): void {
    const database = new DatabaseSync(join(parent, 'store', 'assay.db'));
    const free = (): unknown => database.prepare('PRAGMA freelist_count').get()?.['freelist_count'];
    if (free() !== 0) database.exec('CREATE TABLE filler (bytes BLOB)');
    while (free() !== 0) database.exec('INSERT INTO filler VALUES (zeroblob(4000))');
    database.close();
  }

  beforeEach(async () => {
    parent = mkdtempSync(join(tmpdir(), 'assay-full-'));
    clock = new FakeClock();
    store = await open(0);
    await affirmed(store, 'a');
    await enrolled(store, 'waits', { state: 'pending', admission: 'approval' });
    await store.close();
    fillFreePages();
    store = await open(4_096);
  });
  afterEach(async () => {
    await store.close();
    rmSync(parent, { recursive: true, force: true });
  });

  /** Every kind of write that somebody may ask for. */
  const writes: readonly { readonly name: string; readonly act: () => Promise<unknown> }[] = [
    {
      name: 'an enrolment',
      act: async () => store.enroll(await enrollment(store, 'b', { claimed: { filler: FILLER } })),
    },
    {
      name: 'another verdict',
      act: async () => {
        const input = await round(store, 'h-a');
        const host = await store.getHost('h-a');
        if (host === null) throw new Error('no host');
        const check = {
          id: 'x',
          outcome: 'failed',
          reason: 'PCR_MISMATCH',
          observed: FILLER,
          expected: '',
          message: '',
        };
        const judged = verdict(host, { status: 'contraindicated', checks: [check as never] });
        return commit(store, { ...input, verdict: judged, verdictDigest: 'other' });
      },
    },
    {
      name: 'a round with a log',
      act: async () =>
        commit(store, {
          ...(await round(store, 'h-a')),
          logs: [{ kind: 'ima', offset: 0, data: NOISE }],
        }),
    },
    {
      name: 'a policy',
      act: () =>
        store.putPolicy({ ...policy('p', { allHosts: true }), body: FILLER }, { ...OPERATOR, expected: 'any' }),
    },
    {
      name: 'labels',
      act: () => store.updateHost('h-a', { labels: { filler: FILLER } }, { ...OPERATOR, version: null }),
    },
    { name: 'a ban', act: () => store.revokeHost('h-a', { ...OPERATOR, reason: FILLER }) },
    {
      name: 'an approval',
      act: () =>
        store.approveHost('h-waits', {
          ...OPERATOR,
          acknowledgeFindings: false,
          akCertificate: FILLER,
          expectedVersion: 1,
        }),
    },
    {
      name: 'an identity',
      act: () =>
        store.putIdentity(
          { name: 'x', roles: ['operator'], keySha256: FILLER, expireTime: store.now(), scope: null },
          OPERATOR,
        ),
    },
  ];

  it.each(writes)('writes nothing of $name that does not fit, and all of it with more space', async ({ act }) => {
    const before = await dump(store);
    await expect(act()).rejects.toMatchObject({ code: 'full' });
    expect(await dump(store)).toEqual(before);
    await store.close();
    store = await open(0);
    expect(await dump(store)).toEqual(before);
    await act();
    expect(await dump(store)).not.toEqual(before);
    expect(checkWhole(await historyOf(store))).toEqual([]);
  });

  it('prolongs no trust by it: a verdict ends for every reader, whether or not its end can be written', async () => {
    const { act: growing } = writes[2] ?? { act: () => Promise.reject(new Error('no write')) };
    const present = await store.getResult('h-a');
    clock.advance(9 * MINUTE);
    await expect(growing()).rejects.toMatchObject({ code: 'full' });
    expect(await store.getResult('h-a')).toEqual(present);
    clock.advance(MINUTE);
    expect(await store.getResult('h-a')).toMatchObject({ status: 'none' });
    expect(await reasons(store, 'h-a')).toEqual(['RESULT_EXPIRED']);
    // Where it cannot be written now, it is written when there is space, and the time of the first reader stands.
    await store.expireResults(10).catch((error: unknown) => expect(error).toMatchObject({ code: 'full' }));
    await store.close();
    store = await open(0);
    await store.expireResults(10);
    expect(await store.getResult('h-a')).toMatchObject({ status: 'none', validUntil: null });
    expect((await store.changesSince(0, 100)).filter(({ cause }) => cause === 'expired')).toHaveLength(1);
    expect(checkWhole(await historyOf(store))).toEqual([]);
  });
});
