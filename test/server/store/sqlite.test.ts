import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AUDIT_CHAIN_START, findBrokenAudit } from '../../../server/store/audit.ts';
import { openSqliteStore } from '../../../server/store/sqlite.ts';
import type { Store } from '../../../server/store/store.ts';
import { describeStoreContract } from './contract.ts';
import { FakeClock } from './contract/harness.ts';
import { affirmed, digest, enrolled, enrollment, OPERATOR, policy, round } from './fixtures.ts';

const BOB = { name: 'bob', roles: ['auditor' as const], keySha256: 'ab', expireTime: 4e12 };
const bytes = (size: number): Uint8Array => crypto.getRandomValues(new Uint8Array(size));

function open(directory: string, clock = new FakeClock(), maxBytes = 0): Promise<Store> {
  return openSqliteStore({
    directory,
    wallClock: () => clock.wall,
    monotonic: () => clock.elapsed,
    random: bytes,
    maxBytes,
  });
}

describeStoreContract('SQLite', () => {
  const directory = mkdtempSync(join(tmpdir(), 'assay-store-'));
  return Promise.resolve({
    open: (clock: FakeClock) => open(directory, clock),
    remove: () => Promise.resolve(rmSync(directory, { recursive: true, force: true })),
  });
});

describe('the SQLite store', () => {
  let parent: string;
  let directory: string;
  const opened: Store[] = [];
  const children: ChildProcess[] = [];

  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), 'assay-store-'));
    directory = join(parent, 'store');
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const store of opened.splice(0)) await store.close();
    rmSync(parent, { recursive: true, force: true });
  });

  async function start(maxBytes = 0): Promise<Store> {
    const store = await open(directory, new FakeClock(), maxBytes);
    opened.push(store);
    return store;
  }

  /** A process that commits rounds until it is killed; yields what it says. */
  function startCommitting(): { readonly child: ChildProcess; readonly lines: AsyncIterableIterator<string> } {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'committing-child.ts'), directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  }

  /** What another process is told; file modes hold for everybody but root, who lends the store to somebody. */
  async function openAsOrdinaryUser(): Promise<string> {
    const isRoot = process.getuid?.() === 0;
    const nobody = { uid: 65_534, gid: 65_534 };
    if (isRoot) {
      chmodSync(parent, 0o755);
      for (const path of [directory, ...readdirSync(directory).map((name) => join(directory, name))]) {
        chownSync(path, nobody.uid, nobody.gid);
      }
    }
    const child = spawn(process.execPath, [join(import.meta.dirname, 'opening-child.ts'), directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
      ...(isRoot ? nobody : {}),
    });
    children.push(child);
    let said = '';
    for await (const chunk of child.stdout) said += String(chunk);
    return said;
  }

  it('makes a directory and files that are its own', async () => {
    const store = await start();
    await enrolled(store, 'a');
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    const files = readdirSync(directory);
    expect(files).toContain('assay.db');
    for (const file of files) expect([file, statSync(join(directory, file)).mode & 0o777]).toEqual([file, 0o600]);
  });

  it('is opened once in a process, and again after it was closed', async () => {
    const store = await start();
    await expect(open(directory)).rejects.toMatchObject({ code: 'locked' });
    await enrolled(store, 'a');
    await store.close();
    expect(await (await start()).getHost('h-a')).not.toBeNull();
  });

  it('is opened by one process, and is free when that process is killed', async () => {
    const { child, lines } = startCommitting();
    await lines.next();
    await expect(open(directory)).rejects.toMatchObject({ code: 'locked' });
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    expect(await (await start()).getHost('h-a')).not.toBeNull();
  });

  it('has everything that was acknowledged before it was killed amid commits', async () => {
    let acknowledged = 0;
    for (let run = 0; run < 3; run++) {
      const { child, lines } = startCommitting();
      const exited = once(child, 'exit');
      const until = acknowledged + 20 + run * 7;
      for await (const line of lines) {
        acknowledged = Number(line);
        if (acknowledged >= until) child.kill('SIGKILL');
      }
      await exited;
      const store = await open(directory);
      const host = await store.getHost('h-a');
      const { revision } = await store.heads();
      expect(host?.round).toBeGreaterThanOrEqual(acknowledged);
      // One revision for the enrolment, one for each round: a round is there whole or not at all.
      expect(revision).toBe((host?.round ?? 0) + 1);
      expect((await store.changesSince(0, 100_000)).map((change) => change.revision)).toEqual(
        Array.from({ length: revision }, (_, index) => index + 1),
      );
      expect(await store.getResult('h-a')).toMatchObject({ revision });
      const logs = await store.logStates('h-a');
      expect(logs).toEqual([{ kind: 'ima', size: (host?.round ?? 0) * 4, unreadable: '' }]);
      expect(findBrokenAudit(AUDIT_CHAIN_START, await store.listAudit(0, 100_000))).toBeNull();
      await store.close();
    }
  });

  it('brings a store of the first schema up to date, and keeps what it holds', async () => {
    const clock = new FakeClock();
    const first = await open(directory, clock);
    await affirmed(first, 'a');
    await first.putPolicy(policy('kept'), { ...OPERATOR, expected: null });
    await first.putIdentity({ ...BOB, scope: {} }, OPERATOR);
    await first.revokeHost((await affirmed(first, 'b')).id, { ...OPERATOR, reason: '' });
    clock.advance(1);
    await first.updateHost('h-b', { labels: { zone: 'n' } }, { ...OPERATOR, version: null });
    const before = [await first.getHost('h-a'), await first.getResult('h-a'), await first.listAudit(0, 100)];
    await first.close();
    const database = new DatabaseSync(join(directory, 'assay.db'));
    database.exec(
      [
        'DROP TABLE revocation_lists',
        'ALTER TABLE identities DROP COLUMN scope',
        'ALTER TABLE changes DROP COLUMN prior_policy_id',
        'DROP TABLE boots',
        'DROP TABLE runtimes',
        'ALTER TABLE results DROP COLUMN status_time',
        'ALTER TABLE service_keys DROP COLUMN withdraw_time',
        'DROP INDEX changes_policy',
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
    const store = await start();
    expect([await store.getHost('h-a'), await store.getResult('h-a'), await store.listAudit(0, 100)]).toEqual(before);
    expect(await store.allRevocationLists()).toEqual([]);
    expect(await store.getBoot('h-a')).toBeNull();
    expect(await store.getRuntime('h-a')).toBeNull();
    expect(await store.getPolicy('kept', 1)).toMatchObject({ references: [] });
    expect(await store.getIdentity('bob')).toMatchObject({ ...BOB, scope: {} });
    const priors = (await store.changesSince(0, 10)).map(({ prior }) => prior);
    expect(priors.slice(0, 2)).toEqual([null, { labels: {}, status: 'none', policyId: '', lapsed: false }]);
    const { exceptions } = await store.platform([], { exceptions: 9, policies: 9 });
    expect(exceptions.map(({ hostId, revisionTime }) => [hostId, revisionTime])).toEqual([['h-b', clock.wall - 1]]);
  });

  it('keeps the entries of kept versions alone, and drops those of drafts that nobody went on with', async () => {
    const clock = new FakeClock();
    const store = await open(directory, clock);
    const entry = (name: string) => ({ algorithm: 'sha1', digest: digest(name).slice(0, 40), path: '/' }) as const;
    const draftOf = async (name: string) => {
      const draft = await store.openReferenceDraft('base', { from: 'nothing', expected: 'any' });
      await store.addReferenceEntries(draft, [entry(name)]);
      return draft;
    };
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      await store.commitReferenceDraft(await draftOf(name), { ...OPERATOR, detail: '' });
    }
    await store.withdrawReferenceDigests('base', [entry('e').digest], { ...OPERATOR, expected: 'any' });
    const left = await draftOf('left');
    clock.advance(3_600_001);
    const fresh = await draftOf('fresh');
    await store.compact(0);
    await expect(store.addReferenceEntries(left, [entry('x')])).rejects.toMatchObject({ code: 'not_found' });
    await store.addReferenceEntries(fresh, [entry('y')]);
    await store.close();
    const database = new DatabaseSync(join(directory, 'assay.db'), { readOnly: true });
    const rows = database.prepare('SELECT lower(hex(digest)) AS digest FROM reference_entries').all();
    expect(rows.map((row) => row['digest']).sort()).toEqual(
      ['d', 'e', 'fresh', 'y'].map((name) => entry(name).digest).sort(),
    );
    expect(database.prepare('SELECT count(*) AS contents FROM reference_contents').get()).toEqual({ contents: 3 });
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

  it.each([
    {
      name: 'a file that is no database',
      spoil: (file: string) => writeFileSync(file, 'not a database '.repeat(1000)),
    },
    { name: 'a database that is cut off', spoil: (file: string) => truncateSync(file, 6000) },
    {
      name: 'a database of something else',
      spoil: (file: string) => {
        rmSync(file);
        const other = new DatabaseSync(file);
        other.exec('CREATE TABLE other (id INTEGER)');
        other.close();
      },
    },
  ])('says that $name is damaged', async ({ spoil }) => {
    await (await open(directory)).close();
    spoil(join(directory, 'assay.db'));
    await expect(open(directory)).rejects.toMatchObject({ code: 'corrupt' });
  });

  it('says that a directory which is a file cannot be used', async () => {
    writeFileSync(directory, '');
    await expect(open(directory)).rejects.toMatchObject({ code: 'failed' });
  });

  it('says that it is full, writes nothing of what failed, and still reads', async () => {
    const store = await start(400_000);
    await affirmed(store, 'a');
    let failure: unknown = null;
    for (let index = 0; index < 200 && failure === null; index++) {
      const claimed = { filler: 'x'.repeat(4000) };
      failure = await enrolled(store, `b${index}`, { claimed }).then(
        () => null,
        (error: unknown) => error,
      );
    }
    expect(failure).toMatchObject({ code: 'full' });
    const { revision } = await store.heads();
    const changes = await store.changesSince(0, 1000);
    expect(changes.at(-1)?.revision).toBe(revision);
    expect(await store.getHost(changes.at(-1)?.hostId ?? '')).not.toBeNull();
    expect(await store.getResult('h-a')).toMatchObject({ status: 'affirming' });
    expect(findBrokenAudit(AUDIT_CHAIN_START, await store.listAudit(0, 1000))).toBeNull();
  });

  it.each([
    { name: 'directory', directoryMode: 0o500, fileMode: 0o600 },
    { name: 'file', directoryMode: 0o700, fileMode: 0o400 },
  ])('says that a store is read-only whose $name cannot be written', async ({ directoryMode, fileMode }) => {
    await (await open(directory)).close();
    const file = join(directory, 'assay.db');
    chmodSync(file, fileMode);
    chmodSync(directory, directoryMode);
    expect(await openAsOrdinaryUser()).toBe('read_only');
    chmodSync(directory, 0o700);
    chmodSync(file, 0o600);
    expect(await openAsOrdinaryUser()).toBe('opened');
  });

  it('can be copied while it runs, and the copy opens', async () => {
    const store = await start();
    await affirmed(store, 'a');
    const source = new DatabaseSync(join(directory, 'assay.db'));
    const copyDirectory = join(parent, 'copy');
    source.exec(`VACUUM INTO '${join(parent, 'copied.db')}'`);
    source.close();
    await (await open(copyDirectory)).close();
    for (const file of readdirSync(copyDirectory)) if (file.startsWith('assay.db')) rmSync(join(copyDirectory, file));
    copyFileSync(join(parent, 'copied.db'), join(copyDirectory, 'assay.db'));
    const copy = await open(copyDirectory);
    expect(await copy.getResult('h-a')).toEqual(await store.getResult('h-a'));
    await copy.close();
  });

  it('fails a call that cannot be posted, and goes on', async () => {
    const store = await start();
    const input = await enrollment(store, 'a');
    const claimed = { wrong: (() => 'x') as unknown as string };
    await expect(store.enroll({ ...input, claimed })).rejects.toMatchObject({ code: 'failed' });
    expect(await store.enroll(input)).toMatchObject({ outcome: 'created' });
  });

  it('rolls a failed transaction back whole, with what it had read of itself', async () => {
    const store = await start();
    const { id, version } = await affirmed(store, 'a');
    const before = [await store.getHost(id), await store.heads(), await store.listAudit(0, 100)];
    const first = await round(store, id, { findings: ['CLOCK_REGRESSED'] });
    const second = { ...first, fence: { ...first.fence, version: version + 1, round: first.fence.round + 1 } };
    // A fraction of a millisecond fits no column: the batch fails after its first round was written and read again.
    await expect(
      store.commitRounds([first, { ...second, challengeTime: first.challengeTime - 0.5 }]),
    ).rejects.toMatchObject({
      code: 'failed',
    });
    expect([await store.getHost(id), await store.heads(), await store.listAudit(0, 100)]).toEqual(before);
    const renamed = await store.updateHost(id, { nodeName: 'n' }, { ...OPERATOR, version });
    expect(await store.getHost(id)).toEqual(renamed);
    expect(renamed.findings).toEqual([]);
  });

  it('holds no lock once it could not be opened', async () => {
    await (await open(directory)).close();
    const file = join(directory, 'assay.db');
    copyFileSync(file, `${file}.good`);
    writeFileSync(file, 'x'.repeat(5000));
    await expect(open(directory)).rejects.toMatchObject({ code: 'corrupt' });
    copyFileSync(`${file}.good`, file);
    expect(existsSync(join(directory, 'lock.db'))).toBe(true);
    await expect(start()).resolves.toBeDefined();
  });
});
