import {
  KEPT_VERSIONS,
  type KeyringKeyRecord,
  type KeyringRecord,
  type KeyringSummary,
  MAX_KEYRING_DER,
  MAX_KEYRING_KEYS,
  MAX_KEYRINGS,
  type ReferenceStore,
} from '../reference-store.ts';
import { type Page, type PageRequest, StoreError } from '../store.ts';
import { type Database, integer, json, type Row, text } from './database.ts';
import { toPage } from './hosts.ts';
import { checkUnnamed, referenceChanged } from './policies.ts';
import { checkRoom, presentVersion, readHead, setHead, unknown } from './reference-heads.ts';
import { type Transaction, write } from './transaction.ts';

const SUMMARY = 'k.id, k.version, k.key_count, k.create_time';
const NEWEST = 'FROM keyring_heads h JOIN keyrings k ON k.id = h.id AND k.version = h.version WHERE h.deleted = 0';

type PutOptions = Parameters<ReferenceStore['putKeyring']>[2];
type ChangeOptions = Parameters<ReferenceStore['deleteKeyring']>[1];

export function getKeyring(database: Database, id: string, version: number | null): KeyringRecord | null {
  const row =
    version === null
      ? database.get(`SELECT k.* ${NEWEST} AND k.id = ?`, id)
      : database.get('SELECT * FROM keyrings WHERE id = ? AND version = ?', id, version);
  return row === undefined ? null : toKeyring(row);
}

export function listKeyrings(database: Database, page: PageRequest): Page<KeyringSummary> {
  const rows = database.all(
    `SELECT ${SUMMARY} ${NEWEST} AND k.id > ? ORDER BY k.id LIMIT ?`,
    page.after,
    page.limit + 1,
  );
  return toPage(rows.map(toSummary), page.limit, ({ id }) => id);
}

export function putKeyring(
  database: Database,
  now: number,
  id: string,
  keys: readonly KeyringKeyRecord[],
  options: PutOptions,
): { readonly keyring: KeyringRecord; readonly changed: boolean } {
  return write(database, now, (tx) => {
    const version = presentVersion(tx.database, 'keyrings', id, options.expected);
    const present = version === null ? null : getKeyring(tx.database, id, version);
    if (present === null) checkRoom(tx, 'keyrings', MAX_KEYRINGS);
    const merged = sorted([...(options.add ? (present?.keys ?? []) : []), ...keys]);
    if (merged.length > MAX_KEYRING_KEYS)
      throw new StoreError('too_large', `a keyring holds at most ${MAX_KEYRING_KEYS} keys`);
    if (merged.reduce((sum, { der }) => sum + der.length / 2, 0) > MAX_KEYRING_DER)
      throw new StoreError('too_large', `the keys of a keyring have at most ${MAX_KEYRING_DER} bytes together`);
    if (present !== null && JSON.stringify(present.keys) === JSON.stringify(merged))
      return { keyring: present, changed: false };
    return { keyring: writeVersion(tx, id, merged, { ...options, action: 'keyring.import' }), changed: true };
  });
}

export function removeKeyringKey(
  database: Database,
  now: number,
  id: string,
  fingerprint: string,
  options: ChangeOptions,
): KeyringRecord {
  return write(database, now, (tx) => {
    const version = presentVersion(tx.database, 'keyrings', id, options.expected);
    const present = version === null ? null : getKeyring(tx.database, id, version);
    if (present === null) throw unknown('keyrings', id);
    const keys = present.keys.filter((key) => key.fingerprint !== fingerprint);
    if (keys.length === present.keys.length)
      throw new StoreError('not_found', `keyring ${id} holds no key ${fingerprint}`);
    return writeVersion(tx, id, keys, { ...options, action: 'keyring.removeKey', detail: `key ${fingerprint}, ` });
  });
}

export function deleteKeyring(database: Database, now: number, id: string, options: ChangeOptions): void {
  write(database, now, (tx) => {
    const version = presentVersion(tx.database, 'keyrings', id, options.expected);
    if (version === null) throw unknown('keyrings', id);
    checkUnnamed(tx, `keyrings/${id}`);
    tx.run('DELETE FROM keyrings WHERE id = ?', id);
    setHead(tx, 'keyrings', id, { version, deleted: true });
    tx.audit(options.actor, 'keyring.delete', `keyrings/${id}`, `version ${version}`);
  });
}

function writeVersion(
  tx: Transaction,
  id: string,
  keys: readonly KeyringKeyRecord[],
  options: { readonly actor: string; readonly action: string; readonly detail?: string },
): KeyringRecord {
  // Versions go on where a deleted keyring of this id ended: an id and version never name two contents.
  const version = (readHead(tx.database, 'keyrings', id)?.version ?? 0) + 1;
  tx.run(
    'INSERT INTO keyrings (id, version, key_count, keys, create_time) VALUES (?, ?, ?, ?, ?)',
    id,
    version,
    keys.length,
    JSON.stringify(keys),
    tx.now,
  );
  tx.run('DELETE FROM keyrings WHERE id = ? AND version <= ?', id, version - KEPT_VERSIONS);
  setHead(tx, 'keyrings', id, { version, deleted: false });
  const dropped = referenceChanged(tx, `keyrings/${id}`);
  const facts = `${options.detail ?? ''}version ${version}, ${keys.length} keys, ${dropped} verdicts dropped`;
  tx.audit(options.actor, options.action, `keyrings/${id}`, facts);
  return { id, version, keyCount: keys.length, createTime: tx.now, keys };
}

function sorted(keys: readonly KeyringKeyRecord[]): readonly KeyringKeyRecord[] {
  const byFingerprint = new Map(keys.map((key) => [key.fingerprint, key]));
  return [...byFingerprint.values()].toSorted((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1));
}

function toSummary(row: Row): KeyringSummary {
  return {
    id: text(row, 'id'),
    version: integer(row, 'version'),
    keyCount: integer(row, 'key_count'),
    createTime: integer(row, 'create_time'),
  };
}

function toKeyring(row: Row): KeyringRecord {
  return { ...toSummary(row), keys: json(row, 'keys') };
}
