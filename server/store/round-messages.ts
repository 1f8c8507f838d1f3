/** Rounds on their way to the thread that has the database, and back. */
import type { LogPart, Verdict } from './records.ts';
import { verdictJson } from './sqlite/revisions.ts';
import type { ResultHead } from './sqlite/revisions.ts';
import type { RoundAnswer, RoundBatch, RoundMessage, RoundNews } from './sqlite/commit-rounds.ts';
import type { RoundInput, RoundMoves, RoundOutcome } from './store.ts';

/**
 * Characters of verdicts that cross as one text. One that names every value of a large policy has two million, five hundred of them
 * are more than a text can hold, and it would be copied once more than as objects.
 */
const MAX_TEXT = 4 * 1024 * 1024;

/**
 * Makes messages of rounds, and outcomes of answers. Most rounds confirm the verdict of the one before, and are told as little as
 * that takes: what is written of a verdict crosses to the thread once.
 */
export class RoundMessages {
  /** As what each verdict was written. A round that confirms brings the verdict of before. */
  readonly #written = new WeakMap<Verdict, ResultHead>();

  pack(rounds: readonly RoundInput[]): { readonly batch: RoundBatch; readonly transfer: readonly ArrayBuffer[] } {
    const transfer: ArrayBuffer[] = [];
    const messages = rounds.map((round) => {
      const news = newsOf(round);
      if (news === null) return this.#message(round);
      const copied = copyLogs(news.logs);
      transfer.push(...copied.transfer);
      return { ...this.#message(round), news: { ...news, logs: copied.logs } };
    });
    const length = messages.reduce((sum, { verdict }) => sum + (verdict?.length ?? 0), 0);
    return { batch: transfer.length === 0 && length <= MAX_TEXT ? JSON.stringify(messages) : messages, transfer };
  }

  /** @param answered of the batch, as the thread tells it */
  outcomes(rounds: readonly RoundInput[], answered: string): readonly RoundOutcome[] {
    const answers = JSON.parse(answered) as readonly RoundAnswer[];
    return rounds.map((round, index) => {
      const answer = answers[index];
      return answer === undefined ? { outcome: 'fenced' } : this.#outcome(round, answer);
    });
  }

  #message(round: RoundInput): RoundMessage {
    const { fence, verdict, clock } = round;
    const written = this.#writtenFor(round);
    return {
      hostId: round.hostId,
      version: fence.version,
      round: fence.round,
      akGeneration: fence.akGeneration,
      policyEpoch: fence.epochs.policy,
      endorsementEpoch: fence.epochs.endorsement,
      streamEpoch: round.streamEpoch,
      status: verdict.status,
      verdictDigest: round.verdictDigest,
      evidenceDigest: round.evidenceDigest,
      challengeTime: round.challengeTime,
      validity: round.validity,
      resetCount: clock.resetCount,
      restartCount: clock.restartCount,
      // Text goes into the database as it is.
      clock: JSON.stringify(clock),
      banksProven: round.banksProven,
      tlsKeySha256: round.tlsKeySha256,
      revision: written?.revision ?? 0,
      ...(round.banks === undefined ? {} : { banks: JSON.stringify(round.banks) }),
      ...(round.claimed === undefined ? {} : { claimed: JSON.stringify(round.claimed) }),
      ...(written === undefined ? { verdict: verdictJson(verdict) } : {}),
    };
  }

  #outcome(round: RoundInput, answer: RoundAnswer): RoundOutcome {
    const { verdict } = round;
    if (answer.outcome === 'fenced') {
      // What was written may be gone by now: the next one brings all of it.
      this.#written.delete(verdict);
      return answer;
    }
    const written = answer.result ?? this.#writtenFor(round);
    if (written === undefined) throw new TypeError('the store answered with a result that it did not tell');
    if (answer.result !== undefined) this.#written.set(verdict, answer.result);
    const { evidenceDigest, challengeTime, clock, banksProven, banks, claimed } = round;
    const { validUntil, confirmations, connected, streamEpoch } = answer;
    const moved: RoundMoves = { round: round.fence.round + 1, torn: 0, streamEpoch, connected, clock, banksProven };
    return {
      outcome: answer.outcome,
      result: { ...verdict, ...written, evidenceDigest, challengeTime, validUntil, confirmations },
      moved: {
        ...moved,
        ...answer.moved,
        ...(banks === undefined ? {} : { banks }),
        ...(claimed === undefined ? {} : { claimed }),
      },
    };
  }

  #writtenFor({ verdict, hostId }: RoundInput): ResultHead | undefined {
    const written = this.#written.get(verdict);
    return written?.hostId === hostId ? written : undefined;
  }
}

/** Null for a round that only confirms, or only changes the verdict. */
function newsOf({ findings, nextTlsKeySha256, logs, unreadable, boot, runtime }: RoundInput): RoundNews | null {
  const nothing =
    findings.length === 0 &&
    nextTlsKeySha256 === '' &&
    logs.length === 0 &&
    unreadable.length === 0 &&
    boot === undefined &&
    runtime === undefined;
  if (nothing) return null;
  return {
    findings,
    nextTlsKeySha256,
    logs,
    unreadable,
    ...(boot === undefined ? {} : { boot }),
    ...(runtime === undefined ? {} : { runtime }),
  };
}

/** Bytes in buffers of their own: a view would take all of the buffer that it stands in along to the thread. */
export function copyLogs(parts: readonly LogPart[]): {
  readonly logs: readonly LogPart[];
  readonly transfer: ArrayBuffer[];
} {
  const transfer: ArrayBuffer[] = [];
  const logs = parts.map((part) => {
    const data = new Uint8Array(part.data);
    transfer.push(data.buffer);
    return { ...part, data };
  });
  return { logs, transfer };
}
