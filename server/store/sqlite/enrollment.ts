import {
  decideEnrollment,
  type EnrollDecision,
  holdAk,
  isOtherBoot,
  isReset,
  newHost,
  refreshedHost,
  replacedHost,
} from '../enroll-rules.ts';
import { akReplacedVerdict, awaitingVerdict, resetVerdict } from '../own-verdicts.ts';
import type { ChangeCause, HostRecord, Verdict } from '../records.ts';
import type { EnrollInput, EnrollOutcome } from '../store.ts';
import { dropBasis } from './bases.ts';
import type { Database } from './database.ts';
import { akOwners, anyBanned, countPending, ekOwners, formerHost, getHost, insertHost, saveHost } from './hosts.ts';
import { endBoot, keepBoot, keepLogs } from './logs.ts';
import { dropRuntime } from './runtimes.ts';
import { readPresent, writeRevision } from './revisions.ts';
import { type Transaction, write } from './transaction.ts';

export function enroll(database: Database, now: number, input: EnrollInput): EnrollOutcome {
  return write(database, now, (tx) => {
    const decision = decide(tx, input);
    if (decision.act === 'refuse') return { outcome: decision.outcome };
    tx.run('DELETE FROM enrollments WHERE forget_after < ?', tx.now);
    tx.run('INSERT INTO enrollments (id, forget_after) VALUES (?, ?)', input.enrollmentId, input.forgetAfter);
    const outcome = carryOut(tx, decision, input);
    const target = `hosts/${outcome.host.id}`;
    tx.audit(
      input.actor,
      `host.enroll.${outcome.outcome}`,
      target,
      `ak ${input.ak.name}, admission ${input.admission}${input.bootState === undefined ? '' : `, ${input.bootState}`}`,
    );
    return outcome;
  });
}

function decide(tx: Transaction, input: EnrollInput): EnrollDecision {
  const { database } = tx;
  const fingerprints = input.eks.map((ek) => ek.fingerprint);
  const owners = ekOwners(database, fingerprints);
  const [owner] = owners;
  return decideEnrollment(input, {
    used: database.get('SELECT 1 FROM enrollments WHERE id = ?', input.enrollmentId) !== undefined,
    epochs: tx.epochs,
    banned: anyBanned(database, fingerprints),
    ekOwners: owners,
    akOwners: akOwners(database, input.ak.name),
    host: owners.length === 1 && owner !== undefined ? getHost(database, owner) : null,
    idTaken: getHost(database, input.hostId) !== null,
    pendingHosts: () => countPending(database),
    now: tx.now,
  });
}

function carryOut(
  tx: Transaction,
  decision: Exclude<EnrollDecision, { readonly act: 'refuse' }>,
  input: EnrollInput,
): Extract<EnrollOutcome, { readonly host: HostRecord }> {
  switch (decision.act) {
    case 'create': {
      const host = newHost(input, tx.now, formerHost(tx.database, input.hostId));
      insertHost(tx, host);
      writeOwnVerdict(tx, host, awaitingVerdict(host), 'enrolled');
      keepEvidence(tx, host, input);
      return { outcome: 'created', host };
    }
    case 'refresh': {
      const host = refreshedHost(decision.host, input, tx.now);
      saveHost(tx, host);
      if (host.state !== decision.host.state) writeOwnVerdict(tx, host, awaitingVerdict(host), 'approved');
      else if (isOtherBoot(host.clock, input.clock)) writeReset(tx, host, input);
      return { outcome: 'refreshed', host };
    }
    case 'replace': {
      const host = replacedHost(decision.host, input, tx.now);
      writeAkReplaced(tx, host);
      keepEvidence(tx, host, input);
      return { outcome: 'replaced', host };
    }
    case 'hold': {
      const host = holdAk(decision.host, input, tx.now);
      saveHost(tx, host);
      return { outcome: 'replacement_pending', host };
    }
  }
}

/** Whoever waits for approval may be anybody, and as many as there may be: it leaves nothing that is large. */
function keepEvidence(tx: Transaction, { id, state }: HostRecord, input: EnrollInput): void {
  if (state === 'pending') return;
  keepLogs(tx, id, input.logs, input.unreadable);
  keepBoot(tx, id, input.boot);
}

/**
 * The quote of the enrolment is the first evidence of another boot: what the former one proved ends with it. What speaks against the
 * host does not where the TPM was only resumed.
 */
function writeReset(tx: Transaction, host: HostRecord, { clock }: EnrollInput): void {
  dropBasis(tx, host.id);
  const status = readPresent(tx.database, host.id)?.result.status;
  if (status === 'none' || (status === 'contraindicated' && !isReset(host.clock, clock))) return;
  writeOwnVerdict(tx, host, resetVerdict(host), 'enrolled');
}

/** Writes a host whose new AK takes effect: its trust and the logs of the former AK's rounds go in the same transaction. */
export function writeAkReplaced(tx: Transaction, host: HostRecord): void {
  const former = getHost(tx.database, host.id);
  const present = readPresent(tx.database, host.id);
  if (former !== null && present !== null) endBoot(tx, former, present.result);
  saveHost(tx, host);
  dropRuntime(tx, host.id);
  writeOwnVerdict(tx, host, akReplacedVerdict(host), 'ak_replaced');
}

/** Writes a verdict that the store makes itself; no evidence led to it and nothing of it lapses. */
export function writeOwnVerdict(tx: Transaction, host: HostRecord, verdict: Verdict, cause: ChangeCause): void {
  const present = readPresent(tx.database, host.id);
  const former = present?.result.connectivity ?? 'never_seen';
  const { id: hostId, nodeName, labels } = host;
  writeRevision(
    tx,
    {
      result: {
        ...verdict,
        hostId,
        nodeName,
        labels,
        evidenceDigest: '',
        challengeTime: 0,
        validUntil: null,
        // The host's streams end with what made them the host's; one that goes on takes its place with its next evidence.
        connectivity: former === 'never_seen' || host.connected ? former : 'unreachable',
      },
      cause,
      digest: '',
      lapseTime: host.connected ? (present?.lapseTime ?? null) : null,
    },
    present,
  );
}
