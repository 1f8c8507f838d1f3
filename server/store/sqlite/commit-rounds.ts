import { isOtherBoot, isReset } from '../enroll-rules.ts';
import { isExpired } from '../own-verdicts.ts';
import type { ClockRecord, HostRecord, ResultRecord, TrustStatus } from '../records.ts';
import { StoreError, type RoundInput } from '../store.ts';
import { boolean, type Database, integer, json, optionalInteger, text } from './database.ts';
import {
  getHost,
  getRoundHost,
  getRoundStanding,
  type RoundHost,
  type RoundStanding,
  saveMoving,
  saveStanding,
} from './hosts.ts';
import { dropLog, endBoot, keepBoot, keepLogs } from './logs.ts';
import { auditStatus, readPresentHead, type ResultHead, writeConfirmation, writeRevisionHead } from './revisions.ts';
import { holdsRuntime, keepRuntime } from './runtimes.ts';
import { type Transaction, writeEach } from './transaction.ts';

/** Largest batch of one transaction. */
const MAX_BATCH = 500;

/** What most rounds do not bring. */
export type RoundNews = Pick<RoundInput, 'findings' | 'nextTlsKeySha256' | 'logs' | 'unreadable' | 'boot' | 'runtime'>;

/** A judged round as it comes to this thread: flat, and what is kept as JSON is that already. */
export interface RoundMessage extends Pick<
  RoundInput,
  | 'hostId'
  | 'streamEpoch'
  | 'verdictDigest'
  | 'evidenceDigest'
  | 'challengeTime'
  | 'validity'
  | 'banksProven'
  | 'tlsKeySha256'
> {
  /** Of the fence. */
  readonly version: number;
  readonly round: number;
  readonly akGeneration: number;
  readonly policyEpoch: number;
  readonly endorsementEpoch: number;
  readonly status: TrustStatus;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly clock: string;
  /** Left out, they stay. */
  readonly banks?: string;
  readonly claimed?: string;
  /** With which this very verdict was written before; 0: never. The caller knows its result. */
  readonly revision: number;
  /** The body of the verdict; left out where it was written before. */
  readonly verdict?: string;
  readonly news?: RoundNews;
}

/**
 * Rounds on their way to this thread: as JSON, unless logs or very long verdicts are among them. What crosses between threads as objects
 * is taken apart name by name, on both sides, at several times the cost.
 */
export type RoundBatch = string | readonly RoundMessage[];

/** What became of it, without what the caller has. */
export type RoundAnswer =
  | ({
      readonly outcome: 'changed' | 'confirmed';
      /** Left out where it is of the revision that the caller knows. */
      readonly result?: ResultHead;
      /** Left out where the version of the host is what it was. */
      readonly moved?: Pick<HostRecord, 'version' | 'findings' | 'tlsKeySha256' | 'nextTlsKeySha256'>;
    } & Pick<ResultRecord, 'validUntil' | 'confirmations'> &
      Pick<HostRecord, 'streamEpoch' | 'connected'>)
  | { readonly outcome: 'fenced' };

const FENCED: RoundAnswer = { outcome: 'fenced' };

/** Returns the answers in the order of the rounds, as JSON. */
export function commitRounds(database: Database, now: number, batch: RoundBatch): string {
  const rounds = typeof batch === 'string' ? (JSON.parse(batch) as readonly RoundMessage[]) : batch;
  if (rounds.length > MAX_BATCH) throw new StoreError('out_of_range', `a batch holds at most ${MAX_BATCH} rounds`);
  return JSON.stringify(writeEach(database, now, rounds, commitRound));
}

/** What a round meets in the store, as far as one that confirms looks at it. */
interface Met {
  readonly standing: RoundStanding;
  readonly round: number;
  readonly streamEpoch: number;
  readonly connected: boolean;
  readonly clock: ClockRecord;
  /** Of the present result. */
  readonly revision: number;
  readonly status: string;
  readonly verdictDigest: string;
  readonly validUntil: number | null;
  readonly confirmations: number;
  readonly connectivity: string;
}

function meet(database: Database, hostId: string): Met | null {
  const row = database.get(
    `SELECT h.version, r.round, r.stream_epoch, r.connected, r.clock, p.revision, p.status, p.verdict_digest, p.valid_until,
        p.confirmations, p.connectivity
      FROM hosts h INDEXED BY hosts_version JOIN host_rounds r ON r.host_id = h.id JOIN results p ON p.host_id = h.id
      WHERE h.id = ?`,
    hostId,
  );
  const standing = row === undefined ? null : getRoundStanding(database, hostId, integer(row, 'version'));
  if (row === undefined || standing === null) return null;
  return {
    standing,
    round: integer(row, 'round'),
    streamEpoch: integer(row, 'stream_epoch'),
    connected: boolean(row, 'connected'),
    clock: json<ClockRecord>(row, 'clock'),
    revision: integer(row, 'revision'),
    status: text(row, 'status'),
    verdictDigest: text(row, 'verdict_digest'),
    validUntil: optionalInteger(row, 'valid_until'),
    confirmations: integer(row, 'confirmations'),
    connectivity: text(row, 'connectivity'),
  };
}

function commitRound(tx: Transaction, input: RoundMessage): RoundAnswer {
  const met = meet(tx.database, input.hostId);
  if (met === null || !holdsFence(tx, met, input)) return FENCED;
  const plain =
    input.news === undefined &&
    input.tlsKeySha256 === met.standing.tlsKeySha256 &&
    !isOtherBoot(met.clock, input) &&
    confirms(met, input, tx.now);
  return plain ? commitPlain(tx, met, input) : commitWhole(tx, met, input);
}

/** A challenge of the future was drawn by a clock that has been set back since; a verdict that is over must not be told. */
function holdsFence(tx: Transaction, { standing, round }: Met, input: RoundMessage): boolean {
  const { challengeTime, validity, news } = input;
  return (
    challengeTime <= tx.now &&
    challengeTime + validity > tx.now &&
    [standing.tlsKeySha256, standing.nextTlsKeySha256].includes(input.tlsKeySha256) &&
    standing.state === 'active' &&
    standing.version === input.version &&
    round === input.round &&
    standing.akGeneration === input.akGeneration &&
    tx.epochs.policy === input.policyEpoch &&
    tx.epochs.endorsement === input.endorsementEpoch &&
    (news?.runtime === undefined || holdsRuntime(tx.database, standing.id, news.runtime))
  );
}

/** Whether the round tells nothing but that the present result still holds. */
function confirms(met: Met, input: RoundMessage, now: number): boolean {
  return (
    input.verdictDigest !== '' &&
    input.verdictDigest === met.verdictDigest &&
    input.status === met.status &&
    met.connectivity === 'connected' &&
    !isExpired(met, now)
  );
}

/** A round without a stream leaves the stream to its holder. */
function streamAfter(met: Met, { streamEpoch }: RoundMessage): Pick<HostRecord, 'streamEpoch' | 'connected'> {
  return streamEpoch === 0
    ? { streamEpoch: met.streamEpoch, connected: met.connected }
    : { streamEpoch, connected: true };
}

/** A round that confirms and brings nothing else: times move, and the count of rounds. */
function commitPlain(tx: Transaction, met: Met, input: RoundMessage): RoundAnswer {
  const { streamEpoch, connected } = streamAfter(met, input);
  tx.run(
    `UPDATE host_rounds SET round = ?, stream_epoch = ?, connected = ?, torn = 0, banks_proven = ?, clock = ?,
      banks = coalesce(?, banks), claimed = coalesce(?, claimed) WHERE host_id = ?`,
    met.round + 1,
    streamEpoch,
    connected ? 1 : 0,
    input.banksProven ? 1 : 0,
    input.clock,
    input.banks ?? null,
    input.claimed ?? null,
    input.hostId,
  );
  return { ...confirm(tx, met, input), streamEpoch, connected };
}

function confirm(tx: Transaction, met: Met, input: RoundMessage) {
  const { hostId, evidenceDigest, challengeTime } = input;
  const confirmations = met.confirmations + 1;
  const { validUntil, lapseTime } = validityOf(input);
  writeConfirmation(tx, hostId, { validUntil, lapseTime, confirmations, challengeTime, evidenceDigest });
  const told = { outcome: 'confirmed', validUntil, confirmations } as const;
  if (met.revision === input.revision) return told;
  const result = readPresentHead(tx.database, hostId)?.result;
  return result === undefined ? told : { ...told, result };
}

function validityOf({ status, challengeTime, validity }: RoundMessage) {
  const lapseTime = challengeTime + validity;
  return { lapseTime, validUntil: status === 'none' ? null : lapseTime };
}

function commitWhole(tx: Transaction, met: Met, input: RoundMessage): RoundAnswer {
  const { database } = tx;
  const before = getRoundHost(database, input.hostId);
  const confirmed = confirms(met, input, tx.now);
  const verdict = confirmed ? '' : (input.verdict ?? writtenVerdict(database, input));
  if (before === null || verdict === null) return FENCED;

  const host = advance(before, met, input);
  saveMoving(tx, host);
  const whole = host.version === before.version ? null : getHost(database, host.id);
  if (whole !== null) saveStanding(tx, { ...whole, ...host });
  endFormerBoot(tx, before, input);
  keepNews(tx, input);

  const { streamEpoch, connected } = host;
  const answer = confirmed ? confirm(tx, met, input) : change(tx, host, { input, verdict });
  return { ...answer, streamEpoch, connected, ...(whole === null ? {} : { moved: movesOf(host) }) };
}

/** The body of a verdict that was written before; null where it is not kept any more. */
function writtenVerdict(database: Database, { revision, hostId }: RoundMessage): string | null {
  const row = database.get('SELECT verdict FROM changes WHERE revision = ? AND host_id = ?', revision, hostId);
  return row === undefined ? null : text(row, 'verdict');
}

/** A boot ends with a reset, or with what another start proves of itself; over a suspend its logs stay, but for what runs. */
function endFormerBoot(tx: Transaction, before: RoundHost, input: RoundMessage): void {
  if (!isOtherBoot(before.clock, input)) return;
  const present = readPresentHead(tx.database, before.id);
  if (present !== null && (isReset(before.clock, input) || input.news?.boot !== undefined))
    endBoot(tx, before, present.result);
  else dropLog(tx, before.id, 'ima');
}

function keepNews(tx: Transaction, { hostId, news }: RoundMessage): void {
  if (news === undefined) return;
  keepLogs(tx, hostId, news.logs, news.unreadable);
  keepBoot(tx, hostId, news.boot);
  if (news.runtime !== undefined) keepRuntime(tx, hostId, news.runtime);
}

function change(
  tx: Transaction,
  { id: hostId, nodeName, labels }: RoundHost,
  { input, verdict }: { readonly input: RoundMessage; readonly verdict: string },
) {
  const present = readPresentHead(tx.database, hostId);
  const { status, evidenceDigest, challengeTime } = input;
  const { validUntil, lapseTime } = validityOf(input);
  const written = { status, validUntil, challengeTime, evidenceDigest, hostId, nodeName, labels };
  const result = writeRevisionHead(
    tx,
    { result: { ...written, connectivity: 'connected' }, cause: 'verdict', digest: input.verdictDigest, lapseTime },
    verdict,
    present,
  );
  if (present !== null) auditStatus(tx, `agent hosts/${hostId}`, present.result, result);
  return { outcome: 'changed', validUntil, confirmations: 0, result } as const;
}

/** The host after the round. Its version counts only what others fence on: findings and TLS keys. */
function advance(host: RoundHost, met: Met, input: RoundMessage): RoundHost {
  const { findings = [], nextTlsKeySha256: asked = '' } = input.news ?? {};
  const added = findings.filter((finding, at) => !host.findings.includes(finding) && findings.indexOf(finding) === at);
  const promoted = input.tlsKeySha256 !== '' && input.tlsKeySha256 === host.nextTlsKeySha256;
  const tlsKeySha256 = promoted ? input.tlsKeySha256 : host.tlsKeySha256;
  const kept = promoted ? '' : host.nextTlsKeySha256;
  const nextTlsKeySha256 = asked !== '' && asked !== tlsKeySha256 ? asked : kept;
  const changed = added.length > 0 || promoted || nextTlsKeySha256 !== host.nextTlsKeySha256;
  return {
    ...host,
    ...streamAfter(met, input),
    findings: [...host.findings, ...added],
    tlsKeySha256,
    nextTlsKeySha256,
    version: host.version + (changed ? 1 : 0),
    round: host.round + 1,
    torn: 0,
    clock: JSON.parse(input.clock) as ClockRecord,
    banks: input.banks === undefined ? host.banks : (JSON.parse(input.banks) as HostRecord['banks']),
    banksProven: input.banksProven,
    claimed: input.claimed === undefined ? host.claimed : (JSON.parse(input.claimed) as HostRecord['claimed']),
  };
}

function movesOf({ version, findings, tlsKeySha256, nextTlsKeySha256 }: RoundHost) {
  return { version, findings, tlsKeySha256, nextTlsKeySha256 };
}
