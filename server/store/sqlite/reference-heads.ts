import type { ReferenceVersion } from '../reference-store.ts';
import { StoreError } from '../store.ts';
import { boolean, type Database, integer, text } from './database.ts';
import type { Transaction } from './transaction.ts';

/** What has versions besides policies. The texts are literals of this room and name the tables. */
export type Collection = 'referenceSets' | 'keyrings' | 'trustAnchors' | 'revocationLists';

const HEADS: Readonly<Record<Collection, string>> = {
  referenceSets: 'reference_set_heads',
  keyrings: 'keyring_heads',
  trustAnchors: 'trust_anchor_heads',
  revocationLists: 'revocation_list_heads',
};
const WORDS: Readonly<Record<Collection, string>> = {
  referenceSets: 'reference set',
  keyrings: 'keyring',
  trustAnchors: 'trust anchor',
  revocationLists: 'revocation list',
};

export interface Head {
  readonly version: number;
  readonly deleted: boolean;
}

export function readHead(database: Database, collection: Collection, id: string): Head | null {
  const row = database.get(`SELECT version, deleted FROM ${HEADS[collection]} WHERE id = ?`, id);
  return row === undefined ? null : { version: integer(row, 'version'), deleted: boolean(row, 'deleted') };
}

export function setHead(tx: Transaction, collection: Collection, id: string, head: Head): void {
  tx.run(
    `INSERT INTO ${HEADS[collection]} (id, version, deleted) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET version = excluded.version, deleted = excluded.deleted`,
    id,
    head.version,
    head.deleted ? 1 : 0,
  );
}

/** The newest version, null where there is none. Throws when it is not the expected one. */
export function presentVersion(
  database: Database,
  collection: Collection,
  id: string,
  expected: number | 'any',
): number | null {
  const head = readHead(database, collection, id);
  const version = head === null || head.deleted ? null : head.version;
  if (expected === 'any' || version === expected) return version;
  if (version === null) throw unknown(collection, id);
  throw new StoreError('etag_mismatch', `${WORDS[collection]} ${id} has changed; it is at version ${version}`);
}

export function unknown(collection: Collection, id: string): StoreError {
  return new StoreError('not_found', `${WORDS[collection]} ${id} is not known`);
}

/** Throws too_large where one more would be too many. */
export function checkRoom(tx: Transaction, collection: Collection, limit: number): void {
  const row = tx.database.get(`SELECT count(*) AS present FROM ${HEADS[collection]} WHERE deleted = 0`);
  if (row !== undefined && integer(row, 'present') >= limit)
    throw new StoreError('too_large', `there are ${limit} ${WORDS[collection]}s already, more are not kept`);
}

/** Newest versions of what is there of the named. */
export function readReferences(database: Database, names: readonly string[]): readonly ReferenceVersion[] {
  return database
    .all(
      `SELECT v.name, v.version FROM (
          SELECT 'referenceSets/' || id AS name, version FROM reference_set_heads WHERE deleted = 0
          UNION ALL SELECT 'keyrings/' || id, version FROM keyring_heads WHERE deleted = 0
        ) v WHERE v.name IN (SELECT value FROM json_each(?)) ORDER BY v.name`,
      JSON.stringify(names),
    )
    .map((row) => ({ name: text(row, 'name'), version: integer(row, 'version') }));
}
