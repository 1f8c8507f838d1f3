import { isOtherBoot, isReset } from '../enroll-rules.ts';
import { isExpired } from '../own-verdicts.ts';
import type { TrustStatus } from '../records.ts';
import { StoreError, type RoundInput, type RoundMoves } from '../store.ts';
import { shortenBasis } from './bases.ts';
import { type Database, integer, optionalInteger } from './database.ts';
import { getHost, getRoundHost, type RoundHost, saveMoving, saveStanding } from './hosts.ts';
import { dropLog, endBoot, keepBoot, keepLogs } from './logs.ts';
import { holdsRuntime, keepRuntime } from './runtimes.ts';
import {
  auditStatus,
  PRESENT_SQL,
  type Present,
  readPresent,
  readPresentHead,
  type ResultHead,
  toPresent,
  writeConfirmation,
  writeLapse,
  writeRevision,
  writeRevisionHead,
} from './revisions.ts';
import { type Transaction, write } from './transaction.ts';

/** Largest batch of one transaction. */
export const MAX_BATCH = 500;
/** The clock mark is written at least this often while the store is asked to expire results, milliseconds. */
const MARK_INTERVAL = 5000;

/** A judged round as it comes to this thread: the body of its verdict is text already, in which form it is kept. */
export interface RoundMessage extends Omit<RoundInput, 'verdict'> {
  readonly status: TrustStatus;
  readonly verdictJson: string;
}

/** What of the host only the store can tell after a round; the rest is in the round. */
export type StoredMoves = Omit<RoundMoves, 'torn' | 'clock' | 'banks' | 'banksProven' | 'claimed'>;

/** What became of it; the verdict itself the caller has. */
export type RoundAnswer =
  | { readonly outcome: 'changed' | 'confirmed'; readonly result: ResultHead; readonly moved: StoredMoves }
  | { readonly outcome: 'fenced' };

export function commitRounds(database: Database, now: number, rounds: readonly RoundMessage[]): readonly RoundAnswer[] {
  if (rounds.length > MAX_BATCH) throw new StoreError('out_of_range', `a batch holds at most ${MAX_BATCH} rounds`);
  // In the order of hosts, so that two batches never wait for each other's rows; answers in the order of the input.
  const order = rounds.map((_, index) => index).sort((a, b) => compareHosts(rounds[a], rounds[b]));
  const outcomes: RoundAnswer[] = rounds.map(() => ({ outcome: 'fenced' }));
  write(database, now, (tx) => {
    for (const index of order) {
      const round = rounds[index];
      if (round !== undefined) outcomes[index] = commitRound(tx, round);
    }
  });
  return outcomes;
}

function compareHosts(a: RoundMessage | undefined, b: RoundMessage | undefined): number {
  const [left, right] = [a?.hostId ?? '', b?.hostId ?? ''];
  return left < right ? -1 : left > right ? 1 : 0;
}

function commitRound(tx: Transaction, input: RoundMessage): RoundAnswer {
  const before = getRoundHost(tx.database, input.hostId);
  const present = readPresentHead(tx.database, input.hostId);
  if (before === null || present === null || !holdsFence(tx, before, input)) return { outcome: 'fenced' };

  const host = advance(before, input);
  saveMoving(tx, host);
  const whole = host.version === before.version ? null : getHost(tx.database, host.id);
  if (whole !== null) saveStanding(tx, { ...whole, ...host });
  if (isReset(before.clock, input.clock) || (input.boot !== undefined && isOtherBoot(before.clock, input.clock)))
    endBoot(tx, before, present.result);
  else if (isOtherBoot(before.clock, input.clock)) dropLog(tx, host.id, 'ima');
  keepLogs(tx, host.id, input.logs, input.unreadable);
  keepBoot(tx, host.id, input.boot);
  if (input.runtime !== undefined) keepRuntime(tx, host.id, input.runtime);

  const lapseTime = input.challengeTime + input.validity;
  const moved = {
    validUntil: input.status === 'none' ? null : lapseTime,
    challengeTime: input.challengeTime,
    evidenceDigest: input.evidenceDigest,
  };
  if (confirms(present, input, tx.now)) {
    return {
      outcome: 'confirmed',
      result: writeConfirmation(tx, present, { ...moved, lapseTime }),
      moved: movesOf(host),
    };
  }
  const { nodeName, labels } = host;
  const result = writeRevisionHead(
    tx,
    {
      result: { status: input.status, ...moved, hostId: host.id, nodeName, labels, connectivity: 'connected' },
      cause: 'verdict',
      digest: input.verdictDigest,
      lapseTime,
    },
    input.verdictJson,
    present,
  );
  auditStatus(tx, `agent hosts/${host.id}`, present.result, result);
  return { outcome: 'changed', result, moved: movesOf(host) };
}

/** A challenge of the future was drawn by a clock that has been set back since; a verdict that is over must not be told. */
function holdsFence(
  tx: Transaction,
  host: RoundHost,
  { fence, challengeTime, validity, ...input }: RoundMessage,
): boolean {
  return (
    challengeTime <= tx.now &&
    challengeTime + validity > tx.now &&
    [host.tlsKeySha256, host.nextTlsKeySha256].includes(input.tlsKeySha256) &&
    host.state === 'active' &&
    host.version === fence.version &&
    host.round === fence.round &&
    host.akGeneration === fence.akGeneration &&
    tx.epochs.policy === fence.epochs.policy &&
    tx.epochs.endorsement === fence.epochs.endorsement &&
    (input.runtime === undefined || holdsRuntime(tx.database, host.id, input.runtime))
  );
}

/** Whether the round tells nothing but that the present result still holds. */
function confirms(present: Present<ResultHead>, input: RoundMessage, now: number): boolean {
  return (
    input.verdictDigest !== '' &&
    input.verdictDigest === present.digest &&
    input.status === present.result.status &&
    present.result.connectivity === 'connected' &&
    !isExpired(present.result, now)
  );
}

/** The host after the round. Its version counts only what others fence on: findings and TLS keys. */
function advance(host: RoundHost, input: RoundMessage): RoundHost {
  const added = input.findings.filter(
    (finding, at) => !host.findings.includes(finding) && input.findings.indexOf(finding) === at,
  );
  const promoted = input.tlsKeySha256 !== '' && input.tlsKeySha256 === host.nextTlsKeySha256;
  const tlsKeySha256 = promoted ? input.tlsKeySha256 : host.tlsKeySha256;
  const kept = promoted ? '' : host.nextTlsKeySha256;
  const asked = input.nextTlsKeySha256 !== '' && input.nextTlsKeySha256 !== tlsKeySha256;
  const nextTlsKeySha256 = asked ? input.nextTlsKeySha256 : kept;
  const changed = added.length > 0 || promoted || nextTlsKeySha256 !== host.nextTlsKeySha256;
  const streams = input.streamEpoch !== 0;
  return {
    ...host,
    findings: [...host.findings, ...added],
    tlsKeySha256,
    nextTlsKeySha256,
    version: host.version + (changed ? 1 : 0),
    round: host.round + 1,
    torn: 0,
    // A round without a stream leaves the stream to its holder.
    streamEpoch: streams ? input.streamEpoch : host.streamEpoch,
    connected: streams || host.connected,
    clock: input.clock,
    banks: input.banks,
    banksProven: input.banksProven,
    claimed: input.claimed,
  };
}

function movesOf(host: RoundHost): StoredMoves {
  const { version, round, streamEpoch, connected, findings, tlsKeySha256, nextTlsKeySha256 } = host;
  return { version, round, streamEpoch, connected, findings, tlsKeySha256, nextTlsKeySha256 };
}

/** Counts a torn round if it is the host's present one; returns the count. */
export function countTorn(database: Database, now: number, hostId: string, round: number): number {
  return write(database, now, (tx) => {
    const row = tx.database.get('SELECT round, torn FROM host_rounds WHERE host_id = ?', hostId);
    if (row === undefined) throw new StoreError('not_found', `host ${hostId} is not known`);
    if (integer(row, 'round') !== round) return integer(row, 'torn');
    tx.run('UPDATE host_rounds SET torn = torn + 1 WHERE host_id = ?', hostId);
    return integer(row, 'torn') + 1;
  });
}

export function streamLost(database: Database, now: number, hostId: string, streamEpoch: number, grace: number): void {
  write(database, now, (tx) => {
    const held = tx.run(
      'UPDATE host_rounds SET connected = 0 WHERE host_id = ? AND stream_epoch = ? AND connected = 1',
      hostId,
      streamEpoch,
    );
    const present = held === 0 ? null : readPresent(tx.database, hostId);
    if (present === null) return;
    if (isExpired(present.result, tx.now)) {
      writeLapse(tx, present);
      return;
    }
    shortenBasis(tx, hostId, tx.now + grace);
    const { connectivity, validUntil } = present.result;
    const shortened = validUntil === null ? null : Math.min(validUntil, tx.now + grace);
    if (connectivity === 'unreachable' && shortened === validUntil) return;
    writeRevision(
      tx,
      {
        result: { ...present.result, connectivity: 'unreachable', validUntil: shortened },
        cause: 'disconnected',
        digest: present.digest,
        lapseTime: shortened,
      },
      present,
    );
  });
}

export function expireResults(database: Database, now: number, limit: number): number {
  const mark = database.get('SELECT clock_mark FROM counter WHERE id = 1');
  const due = database.get('SELECT min(lapse_time) AS lapse_time FROM results WHERE lapse_time IS NOT NULL');
  const next = due === undefined ? null : optionalInteger(due, 'lapse_time');
  const markIsOld = mark === undefined || integer(mark, 'clock_mark') + MARK_INTERVAL <= now;
  if (!markIsOld && (next === null || next > now)) return 0;
  return write(database, now, (tx) => {
    if (markIsOld) tx.keepMark();
    const rows = tx.database.all(`${PRESENT_SQL} WHERE p.lapse_time <= ? ORDER BY p.host_id LIMIT ?`, tx.now, limit);
    for (const row of rows) writeLapse(tx, toPresent(row));
    return rows.length;
  });
}

/** Every result that can lapse does, in a transaction that has set the clock. */
export function expireAll(tx: Transaction): number {
  const rows = tx.database.all(`${PRESENT_SQL} WHERE p.lapse_time IS NOT NULL ORDER BY p.host_id`);
  for (const row of rows) writeLapse(tx, toPresent(row));
  // Nobody knows any more how old evidence is.
  tx.run('DELETE FROM reappraisals');
  return rows.length;
}
