import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { AUDIT_CHAIN_START } from '../audit.ts';
import { StoreError } from '../store.ts';
import { Database, integer, text, toStoreError } from './database.ts';
import { migrate } from './schema.ts';

/** What the worker is started with. */
export interface OpenInput {
  readonly directory: string;
  /** Taken when the store is made; hex. */
  readonly incarnation: string;
  readonly deployment: string;
  readonly wallClock: number;
  /** Largest size of the database file, bytes; 0 for what the disk holds. */
  readonly maxBytes: number;
}

/** What a worker is started with that reads beside the one that has the store. */
export interface ReaderInput {
  /** The directory of a store that is open. */
  readonly readsFrom: string;
}

export interface OpenedDatabase {
  readonly database: Database;
  readonly incarnation: string;
  readonly deployment: string;
  readonly clockMark: number;
  readonly close: () => void;
}

/** Opens or makes the store in a directory and holds it alone until closed. Throws StoreErrors only. */
export function openDatabase(input: OpenInput): OpenedDatabase {
  const closers: (() => void)[] = [];
  const close = (): void => {
    for (const closer of closers.splice(0).reverse()) closer();
  };
  try {
    makeFiles(input.directory);
    const lock = new Database(join(input.directory, 'lock.db'));
    closers.push(() => lock.close());
    takeLock(lock, input.directory);
    const database = new Database(join(input.directory, 'assay.db'));
    closers.push(() => database.close());
    configure(database, input.maxBytes);
    migrate(database);
    const identity = identify(database, input);
    return { database, ...identity, close };
  } catch (error) {
    close();
    throw fileError(error) ?? toStoreError(error);
  }
}

/** Opens the store of a directory for reading alone. Throws StoreErrors only. */
export function openReader({ readsFrom }: ReaderInput): Database {
  try {
    return new Database(join(readsFrom, 'assay.db'), { readOnly: true });
  } catch (error) {
    throw toStoreError(error);
  }
}

/** SQLite gives its journals the mode of the database, so that only these two files need one. */
function makeFiles(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const name of ['lock.db', 'assay.db']) closeSync(openSync(join(directory, name), 'a', 0o600));
  const handle = openSync(directory, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/**
 * The lock is an exclusive transaction on a database of its own that never ends: the system drops it with the process, however that
 * ends, and the store itself stays readable for an online copy.
 */
function takeLock(lock: Database, directory: string): void {
  try {
    lock.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE');
  } catch (error) {
    const known = toStoreError(error);
    if (known.code !== 'locked') throw error;
    throw new StoreError('locked', `the store in ${directory} is already open`, { cause: error });
  }
}

function configure(database: Database, maxBytes: number): void {
  const mode = database.get('PRAGMA journal_mode = WAL');
  if (mode?.['journal_mode'] !== 'wal') {
    throw new StoreError('failed', 'the file system cannot hold a store (no write-ahead log)');
  }
  database.exec('PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON');
  // Rounds write the same pages again and again: each is copied from the journal into the database once for 16 MiB of them.
  database.exec('PRAGMA wal_autocheckpoint = 4000');
  if (maxBytes > 0) {
    const size = database.get('PRAGMA page_size');
    const pages = Math.floor(maxBytes / (size === undefined ? 4096 : integer(size, 'page_size')));
    database.exec(`PRAGMA max_page_count = ${pages}`);
  }
}

/** Who the store is. It is written at every start: a store that cannot be written says so now and not at the first host. */
function identify(
  database: Database,
  input: OpenInput,
): { readonly incarnation: string; readonly deployment: string; readonly clockMark: number } {
  database.exec('BEGIN IMMEDIATE');
  database.run(
    'INSERT INTO store (id, incarnation, deployment, create_time) VALUES (1, ?, ?, ?) ON CONFLICT DO NOTHING',
    input.incarnation,
    input.deployment,
    input.wallClock,
  );
  database.run(
    `INSERT INTO counter (id, revision, confirmation, policy_epoch, endorsement_epoch, horizon, clock_mark, audit_sequence, audit_hash)
      VALUES (1, 0, 0, 1, 1, 0, ?1, 0, ?2) ON CONFLICT DO UPDATE SET clock_mark = max(clock_mark, ?1)`,
    input.wallClock,
    AUDIT_CHAIN_START,
  );
  database.exec('COMMIT');
  const store = database.get('SELECT incarnation, deployment FROM store WHERE id = 1');
  const counter = database.get('SELECT clock_mark FROM counter WHERE id = 1');
  if (store === undefined || counter === undefined) throw new StoreError('corrupt', 'the store has no identity');
  return {
    incarnation: text(store, 'incarnation'),
    deployment: text(store, 'deployment'),
    clockMark: integer(counter, 'clock_mark'),
  };
}

/** Errors of the file system, before SQLite is asked. */
function fileError(error: unknown): StoreError | null {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return null;
  const message = `the store's directory cannot be used: ${error.message}`;
  switch (error.code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new StoreError('read_only', message, { cause: error });
    case 'ENOSPC':
    case 'EDQUOT':
      return new StoreError('full', message, { cause: error });
    default:
      return new StoreError('failed', message, { cause: error });
  }
}
