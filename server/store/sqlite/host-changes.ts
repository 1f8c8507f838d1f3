import { matchesLabels, resolvePolicy, sameResolution } from '../attachment.ts';
import { takeAk } from '../enroll-rules.ts';
import { awaitingVerdict, isExpired, revokedVerdict } from '../own-verdicts.ts';
import type { HostRecord, Labels } from '../records.ts';
import { type Actor, type HostActor, type HostStore, StoreError } from '../store.ts';
import type { Database } from './database.ts';
import { writeAkReplaced, writeOwnVerdict } from './enrollment.ts';
import { akOwners, anyBanned, ekOwners, findHost, pendingBefore, removeHost, saveHost } from './hosts.ts';
import { attachedPolicies } from './policies.ts';
import { dropVerdict, readPresent, writeLapse, writeRemoval, writeRevision } from './revisions.ts';
import { type Transaction, write } from './transaction.ts';

type Change = Parameters<HostStore['updateHost']>[1];

export function updateHost(
  database: Database,
  now: number,
  id: string,
  change: Change,
  options: HostActor & { readonly version: number | null },
): HostRecord {
  return write(database, now, (tx) => {
    const before = needHost(tx, id, options.scope);
    if (options.version !== null && options.version !== before.version) throw versionMismatch(before);
    return changeHost(tx, before, change, options);
  });
}

function changeHost(tx: Transaction, before: HostRecord, change: Change, { actor, scope }: HostActor): HostRecord {
  const { id } = before;
  const labels = change.labels ?? before.labels;
  const nodeName = change.nodeName ?? before.nodeName;
  const trustPolicy = change.trustPolicy ?? before.trustPolicy;
  const renamed = nodeName !== before.nodeName;
  const namesChanged = renamed || !sameLabels(labels, before.labels);
  if (!namesChanged && trustPolicy === before.trustPolicy) return before;
  if (!matchesLabels(labels, scope))
    throw new StoreError('out_of_scope', `with these labels host ${id} would be out of your scope`);
  if (renamed) needFreeName(tx, id, nodeName);

  const host = { ...before, labels, nodeName, trustPolicy, version: before.version + 1 };
  saveHost(tx, host);
  const policies = attachedPolicies(tx.database);
  const resolved = resolvePolicy(host, policies);
  const namesJudged = namesChanged && resolved.kind === 'policy' && resolved.policy.attachment.judgesNames === true;
  const judgedAlike = !namesJudged && sameResolution(resolvePolicy(before, policies), resolved);
  writeNames(tx, host, { namesChanged, drop: !judgedAlike && host.state === 'active' });
  const fields = Object.keys(change).sort().join(', ');
  tx.audit(actor, 'host.update', `hosts/${id}`, fields);
  return host;
}

/** Labels and name are part of the host's result, by which watches filter. */
function writeNames(
  tx: Transaction,
  host: HostRecord,
  change: { readonly namesChanged: boolean; readonly drop: boolean },
): void {
  const present = readPresent(tx.database, host.id);
  if (present === null) return;
  const { nodeName, labels } = host;
  if (change.drop && dropVerdict(tx, present, { nodeName, labels })) return;
  if (!change.namesChanged) return;
  if (isExpired(present.result, tx.now)) {
    writeLapse(tx, present);
    writeNames(tx, host, change);
    return;
  }
  const { digest, lapseTime } = present;
  writeRevision(tx, { result: { ...present.result, nodeName, labels }, cause: 'updated', digest, lapseTime }, present);
}

export function approveHost(
  database: Database,
  now: number,
  id: string,
  options: Parameters<HostStore['approveHost']>[1],
): HostRecord {
  return write(database, now, (tx) => {
    const before = needHost(tx, id, options.scope);
    if (before.version !== options.expectedVersion) throw versionMismatch(before);
    if (before.state === 'revoked') throw new StoreError('wrong_state', `host ${id} is revoked`);
    const waits = before.state === 'pending' || before.pendingAk !== null;
    // The replacement that this very call approves stands until it is acknowledged in a call of its own.
    const acknowledges =
      options.acknowledgeFindings && before.pendingAk === null && before.findings.includes('AK_REPLACED');
    if (!waits && !acknowledges) throw new StoreError('wrong_state', `host ${id} has nothing to approve`);

    const approved = approvedHost(tx, before, { acknowledges, akCertificate: options.akCertificate });
    if (before.pendingAk !== null) {
      writeAkReplaced(tx, approved);
    } else {
      saveHost(tx, approved);
      if (before.state === 'pending') writeOwnVerdict(tx, approved, awaitingVerdict(approved), 'approved');
      else retell(tx, id);
    }
    const detail = [
      before.state === 'pending' ? 'admitted' : '',
      before.pendingAk === null ? '' : `ak ${approved.ak.name} takes effect`,
      acknowledges ? 'AK_REPLACED acknowledged' : '',
    ];
    tx.audit(options.actor, 'host.approve', `hosts/${id}`, detail.filter((part) => part !== '').join(', '));
    return approved;
  });
}

/** The verdict stands until the host is judged anew; the revision wakes its stream for that. */
function retell(tx: Transaction, id: string): void {
  const present = readPresent(tx.database, id);
  if (present === null) return;
  const { result, digest, lapseTime } = present;
  writeRevision(tx, { result, cause: 'approved', digest, lapseTime }, present);
}

function approvedHost(
  tx: Transaction,
  before: HostRecord,
  options: { readonly acknowledges: boolean; readonly akCertificate: string },
): HostRecord {
  const { pendingAk } = before;
  if (pendingAk !== null) needFreeAk(tx, before.id, pendingAk);
  const host = pendingAk === null ? { ...before, version: before.version + 1 } : takeAk(before, pendingAk);
  return {
    ...host,
    state: 'active',
    ak: options.akCertificate === '' ? host.ak : { ...host.ak, certificate: options.akCertificate },
    findings: options.acknowledges ? host.findings.filter((finding) => finding !== 'AK_REPLACED') : host.findings,
  };
}

/** While an AK waited, its EKs may have been banned or become another host's. */
function needFreeAk(tx: Transaction, id: string, pending: NonNullable<HostRecord['pendingAk']>): void {
  const fingerprints = pending.eks.map((ek) => ek.fingerprint);
  const owners = [...ekOwners(tx.database, fingerprints), ...akOwners(tx.database, pending.ak.name)];
  if (anyBanned(tx.database, fingerprints) || owners.some((owner) => owner !== id)) {
    throw new StoreError('wrong_state', `the key that waits at host ${id} is banned or belongs to another host`);
  }
}

export function revokeHost(
  database: Database,
  now: number,
  id: string,
  options: HostActor & { readonly reason: string },
): HostRecord {
  return write(database, now, (tx) => banHost(tx, needHost(tx, id, options.scope), options));
}

function banHost(tx: Transaction, before: HostRecord, options: HostActor & { readonly reason: string }): HostRecord {
  if (before.state === 'revoked') return before;
  const { id } = before;
  const host: HostRecord = { ...before, state: 'revoked', pendingAk: null, version: before.version + 1 };
  saveHost(tx, host);
  for (const fingerprint of bannedWith(tx, before)) {
    tx.run(
      'INSERT INTO bans (fingerprint, host_id, time) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
      fingerprint,
      id,
      tx.now,
    );
  }
  writeOwnVerdict(tx, host, revokedVerdict(host), 'revoked');
  tx.audit(options.actor, 'host.revoke', `hosts/${id}`, options.reason);
  return host;
}

/** What an operator has given a host goes over to the machine in its place; the former one is banned. */
export function replaceHost(
  database: Database,
  now: number,
  id: string,
  replacement: string,
  options: HostActor & { readonly reason: string },
): HostRecord {
  return write(database, now, (tx) => {
    const former = needHost(tx, id, options.scope);
    const next = needHost(tx, replacement, options.scope);
    if (id === replacement) throw new StoreError('wrong_state', `host ${id} cannot take its own place`);
    if (next.state === 'revoked') throw new StoreError('wrong_state', `host ${replacement} is revoked`);
    const { labels, nodeName, trustPolicy } = former;
    // Banned in the same transaction: no scope holds it back.
    const bare = changeHost(tx, former, { labels: {}, nodeName: '', trustPolicy: '' }, { ...options, scope: {} });
    banHost(tx, bare, options);
    const host = changeHost(tx, next, { labels, nodeName, trustPolicy }, options);
    tx.audit(options.actor, 'host.replace', `hosts/${id}`, `by hosts/${replacement}: ${options.reason}`);
    return host;
  });
}

/** EKs of a host and those that were proven beside them with an AK that waits, unless they are another host's. */
function bannedWith(tx: Transaction, host: HostRecord): readonly string[] {
  const waiting = (host.pendingAk?.eks ?? []).map((ek) => ek.fingerprint);
  const free = waiting.filter((fingerprint) =>
    ekOwners(tx.database, [fingerprint]).every((owner) => owner === host.id),
  );
  return [...new Set([...host.eks.map((ek) => ek.fingerprint), ...free])];
}

export function deleteHost(database: Database, now: number, id: string, options: HostActor): void {
  write(database, now, (tx) => {
    const host = needHost(tx, id, options.scope);
    forgetHost(tx, host);
    const lifted = tx.run('DELETE FROM bans WHERE host_id = ?', id);
    const detail = lifted > 0 ? `${host.state}, ban of ${lifted} endorsement keys lifted` : host.state;
    tx.audit(options.actor, 'host.delete', `hosts/${id}`, detail);
  });
}

/** Who watches hears of it. */
function forgetHost(tx: Transaction, host: HostRecord): void {
  const present = readPresent(tx.database, host.id);
  if (present !== null) writeRemoval(tx, present);
  removeHost(tx, host);
}

/** Hosts that one transaction lets lapse, so that rounds need not wait long. */
export const LAPSE_BATCH = 200;

/** Deletes one batch of the hosts that have waited for approval since before a time; returns how many. */
export function lapsePending(database: Database, now: number, before: number, { actor }: Actor): number {
  return write(database, now, (tx) => {
    const lapsed = pendingBefore(tx.database, before, LAPSE_BATCH).map((id) => needHost(tx, id, {}));
    for (const host of lapsed) {
      forgetHost(tx, host);
      tx.audit(actor, 'host.lapse', `hosts/${host.id}`, 'was not approved in time');
    }
    return lapsed.length;
  });
}

/** One outside of the actor's scope is not there, with the same words. */
function needHost(tx: Transaction, id: string, scope: Labels): HostRecord {
  const host = findHost(tx.database, id, scope);
  if (host === null) throw new StoreError('not_found', `host ${id} is not known`);
  return host;
}

function needFreeName(tx: Transaction, id: string, nodeName: string): void {
  if (nodeName === '') return;
  const holder = tx.database.get('SELECT id FROM hosts WHERE node_name = ? AND id <> ?', nodeName, id);
  if (holder !== undefined) throw new StoreError('already_exists', `another host has the node name ${nodeName}`);
}

function versionMismatch(host: HostRecord): StoreError {
  return new StoreError('etag_mismatch', `host ${host.id} has changed; it is at version ${host.version}`);
}

function sameLabels(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}
