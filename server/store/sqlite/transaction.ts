import type { SQLInputValue } from 'node:sqlite';
import { auditHash } from '../audit.ts';
import type { Epochs } from '../store.ts';
import { type Database, integer, type Row, text } from './database.ts';

/**
 * One write. The counter row is taken before anything is read: whoever holds it is alone with revisions, epochs and fences
 * until the commit, so that nothing judged under an old policy commits after the new one (docs/architecture.md).
 */
export class Transaction {
  readonly database: Database;
  /** The store's clock at this write, milliseconds. */
  readonly now: number;
  #revision: number;
  #confirmation: number;
  #policyEpoch: number;
  #endorsementEpoch: number;
  #horizon: number;
  #auditSequence: number;
  #auditHash: string;
  #wrote = false;

  constructor(database: Database, counter: Row) {
    this.database = database;
    this.now = integer(counter, 'clock_mark');
    this.#revision = integer(counter, 'revision');
    this.#confirmation = integer(counter, 'confirmation');
    this.#policyEpoch = integer(counter, 'policy_epoch');
    this.#endorsementEpoch = integer(counter, 'endorsement_epoch');
    this.#horizon = integer(counter, 'horizon');
    this.#auditSequence = integer(counter, 'audit_sequence');
    this.#auditHash = text(counter, 'audit_hash');
  }

  /** Whether there is anything to commit. */
  get wrote(): boolean {
    return this.#wrote;
  }

  get epochs(): Epochs {
    return { policy: this.#policyEpoch, endorsement: this.#endorsementEpoch };
  }

  run(sql: string, ...values: SQLInputValue[]): number {
    const changed = this.database.run(sql, ...values);
    if (changed > 0) this.#wrote = true;
    return changed;
  }

  nextRevision(): number {
    this.#wrote = true;
    return ++this.#revision;
  }

  nextConfirmation(): number {
    this.#wrote = true;
    return ++this.#confirmation;
  }

  policiesChanged(): void {
    this.#wrote = true;
    this.#policyEpoch++;
  }

  endorsementsChanged(): void {
    this.#wrote = true;
    this.#endorsementEpoch++;
  }

  /** Changes up to this revision may be gone. */
  raiseHorizon(revision: number): void {
    this.#wrote = true;
    this.#horizon = Math.max(this.#horizon, revision);
  }

  /** Commits the clock mark even when nothing else was written. */
  keepMark(): void {
    this.#wrote = true;
  }

  /** Returns the sequence number of the record. */
  audit(actor: string, action: string, target: string, detail = ''): number {
    const record = { sequence: ++this.#auditSequence, time: this.now, actor, action, target, detail };
    this.#auditHash = auditHash(this.#auditHash, record);
    this.run(
      'INSERT INTO audit (sequence, time, actor, action, target, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?)',
      record.sequence,
      record.time,
      actor,
      action,
      target,
      detail,
      this.#auditHash,
    );
    return record.sequence;
  }

  /** Writes the counter row back; the last statement before the commit. */
  flush(): void {
    this.database.run(
      `UPDATE counter SET revision = ?, confirmation = ?, policy_epoch = ?, endorsement_epoch = ?, horizon = ?,
        audit_sequence = ?, audit_hash = ? WHERE id = 1`,
      this.#revision,
      this.#confirmation,
      this.#policyEpoch,
      this.#endorsementEpoch,
      this.#horizon,
      this.#auditSequence,
      this.#auditHash,
    );
  }
}

/** Takes the counter row and moves the clock mark up to now. */
const TAKE_COUNTER = 'UPDATE counter SET clock_mark = max(clock_mark, ?) WHERE id = 1 RETURNING *';
/** Takes it and sets the mark, also backwards. */
export const TAKE_COUNTER_SET_CLOCK = 'UPDATE counter SET clock_mark = ? WHERE id = 1 RETURNING *';

/** Runs `body` as one transaction: all of it is durable when this returns, none of it when it throws. */
export function write<T>(database: Database, now: number, body: (tx: Transaction) => T, take = TAKE_COUNTER): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const counter = database.get(take, now);
    if (counter === undefined) throw new Error('the counter row is missing');
    const tx = new Transaction(database, counter);
    const value = body(tx);
    if (tx.wrote) {
      tx.flush();
      database.exec('COMMIT');
    } else {
      // Nothing but the mark: no flush to disk for an attempt that was refused.
      database.exec('ROLLBACK');
    }
    return value;
  } catch (error) {
    // SQLite has rolled back by itself after some errors, such as a full disk.
    if (database.inTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

/** One write for many hosts, in their order, so that two batches never wait for each other's rows; answers in the order of the input. */
export function writeEach<Input extends { readonly hostId: string }, Answer>(
  database: Database,
  now: number,
  inputs: readonly Input[],
  act: (tx: Transaction, input: Input) => Answer,
): readonly Answer[] {
  const ordered = [...inputs.entries()].sort(([, a], [, b]) =>
    a.hostId < b.hostId ? -1 : a.hostId > b.hostId ? 1 : 0,
  );
  return write(database, now, (tx) => {
    const answers: Answer[] = [];
    for (const [index, input] of ordered) answers[index] = act(tx, input);
    return answers;
  });
}
