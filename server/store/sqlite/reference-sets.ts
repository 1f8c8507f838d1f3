import type {
  ListedEntry,
  PackedDigests,
  ReferenceAlgorithm,
  ReferenceSetRecord,
  ReferenceStore,
} from '../reference-store.ts';
import { type Page, type PageRequest, StoreError } from '../store.ts';
import { bytes, type Database, integer, type Row, text } from './database.ts';
import { toPage } from './hosts.ts';

const NEWEST =
  'FROM reference_set_heads h JOIN reference_sets s ON s.id = h.id AND s.version = h.version WHERE h.deleted = 0';

/**
 * A version is a content without what was withdrawn from it. Takes the id and version of the set as parameters, for rows with a
 * column digest.
 */
export const NOT_WITHDRAWN = 'digest NOT IN (SELECT digest FROM reference_withdrawn WHERE id = ? AND version = ?)';

export interface SetVersion {
  readonly id: string;
  readonly version: number;
}

export function getReferenceSet(database: Database, id: string, version: number | null): ReferenceSetRecord | null {
  const row =
    version === null
      ? database.get(`SELECT s.* ${NEWEST} AND s.id = ?`, id)
      : database.get('SELECT * FROM reference_sets WHERE id = ? AND version = ?', id, version);
  return row === undefined ? null : toSet(row);
}

export function listReferenceSets(database: Database, page: PageRequest): Page<ReferenceSetRecord> {
  const rows = database.all(`SELECT s.* ${NEWEST} AND s.id > ? ORDER BY s.id LIMIT ?`, page.after, page.limit + 1);
  return toPage(rows.map(toSet), page.limit, ({ id }) => id);
}

/** Where the entries of a version stand. */
export function contentOf(database: Database, { id, version }: SetVersion): number {
  const row = database.get('SELECT content FROM reference_sets WHERE id = ? AND version = ?', id, version);
  if (row === undefined)
    throw new StoreError('not_found', `reference set ${id} is not known, or not kept, in version ${version}`);
  return integer(row, 'content');
}

export function listReferenceEntries(
  database: Database,
  set: SetVersion,
  page: PageRequest,
  filter: Parameters<ReferenceStore['listReferenceEntries']>[2],
): Page<ListedEntry> {
  const content = contentOf(database, set);
  const after = page.after === '' ? null : entryAfter(database, content, page.after);
  const window = { content, set, after, limit: page.limit + 1 };
  const rows =
    'digest' in filter
      ? ofDigest(database, window, filter.digest)
      : filter.pathPrefix === ''
        ? ofAll(database, window)
        : ofPaths(database, window, filter.pathPrefix);
  return toPage(rows.map(toEntry), page.limit, ({ key }) => key);
}

interface Window {
  readonly content: number;
  readonly set: SetVersion;
  /** The last entry of the page before. */
  readonly after: Row | null;
  readonly limit: number;
}

function ofAll(database: Database, { content, set, after, limit }: Window): readonly Row[] {
  return database.all(
    `SELECT * FROM reference_entries WHERE content = ? AND (digest, algorithm, path) > (?, ?, ?)
      AND ${NOT_WITHDRAWN} ORDER BY digest, algorithm, path LIMIT ?`,
    content,
    after?.['digest'] ?? new Uint8Array(0),
    after?.['algorithm'] ?? '',
    after?.['path'] ?? '',
    set.id,
    set.version,
    limit,
  );
}

function ofDigest(database: Database, { content, set, after, limit }: Window, digest: string): readonly Row[] {
  return database.all(
    `SELECT * FROM reference_entries WHERE content = ? AND digest = ? AND (algorithm, path) > (?, ?)
      AND ${NOT_WITHDRAWN} ORDER BY algorithm, path LIMIT ?`,
    content,
    Buffer.from(digest, 'hex'),
    after?.['algorithm'] ?? '',
    after?.['path'] ?? '',
    set.id,
    set.version,
    limit,
  );
}

function ofPaths(database: Database, { content, set, after, limit }: Window, prefix: string): readonly Row[] {
  const rows = database.all(
    `SELECT * FROM reference_entries WHERE content = ? AND (path, id) > (?, ?) AND ${NOT_WITHDRAWN}
      ORDER BY path, id LIMIT ?`,
    content,
    after?.['path'] ?? prefix,
    after?.['id'] ?? 0,
    set.id,
    set.version,
    limit,
  );
  // Paths of one beginning stand together in the order of their bytes.
  const other = rows.findIndex((row) => !text(row, 'path').startsWith(prefix));
  return other === -1 ? rows : rows.slice(0, other);
}

function entryAfter(database: Database, content: number, key: string): Row {
  const row = database.get('SELECT * FROM reference_entries WHERE id = ? AND content = ?', Number(key), content);
  if (row === undefined) throw new StoreError('page_token', 'the page token is not one of this version');
  return row;
}

export function hasReferenceDigest(
  database: Database,
  set: SetVersion,
  algorithm: ReferenceAlgorithm,
  digest: string,
): boolean {
  const content = contentOf(database, set);
  const row = database.get(
    `SELECT 1 FROM reference_entries WHERE content = ? AND digest = ? AND algorithm = ? AND ${NOT_WITHDRAWN} LIMIT 1`,
    content,
    Buffer.from(digest, 'hex'),
    algorithm,
    set.id,
    set.version,
  );
  return row !== undefined;
}

export function readReferenceDigests(
  database: Database,
  set: SetVersion,
  page: PageRequest,
): { readonly digests: PackedDigests; readonly next: string | null } {
  const [algorithm = '', hex = ''] = page.after.split(':');
  const rows = database.all(
    `SELECT DISTINCT digest, algorithm FROM reference_entries WHERE content = ? AND (digest, algorithm) > (?, ?)
      AND ${NOT_WITHDRAWN} ORDER BY digest, algorithm LIMIT ?`,
    contentOf(database, set),
    Buffer.from(hex, 'hex'),
    algorithm,
    set.id,
    set.version,
    page.limit + 1,
  );
  const { items, next } = toPage(rows, page.limit, (row) => {
    return `${text(row, 'algorithm')}:${Buffer.from(bytes(row, 'digest')).toString('hex')}`;
  });
  const parts: Partial<Record<ReferenceAlgorithm, Uint8Array[]>> = {};
  for (const row of items) (parts[algorithmOf(row)] ??= []).push(bytes(row, 'digest'));
  const digests = Object.fromEntries(
    Object.entries(parts).map(([name, list]) => [name, new Uint8Array(Buffer.concat(list))]),
  );
  return { digests, next };
}

function algorithmOf(row: Row): ReferenceAlgorithm {
  // Written from this very type.
  return text(row, 'algorithm') as ReferenceAlgorithm;
}

function toSet(row: Row): ReferenceSetRecord {
  return {
    id: text(row, 'id'),
    version: integer(row, 'version'),
    kind: 'files',
    entries: integer(row, 'entries'),
    createTime: integer(row, 'create_time'),
  };
}

function toEntry(row: Row): ListedEntry {
  return {
    key: String(integer(row, 'id')),
    algorithm: algorithmOf(row),
    digest: Buffer.from(bytes(row, 'digest')).toString('hex'),
    path: text(row, 'path'),
  };
}
