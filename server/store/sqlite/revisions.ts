import { expiredResult, inputChangedVerdict, isExpired } from '../own-verdicts.ts';
import type { Change, ChangeCause, ResultRecord, TrustStatus, Verdict } from '../records.ts';
import { basisAfter, dropBasis, dueAgain, setBasis } from './bases.ts';
import { boolean, type Database, integer, json, optionalInteger, optionalJson, type Row, text } from './database.ts';
import type { Transaction } from './transaction.ts';

/** A result without what was found in particular: that is large, and most rounds only confirm it. */
export type ResultHead = Omit<ResultRecord, Exclude<keyof Verdict, 'status'>>;

/** A host's present result as it is written, expired or not. */
export interface Present<R extends ResultHead = ResultRecord> {
  readonly result: R;
  /** What a round's digest must equal to confirm it; '' when nothing can. */
  readonly digest: string;
  /** When the host counts as unreachable without another round; null when it does already. */
  readonly lapseTime: number | null;
}

/** A result that becomes a revision. */
export interface NewResult<R extends ResultHead = ResultRecord> {
  /** Its revision, revision time and confirmations are set when it is written. */
  readonly result: Omit<R, 'revision' | 'revisionTime' | 'confirmations'>;
  readonly cause: ChangeCause;
  readonly digest: string;
  readonly lapseTime: number | null;
}

/**
 * Columns of a result. What confirmations move comes from `results` while the revision is present, and from its own row once
 * another has taken its place.
 */
const HEAD_COLUMNS = `c.revision, c.host_id, c.cause, c.time, c.status, c.connectivity, c.node_name, c.labels,
  CASE WHEN p.revision IS NULL THEN c.valid_until ELSE p.valid_until END AS valid_until,
  coalesce(p.confirmations, c.confirmations) AS confirmations,
  coalesce(p.challenge_time, c.challenge_time) AS challenge_time,
  coalesce(p.evidence_digest, c.evidence_digest) AS evidence_digest`;

/** Id of the policy behind the verdict of a change `c`; '' when there is none. */
export const POLICY_ID_SQL = "json_extract(c.verdict, '$.policyId')";
type KeptVerdict = Omit<Verdict, 'status' | 'endorsementVersion'> & Partial<Pick<Verdict, 'endorsementVersion'>>;

/** Present results, one row a host. */
export const PRESENT_SQL = `SELECT ${HEAD_COLUMNS}, c.verdict, p.verdict_digest, p.lapse_time, p.status_time
  FROM results p JOIN changes c ON c.revision = p.revision`;
/** Every kept revision. */
export const CHANGES_SQL = `SELECT ${HEAD_COLUMNS}, c.verdict, c.prior_status, c.prior_labels, c.prior_policy_id,
    p.revision IS NOT NULL AS present,
    c.prior_status IS NOT NULL AND coalesce((SELECT coalesce(f.valid_until, c.time + 1) FROM changes f
      WHERE f.host_id = c.host_id AND f.revision < c.revision ORDER BY f.revision DESC LIMIT 1), 0) <= c.time AS prior_lapsed
  FROM changes c LEFT JOIN results p ON p.revision = c.revision`;

export function readPresent(database: Database, hostId: string): Present | null {
  const row = database.get(`${PRESENT_SQL} WHERE p.host_id = ?`, hostId);
  return row === undefined ? null : toPresent(row);
}

/** The same without the body of its verdict. */
export function readPresentHead(database: Database, hostId: string): Present<ResultHead> | null {
  const row = database.get(
    `SELECT ${HEAD_COLUMNS}, p.verdict_digest, p.lapse_time
      FROM results p JOIN changes c ON c.revision = p.revision WHERE p.host_id = ?`,
    hostId,
  );
  if (row === undefined) return null;
  return {
    result: toHead(row),
    digest: text(row, 'verdict_digest'),
    lapseTime: optionalInteger(row, 'lapse_time'),
  };
}

export function toPresent(row: Row): Present {
  return { result: toResult(row), digest: text(row, 'verdict_digest'), lapseTime: optionalInteger(row, 'lapse_time') };
}

export function toChange(row: Row): Change {
  const status = row['prior_status'];
  const labels = optionalJson<Record<string, string>>(row, 'prior_labels');
  return {
    revision: integer(row, 'revision'),
    hostId: text(row, 'host_id'),
    cause: text(row, 'cause') as ChangeCause,
    result: toResult(row),
    present: boolean(row, 'present'),
    prior:
      typeof status === 'string' && labels !== null
        ? {
            labels,
            status: status as TrustStatus,
            policyId: text(row, 'prior_policy_id'),
            lapsed: boolean(row, 'prior_lapsed'),
          }
        : null,
  };
}

export function toResult(row: Row): ResultRecord {
  // Verdicts of earlier releases did not say which endorsements they rest on.
  return { endorsementVersion: 0, ...json<KeptVerdict>(row, 'verdict'), ...toHead(row) };
}

function toHead(row: Row): ResultHead {
  return {
    status: text(row, 'status') as TrustStatus,
    hostId: text(row, 'host_id'),
    revision: integer(row, 'revision'),
    evidenceDigest: text(row, 'evidence_digest'),
    challengeTime: integer(row, 'challenge_time'),
    validUntil: optionalInteger(row, 'valid_until'),
    confirmations: integer(row, 'confirmations'),
    connectivity: text(row, 'connectivity') as ResultRecord['connectivity'],
    nodeName: text(row, 'node_name'),
    labels: json(row, 'labels'),
    revisionTime: integer(row, 'time'),
  };
}

/** Writes a revision: the change that history and watches read, and the host's present result. */
export function writeRevision(tx: Transaction, next: NewResult, present: Present | null): void {
  writeRevisionHead(tx, next, verdictJson(next.result), present);
}

/** The same with the body of the verdict as {@link verdictJson} writes it. */
export function writeRevisionHead(
  tx: Transaction,
  next: NewResult<ResultHead>,
  verdict: string,
  present: Present<ResultHead> | null,
): ResultHead {
  const result = writeChange(tx, next, verdict, present);
  // An expiry may be written long after it was one.
  const ended = next.cause === 'expired' ? (present?.result.validUntil ?? tx.now) : tx.now;
  tx.run(
    `INSERT INTO results (host_id, revision, status, status_time, verdict_digest, valid_until, lapse_time, confirmations,
        confirmation, challenge_time, evidence_digest, connectivity)
      VALUES (?, ?, ?, ?, ?, ?, ?, 0, NULL, ?, ?, ?)
      ON CONFLICT (host_id) DO UPDATE SET revision = excluded.revision, status = excluded.status,
        status_time = CASE WHEN status = excluded.status THEN status_time ELSE excluded.status_time END,
        verdict_digest = excluded.verdict_digest, valid_until = excluded.valid_until, lapse_time = excluded.lapse_time,
        confirmations = 0, confirmation = NULL, challenge_time = excluded.challenge_time,
        evidence_digest = excluded.evidence_digest, connectivity = excluded.connectivity`,
    result.hostId,
    result.revision,
    result.status,
    Math.min(ended, tx.now),
    next.digest,
    result.validUntil,
    next.lapseTime,
    result.challengeTime,
    result.evidenceDigest,
    result.connectivity,
  );
  return result;
}

/** A status that changes is a change of trust. */
export function auditStatus(tx: Transaction, actor: string, before: ResultHead, after: ResultHead): void {
  if (before.status === after.status) return;
  const detail = `${before.status} to ${after.status} at revision ${after.revision}`;
  tx.audit(actor, 'result.change', `hosts/${after.hostId}`, detail);
}

/** Writes that a host is gone, with its last result; the caller removes the host and with it the present result. */
export function writeRemoval(tx: Transaction, present: Present): void {
  writeChange(tx, { ...present, cause: 'deleted' }, verdictJson(present.result), present);
}

function writeChange(
  tx: Transaction,
  next: NewResult<ResultHead>,
  verdict: string,
  present: Present<ResultHead> | null,
): ResultHead {
  if (present !== null && present.result.confirmations > 0) {
    keepConfirmations(tx, present.result);
    dropConfirmedBasis(tx, present.result);
  }
  const result: ResultHead = {
    ...next.result,
    revision: tx.nextRevision(),
    revisionTime: tx.now,
    confirmations: next.cause === 'deleted' ? (present?.result.confirmations ?? 0) : 0,
  };
  tx.run(
    `INSERT INTO changes (revision, host_id, cause, time, status, connectivity, valid_until, confirmations, challenge_time,
        evidence_digest, node_name, labels, prior_status, prior_labels, prior_policy_id, verdict)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT ${POLICY_ID_SQL} FROM changes c WHERE c.revision = ?), ?)`,
    result.revision,
    result.hostId,
    next.cause,
    result.revisionTime,
    result.status,
    result.connectivity,
    result.validUntil,
    result.confirmations,
    result.challengeTime,
    result.evidenceDigest,
    result.nodeName,
    JSON.stringify(result.labels),
    present?.result.status ?? null,
    present === null ? null : JSON.stringify(present.result.labels),
    present?.result.revision ?? null,
    verdict,
  );
  basisAfter(tx, result.hostId, next.cause);
  return result;
}

/** What confirmed a verdict that was made anew is other evidence than it was made from, and newer. */
function dropConfirmedBasis(tx: Transaction, { hostId, confirmations }: ResultHead): void {
  if (confirmations > 0) dropBasis(tx, hostId);
}

/** What confirmations moved stays with the revision when another takes its place. */
function keepConfirmations(tx: Transaction, former: ResultHead): void {
  tx.run(
    'UPDATE changes SET valid_until = ?, confirmations = ?, challenge_time = ?, evidence_digest = ? WHERE revision = ?',
    former.validUntil,
    former.confirmations,
    former.challengeTime,
    former.evidenceDigest,
    former.revision,
  );
}

/** Moves the validity of the present result of a host without a revision. */
export function writeConfirmation(
  tx: Transaction,
  hostId: string,
  confirmed: Pick<ResultRecord, 'validUntil' | 'challengeTime' | 'evidenceDigest' | 'confirmations'> & {
    readonly lapseTime: number;
  },
): void {
  tx.run(
    `UPDATE results SET valid_until = ?, lapse_time = ?, confirmations = ?, confirmation = ?, challenge_time = ?,
      evidence_digest = ? WHERE host_id = ?`,
    confirmed.validUntil,
    confirmed.lapseTime,
    confirmed.confirmations,
    // Where nothing lapses there is no validity to tell a watch about.
    confirmed.validUntil === null ? null : tx.nextConfirmation(),
    confirmed.challengeTime,
    confirmed.evidenceDigest,
    hostId,
  );
}

/** Writes that time ran out: the verdict falls, or, where there was none to fall, the host counts as unreachable. */
export function writeLapse(tx: Transaction, present: Present): void {
  const ended = present.result.validUntil !== null;
  const result = ended ? expiredResult(present.result) : { ...present.result, connectivity: 'unreachable' as const };
  const digest = ended ? '' : present.digest;
  writeRevision(tx, { result, cause: ended ? 'expired' : 'disconnected', digest, lapseTime: null }, present);
  dropBasis(tx, result.hostId);
  markUnreachable(tx, result.hostId);
}

/**
 * Drops the verdict of a host because what it was judged by changed. Returns whether there was one to lose; `whenNone` also takes
 * a result that is NONE.
 */
export function dropVerdict(
  tx: Transaction,
  present: Present,
  options: Partial<Pick<ResultRecord, 'nodeName' | 'labels'>> & { readonly whenNone?: boolean } = {},
): boolean {
  dropConfirmedBasis(tx, present.result);
  if (present.result.status === 'none' && options.whenNone !== true) {
    dueAgain(tx, present.result.hostId);
    return false;
  }
  const { nodeName = present.result.nodeName, labels = present.result.labels } = options;
  const lapsed = isExpired(present.result, tx.now);
  const result = {
    ...present.result,
    ...inputChangedVerdict(present.result),
    nodeName,
    labels,
    evidenceDigest: '',
    challengeTime: 0,
    validUntil: null,
    connectivity: lapsed ? ('unreachable' as const) : present.result.connectivity,
  };
  const lapseTime = lapsed ? null : present.lapseTime;
  writeRevision(tx, { result, cause: 'input_changed', digest: '', lapseTime }, present);
  const rests = present.result.challengeTime > 0 && lapseTime !== null;
  if (!dueAgain(tx, result.hostId) && rests) setBasis(tx, result.hostId, present.result.revision, lapseTime);
  if (lapsed) markUnreachable(tx, result.hostId);
  return true;
}

function markUnreachable(tx: Transaction, hostId: string): void {
  tx.run('UPDATE host_rounds SET connected = 0 WHERE host_id = ?', hostId);
}

/** The body of a verdict as it is kept; its status has a column. */
export function verdictJson(verdict: Omit<Verdict, 'status'>): string {
  const { vector, checks, policyId, policyVersion, inputDigest, endorsementVersion, akName, resetCount, restartCount } =
    verdict;
  return JSON.stringify({
    vector,
    checks,
    policyId,
    policyVersion,
    inputDigest,
    endorsementVersion,
    akName,
    resetCount,
    restartCount,
  } satisfies Omit<Verdict, 'status'>);
}
