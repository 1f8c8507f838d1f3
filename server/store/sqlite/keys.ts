import type { KeyRecord } from '../records.ts';
import type { IdentityStore } from '../identity-store.ts';
import { type Actor, StoreError } from '../store.ts';
import { type Database, integer, optionalInteger, type Row, text } from './database.ts';
import { write } from './transaction.ts';

export function listKeys(database: Database, purpose: string): readonly KeyRecord[] {
  return database.all('SELECT * FROM service_keys WHERE purpose = ? ORDER BY version DESC', purpose).map(toKey);
}

export function addKey(
  database: Database,
  now: number,
  key: Parameters<IdentityStore['addKey']>[0],
  options: Actor,
): KeyRecord {
  return write(database, now, (tx) => {
    const newest = listKeys(tx.database, key.purpose)[0]?.version ?? 0;
    const name = `version ${key.version} of key ${key.purpose}`;
    if (key.version <= newest) throw new StoreError('already_exists', `${name} exists`);
    if (key.version !== newest + 1) throw new StoreError('out_of_range', `${name} would leave a gap`);
    const record = { ...key, createTime: tx.now, withdrawTime: null };
    tx.run(
      'INSERT INTO service_keys (purpose, version, certificate, sealed, create_time) VALUES (?, ?, ?, ?, ?)',
      record.purpose,
      record.version,
      record.certificate,
      record.sealed,
      record.createTime,
    );
    tx.audit(options.actor, 'key.add', `keys/${key.purpose}/${key.version}`);
    return record;
  });
}

export function withdrawKey(
  database: Database,
  now: number,
  purpose: string,
  version: number,
  options: Actor,
): KeyRecord {
  return write(database, now, (tx) => {
    const records = listKeys(tx.database, purpose);
    const record = records.find((each) => each.version === version);
    const name = `version ${version} of key ${purpose}`;
    if (record === undefined) throw new StoreError('not_found', `${name} is not known`);
    if (record === records[0]) throw new StoreError('wrong_state', `${name} is the newest: make another one first`);
    if (record.withdrawTime !== null) return record;
    tx.run('UPDATE service_keys SET withdraw_time = ? WHERE purpose = ? AND version = ?', tx.now, purpose, version);
    tx.audit(options.actor, 'key.withdraw', `keys/${purpose}/${version}`);
    return { ...record, withdrawTime: tx.now };
  });
}

function toKey(row: Row): KeyRecord {
  return {
    purpose: text(row, 'purpose'),
    version: integer(row, 'version'),
    certificate: text(row, 'certificate'),
    sealed: text(row, 'sealed'),
    createTime: integer(row, 'create_time'),
    withdrawTime: optionalInteger(row, 'withdraw_time'),
  };
}
