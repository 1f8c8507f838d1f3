import type { FormerHost } from '../enroll-rules.ts';
import type { EkRecord, HostRecord, HostState, Labels } from '../records.ts';
import type { HostFilter } from '../filters.ts';
import type { EkOwner, Page, PageRequest } from '../store.ts';
import { boolean, type Database, integer, json, optionalJson, type Row, text } from './database.ts';
import type { Transaction } from './transaction.ts';
import { walkEnd, walkOn } from './walk.ts';

/** What of a host changes with its version only. */
type Standing = Omit<HostRecord, keyof Moving>;
/** What of it no round looks at: certificates are large. */
type Certified = Pick<HostRecord, 'eks' | 'ak' | 'pendingAk'>;
/** A host as rounds need it. */
export type RoundHost = Omit<HostRecord, keyof Certified>;
export type RoundStanding = Omit<Standing, keyof Certified>;
/** What each round moves. */
type Moving = Pick<
  HostRecord,
  'round' | 'streamEpoch' | 'connected' | 'torn' | 'banks' | 'banksProven' | 'clock' | 'claimed'
>;

const MAX_CACHED = 10_000;

/**
 * What rounds need of the standing parts, by host id: parsed once for each version. This process alone writes the database, so
 * that a version names one content; what a rolled back transaction may have left is dropped with {@link forgetHosts}.
 */
const cache = new Map<string, RoundStanding>();

export function forgetHosts(): void {
  cache.clear();
}

const MOVING =
  'r.round, r.stream_epoch, r.connected, r.torn, r.banks_proven, r.banks AS banks, r.clock AS clock, r.claimed AS claimed';

export function getHost(database: Database, id: string): HostRecord | null {
  const row = database.get(
    `SELECT h.*, ${MOVING} FROM hosts h JOIN host_rounds r ON r.host_id = h.id WHERE h.id = ?`,
    id,
  );
  return row === undefined ? null : { ...toStanding(row), ...toMoving(row) };
}

/** The same without what no round looks at. */
export function getRoundHost(database: Database, id: string): RoundHost | null {
  const row = database.get(
    `SELECT h.version, ${MOVING} FROM hosts h JOIN host_rounds r ON r.host_id = h.id WHERE h.id = ?`,
    id,
  );
  if (row === undefined) return null;
  const standing = getRoundStanding(database, id, integer(row, 'version'));
  return standing === null ? null : { ...standing, ...toMoving(row) };
}

/** What of it changes with its version only; `version` is the present one. */
export function getRoundStanding(database: Database, id: string, version: number): RoundStanding | null {
  const known = cache.get(id);
  if (known?.version === version) return known;
  const whole = database.get('SELECT * FROM hosts WHERE id = ?', id);
  if (whole === undefined) return null;
  const standing = toRoundStanding(whole);
  if (cache.size >= MAX_CACHED) cache.clear();
  cache.set(id, standing);
  return standing;
}

/** Its labels are looked at before anything else is read: what is outside of the scope costs as little as what is not there. */
export function findHost(database: Database, id: string, scope: Labels): HostRecord | null {
  const row = database.get(
    `SELECT h.id FROM hosts h WHERE h.id = ?1 AND ${matchLabelsSql('h.labels', '?2')}`,
    id,
    JSON.stringify(scope),
  );
  return row === undefined ? null : getHost(database, id);
}

export function listHosts(database: Database, page: PageRequest, filter: HostFilter): Page<HostRecord> {
  const end = walkEnd(database, 'hosts', page);
  const rows = database.all(
    `SELECT h.*, ${MOVING} FROM hosts h JOIN host_rounds r ON r.host_id = h.id
      WHERE h.id > ?1
        AND (?2 = '[]' OR h.state IN (SELECT value FROM json_each(?2)))
        AND (?3 = '{}' OR ${matchLabelsSql('h.labels', '?3')})
        AND (?4 = '{}' OR ${matchLabelsSql('h.labels', '?4')})
        AND (?6 IS NULL OR h.id <= ?6)
      ORDER BY h.id LIMIT ?5`,
    page.after,
    JSON.stringify(filter.states),
    JSON.stringify(filter.matchLabels),
    JSON.stringify(filter.scope),
    page.limit + 1,
    end,
  );
  const hosts = rows.map((row) => ({ ...toStanding(row), ...toMoving(row) }));
  return walkOn(
    toPage(hosts, page.limit, ({ id }) => id),
    end,
  );
}

/** Hosts that wait for approval. */
export function countPending(database: Database): number {
  const row = database.get("SELECT count(*) AS count FROM hosts WHERE state = 'pending'");
  return row === undefined ? 0 : integer(row, 'count');
}

/** Of the hosts that wait for approval those that were made before a time, at most so many, the oldest first. */
export function pendingBefore(database: Database, time: number, limit: number): readonly string[] {
  return database
    .all("SELECT id FROM hosts WHERE state = 'pending' AND create_time < ? ORDER BY create_time LIMIT ?", time, limit)
    .map((row) => text(row, 'id'));
}

/** SQL that holds where a column of labels has every pair of a JSON object. Both are literals of this room. */
export function matchLabelsSql(column: string, wanted: string): string {
  return `NOT EXISTS (SELECT 1 FROM json_each(${wanted}) AS wanted WHERE NOT EXISTS (
    SELECT 1 FROM json_each(${column}) AS label WHERE label.key = wanted.key AND label.value = wanted.value))`;
}

/** A page out of items that were read with one more than its limit. */
export function toPage<T>(items: readonly T[], limit: number, key: (item: T) => string): Page<T> {
  const kept = items.slice(0, limit);
  const last = kept.at(-1);
  return { items: kept, next: items.length > limit && last !== undefined ? key(last) : null };
}

export function findByEks(database: Database, fingerprints: readonly string[]): EkOwner {
  if (anyBanned(database, fingerprints)) return { owner: 'banned' };
  const owners = ekOwners(database, fingerprints);
  const [owner] = owners;
  if (owner === undefined) return { owner: 'nobody' };
  if (owners.length > 1) return { owner: 'conflict' };
  const host = getHost(database, owner);
  return host === null ? { owner: 'nobody' } : { owner: 'host', host };
}

/** Ids of the hosts that hold any of the EKs, each once, ascending. */
export function ekOwners(database: Database, fingerprints: readonly string[]): readonly string[] {
  return database
    .all(
      'SELECT DISTINCT host_id FROM eks WHERE fingerprint IN (SELECT value FROM json_each(?)) ORDER BY host_id',
      JSON.stringify(fingerprints),
    )
    .map((row) => text(row, 'host_id'));
}

export function anyBanned(database: Database, fingerprints: readonly string[]): boolean {
  const row = database.get(
    'SELECT 1 FROM bans WHERE fingerprint IN (SELECT value FROM json_each(?)) LIMIT 1',
    JSON.stringify(fingerprints),
  );
  return row !== undefined;
}

/** Host that has the AK, or that waits for approval to have it; null when none. */
export function akOwners(database: Database, akName: string): readonly string[] {
  return database
    .all('SELECT id FROM hosts WHERE ak_name = ?1 UNION SELECT id FROM hosts WHERE pending_ak_name = ?1', akName)
    .map((row) => text(row, 'id'));
}

export function insertHost(tx: Transaction, host: HostRecord): void {
  tx.run(
    `INSERT INTO hosts (version, state, node_name, trust_policy, ak_name, ak_generation, pending_ak_name, labels, tls_key,
      next_tls_key, admission, create_time, enroll_time, findings, eks, ak, pending_ak, id)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ...standingValues(host),
  );
  tx.run(
    `INSERT INTO host_rounds (round, stream_epoch, connected, torn, banks_proven, banks, clock, claimed, host_id)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ...movingValues(host),
  );
  recordEks(tx, host);
}

/** Writes a host whose version the caller has raised, with everything that belongs to it. */
export function saveHost(tx: Transaction, host: HostRecord): void {
  saveStanding(tx, host);
  saveMoving(tx, host);
  recordEks(tx, host);
}

export function saveStanding(tx: Transaction, host: HostRecord): void {
  tx.run(
    `UPDATE hosts SET version = ?, state = ?, node_name = ?, trust_policy = ?, ak_name = ?, ak_generation = ?,
      pending_ak_name = ?, labels = ?, tls_key = ?, next_tls_key = ?, admission = ?, create_time = ?, enroll_time = ?,
      findings = ?, eks = ?, ak = ?, pending_ak = ? WHERE id = ?`,
    ...standingValues(host),
  );
}

export function saveMoving(tx: Transaction, host: RoundHost): void {
  tx.run(
    `UPDATE host_rounds SET round = ?, stream_epoch = ?, connected = ?, torn = ?, banks_proven = ?, banks = ?, clock = ?,
      claimed = ? WHERE host_id = ?`,
    ...movingValues(host),
  );
}

/** What was judged or read of a host that was deleted must not hold for one that enrols under its id: its counts go on. */
export function removeHost(tx: Transaction, { id, version, akGeneration }: HostRecord): void {
  tx.run('DELETE FROM hosts WHERE id = ?', id);
  tx.run(
    `INSERT INTO former_hosts (id, version, ak_generation) VALUES (?, ?, ?)
      ON CONFLICT (id) DO UPDATE SET version = excluded.version, ak_generation = excluded.ak_generation`,
    id,
    version,
    akGeneration,
  );
  cache.delete(id);
}

/** Where the counts of a deleted host of this id ended; null when there was none. */
export function formerHost(database: Database, id: string): FormerHost | null {
  const row = database.get('SELECT version, ak_generation FROM former_hosts WHERE id = ?', id);
  return row === undefined ? null : { version: integer(row, 'version'), akGeneration: integer(row, 'ak_generation') };
}

function recordEks(tx: Transaction, host: HostRecord): void {
  for (const ek of host.eks) {
    tx.run('INSERT INTO eks (fingerprint, host_id) VALUES (?, ?) ON CONFLICT DO NOTHING', ek.fingerprint, host.id);
  }
}

function standingValues(host: HostRecord): (string | number | null)[] {
  return [
    host.version,
    host.state,
    host.nodeName,
    host.trustPolicy,
    host.ak.name,
    host.akGeneration,
    host.pendingAk?.ak.name ?? null,
    JSON.stringify(host.labels),
    host.tlsKeySha256,
    host.nextTlsKeySha256,
    host.admission,
    host.createTime,
    host.enrollTime,
    JSON.stringify(host.findings),
    JSON.stringify(host.eks),
    JSON.stringify(host.ak),
    host.pendingAk === null ? null : JSON.stringify(host.pendingAk),
    host.id,
  ];
}

function movingValues(host: RoundHost): (string | number)[] {
  return [
    host.round,
    host.streamEpoch,
    host.connected ? 1 : 0,
    host.torn,
    host.banksProven ? 1 : 0,
    JSON.stringify(host.banks),
    JSON.stringify(host.clock),
    JSON.stringify(host.claimed),
    host.id,
  ];
}

function toStanding(row: Row): Standing {
  return {
    ...toRoundStanding(row),
    eks: json<EkRecord[]>(row, 'eks'),
    ak: json(row, 'ak'),
    pendingAk: optionalJson(row, 'pending_ak'),
  };
}

function toRoundStanding(row: Row): RoundStanding {
  return {
    id: text(row, 'id'),
    version: integer(row, 'version'),
    state: text(row, 'state') as HostState,
    nodeName: text(row, 'node_name'),
    labels: json(row, 'labels'),
    trustPolicy: text(row, 'trust_policy'),
    akGeneration: integer(row, 'ak_generation'),
    tlsKeySha256: text(row, 'tls_key'),
    nextTlsKeySha256: text(row, 'next_tls_key'),
    admission: text(row, 'admission') as HostRecord['admission'],
    createTime: integer(row, 'create_time'),
    enrollTime: integer(row, 'enroll_time'),
    findings: json<string[]>(row, 'findings'),
  };
}

function toMoving(row: Row): Moving {
  return {
    round: integer(row, 'round'),
    streamEpoch: integer(row, 'stream_epoch'),
    connected: boolean(row, 'connected'),
    torn: integer(row, 'torn'),
    banks: json(row, 'banks'),
    banksProven: boolean(row, 'banks_proven'),
    clock: json(row, 'clock'),
    claimed: json(row, 'claimed'),
  };
}
