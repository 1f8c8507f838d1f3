import type { AuditRecord, IdentityRecord } from '../records.ts';
import type { IdentityStore } from '../identity-store.ts';
import { type Actor, type Page, type PageRequest, StoreError } from '../store.ts';
import { boolean, type Database, integer, json, type Row, text } from './database.ts';
import { toPage } from './hosts.ts';
import { write } from './transaction.ts';

export function getIdentity(database: Database, name: string): IdentityRecord | null {
  const row = database.get('SELECT * FROM identities WHERE name = ?', name);
  return row === undefined ? null : toIdentity(row);
}

export function listIdentities(database: Database, page: PageRequest): Page<IdentityRecord> {
  const rows = database.all(
    'SELECT * FROM identities WHERE name > ? ORDER BY name LIMIT ?',
    page.after,
    page.limit + 1,
  );
  return toPage(rows.map(toIdentity), page.limit, (identity) => identity.name);
}

export function putIdentity(
  database: Database,
  now: number,
  identity: Parameters<IdentityStore['putIdentity']>[0],
  options: Actor,
): IdentityRecord {
  return write(database, now, (tx) => {
    const before = getIdentity(tx.database, identity.name);
    if (before?.revoked === true) throw new StoreError('wrong_state', `identity ${identity.name} is revoked`);
    const scope = identity.scope ?? before?.scope ?? {};
    const record = { ...identity, scope, createTime: before?.createTime ?? tx.now, revoked: false };
    tx.run(
      `INSERT INTO identities (name, roles, key_sha256, create_time, expire_time, revoked, scope)
        VALUES (?, ?, ?, ?, ?, 0, ?)
        ON CONFLICT DO UPDATE SET roles = excluded.roles, key_sha256 = excluded.key_sha256,
          expire_time = excluded.expire_time, scope = excluded.scope`,
      record.name,
      JSON.stringify(record.roles),
      record.keySha256,
      record.createTime,
      record.expireTime,
      JSON.stringify(record.scope),
    );
    const action = before === null ? 'identity.issue' : 'identity.renew';
    const detail = `roles ${record.roles.join(', ')}, scope ${JSON.stringify(scope)}, key ${record.keySha256}`;
    tx.audit(options.actor, action, `identities/${record.name}`, detail);
    return record;
  });
}

export function revokeIdentity(database: Database, now: number, name: string, options: Actor): IdentityRecord {
  return write(database, now, (tx) => {
    const before = getIdentity(tx.database, name);
    if (before === null) throw new StoreError('not_found', `identity ${name} is not known`);
    if (before.revoked) return before;
    tx.run('UPDATE identities SET revoked = 1 WHERE name = ?', name);
    tx.audit(options.actor, 'identity.revoke', `identities/${name}`);
    return { ...before, revoked: true };
  });
}

export function listAudit(database: Database, after: number, limit: number): readonly AuditRecord[] {
  return database.all('SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?', after, limit).map(toAudit);
}

function toIdentity(row: Row): IdentityRecord {
  return {
    name: text(row, 'name'),
    roles: json(row, 'roles'),
    keySha256: text(row, 'key_sha256'),
    createTime: integer(row, 'create_time'),
    expireTime: integer(row, 'expire_time'),
    revoked: boolean(row, 'revoked'),
    scope: json(row, 'scope'),
  };
}

function toAudit(row: Row): AuditRecord {
  return {
    sequence: integer(row, 'sequence'),
    time: integer(row, 'time'),
    actor: text(row, 'actor'),
    action: text(row, 'action'),
    target: text(row, 'target'),
    detail: text(row, 'detail'),
    hash: text(row, 'hash'),
  };
}
