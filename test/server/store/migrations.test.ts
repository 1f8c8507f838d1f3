import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ENDORSEMENT_VERSIONS } from '../../../server/store/sqlite/endorsement-versions.ts';
import { openSqliteStore } from '../../../server/store/sqlite.ts';
import type { Store } from '../../../server/store/store.ts';
import { FakeClock } from './contract/harness.ts';
import { affirmed, digest, enrolled, OPERATOR, policy } from './fixtures.ts';
import { LOGS_IN_PARTS, PARTS } from './former-schema.ts';

const BOB = { name: 'bob', roles: ['auditor' as const], keySha256: 'ab', expireTime: 4e12 };

function open(directory: string, clock = new FakeClock()): Promise<Store> {
  return openSqliteStore({
    directory,
    wallClock: () => clock.wall,
    monotonic: () => clock.elapsed,
    random: (size) => crypto.getRandomValues(new Uint8Array(size)),
    maxBytes: 0,
  });
}

/** Of each present result, in its row and in its change. */
function connectivities(directory: string): readonly unknown[] {
  const database = new DatabaseSync(join(directory, 'assay.db'), { readOnly: true });
  try {
    const rows = database.prepare(
      `SELECT p.connectivity AS own, c.connectivity AS changed FROM results p JOIN changes c ON c.revision = p.revision
        ORDER BY p.host_id`,
    );
    return rows.all().map(({ own, changed }) => [own, changed]);
  } finally {
    database.close();
  }
}

describe('the schema of a SQLite store', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'assay-store-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('brings a store of the first schema up to date, and keeps what it holds', async () => {
    const clock = new FakeClock();
    const first = await open(directory, clock);
    const ca = { fingerprint: digest('ca'), subject: 'CN=ca', anchor: true, notAfter: 9, certificate: '3082' };
    await first.addTrustAnchors([ca], OPERATOR);
    await affirmed(first, 'a');
    await enrolled(first, 'b', { logs: [{ kind: 'ima', offset: 0, data: Buffer.from('one ') }] });
    await first.putPolicy(policy('kept'), { ...OPERATOR, expected: null });
    await first.putIdentity({ ...BOB, scope: {} }, OPERATOR);
    await first.revokeHost((await affirmed(first, 'c')).id, { ...OPERATOR, reason: '' });
    clock.advance(1);
    await first.updateHost('h-c', { labels: { zone: 'n' } }, { ...OPERATOR, version: null });
    const before = [await first.getHost('h-a'), await first.getResult('h-a'), await first.listAudit(0, 100)];
    await first.close();
    const database = new DatabaseSync(join(directory, 'assay.db'));
    database.exec(
      [
        ...LOGS_IN_PARTS,
        'DROP TABLE endorsement_changes',
        'DROP TABLE trust_anchor_heads',
        'ALTER TABLE trust_anchors RENAME COLUMN id TO fingerprint',
        'CREATE TABLE first AS SELECT * FROM trust_anchors',
        'DROP TABLE trust_anchors',
        'ALTER TABLE first RENAME TO trust_anchors',
        'ALTER TABLE trust_anchors DROP COLUMN version',
        'DROP TABLE revocation_list_heads',
        'DROP TABLE revocation_lists',
        'ALTER TABLE identities DROP COLUMN scope',
        'ALTER TABLE changes DROP COLUMN prior_policy_id',
        'DROP TABLE boots',
        'DROP TABLE runtimes',
        'ALTER TABLE results DROP COLUMN status_time',
        'ALTER TABLE results DROP COLUMN connectivity',
        'DROP INDEX hosts_version',
        'ALTER TABLE counter DROP COLUMN engine',
        'ALTER TABLE service_keys DROP COLUMN withdraw_time',
        'DROP INDEX changes_policy',
        'DROP INDEX hosts_pending',
        'ALTER TABLE changes DROP COLUMN policy_id',
        'ALTER TABLE changes DROP COLUMN policy_version',
        'ALTER TABLE policies DROP COLUMN refs',
        ...['withdrawn', 'sets', 'set_heads', 'entries', 'contents'].map((name) => `DROP TABLE reference_${name}`),
        'DROP TABLE keyrings',
        'DROP TABLE keyring_heads',
        'UPDATE schema_version SET version = 1',
      ].join(';'),
    );
    database.close();
    const store = await open(directory);
    try {
      expect([await store.getHost('h-a'), await store.getResult('h-a'), await store.listAudit(0, 100)]).toEqual(before);
      expect(await store.allTrustAnchors()).toMatchObject([{ ...ca, version: 1 }]);
      expect((await store.listEndorsementChanges({ limit: 9, after: '' }, '')).changes.items).toEqual([]);
      expect(await store.allRevocationLists()).toEqual([]);
      expect(Buffer.from(await store.readLog('h-b', 'ima', 0, 1e6)).equals(PARTS)).toBe(true);
      expect(await store.getBoot('h-a')).toBeNull();
      expect(await store.getRuntime('h-a')).toBeNull();
      expect(await store.getPolicy('kept', 1)).toMatchObject({ references: [] });
      expect(await store.getIdentity('bob')).toMatchObject({ ...BOB, scope: {} });
      const priors = (await store.changesSince(0, 10)).map(({ prior }) => prior);
      expect(priors.slice(0, 3)).toEqual([null, { labels: {}, status: 'none', policyId: '', lapsed: false }, null]);
      const { exceptions } = await store.platform([], { exceptions: 9, policies: 9 });
      const since = exceptions.map(({ hostId, revisionTime }) => [hostId, revisionTime]);
      expect(since).toContainEqual(['h-c', clock.wall - 1]);
      // What a round that confirms looks at stands in small rows, too.
      expect(connectivities(directory)).toEqual([
        ['connected', 'connected'],
        ['never_seen', 'never_seen'],
        ['connected', 'connected'],
      ]);
    } finally {
      await store.close();
    }
  });

  it('makes version 1 of the anchors and lists of before, and keeps the names of lists', () => {
    const database = new DatabaseSync(':memory:');
    const columns = (names: string) => names.split(', ').map((name) => `'${name}' AS ${name}`);
    database.exec(`
      CREATE TABLE audit (sequence INTEGER PRIMARY KEY);
      CREATE TABLE trust_anchors AS
        SELECT ${columns('fingerprint, subject, certificate').join()}, 1 AS anchor, 2 AS not_after, 3 AS create_time;
      CREATE TABLE revocation_lists AS SELECT ${columns('fingerprint, issuer, issuer_key, number, list').join()},
        1 AS this_update, 2 AS next_update, 3 AS entries, 4 AS create_time;`);
    database.exec(ENDORSEMENT_VERSIONS);
    const rows = (table: string) => database.prepare(`SELECT * FROM ${table}`).all();
    expect(rows('trust_anchors')).toMatchObject([
      { id: 'fingerprint', version: 1, subject: 'subject', anchor: 1, not_after: 2, create_time: 3 },
    ]);
    expect(rows('revocation_lists')).toMatchObject([
      { id: 'fingerprint', version: 1, fingerprint: 'fingerprint', issuer_key: 'issuer_key', list: 'list', entries: 3 },
    ]);
    for (const heads of ['trust_anchor_heads', 'revocation_list_heads']) {
      expect(rows(heads)).toMatchObject([{ id: 'fingerprint', version: 1, deleted: 0 }]);
    }
    database.close();
  });

  it('refuses a schema of a newer release and leaves it alone', async () => {
    await (await open(directory)).close();
    const database = new DatabaseSync(join(directory, 'assay.db'));
    database.exec('UPDATE schema_version SET version = 99');
    database.close();
    await expect(open(directory)).rejects.toMatchObject({
      code: 'newer_schema',
      message: expect.stringContaining('99') as string,
    });
  });
});
