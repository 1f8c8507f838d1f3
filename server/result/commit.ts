import { setTimeout as delay } from 'node:timers/promises';

import type { RoundInput, RoundOutcome, Store } from '../store/store.ts';

/** Rows of one transaction (docs/decisions.md, group commit). */
const MAX_BATCH = 500;
/**
 * From the start of one batch to the start of the next, milliseconds: each costs a flush to disk and two changes of thread, which
 * rounds that come close together then share. A round that comes alone does not wait.
 */
const BATCH_PACE = 5;
/** Rounds that wait; more are refused, so that a store that hangs costs bounded memory. */
const MAX_WAITING = 20_000;

/** The queue of rounds is full: the store does not keep up. */
export class CommitQueueFull extends Error {
  override readonly name = 'CommitQueueFull';
}

interface Waiting {
  readonly round: RoundInput;
  readonly resolve: (outcome: RoundOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Commits rounds in groups: one batch is in flight, whatever arrives meanwhile is the next one. A round resolves when it is
 * durable or was found to be fenced; the store checks every fence inside the transaction.
 */
export class RoundCommitter {
  readonly #store: Pick<Store, 'commitRounds'>;
  readonly #committed: () => void;
  #waiting: Waiting[] = [];
  #flying: Promise<void> | null = null;

  /** @param committed called after each batch that is durable and changed a result, so that readers look at once */
  constructor(store: Pick<Store, 'commitRounds'>, committed: () => void) {
    this.#store = store;
    this.#committed = committed;
  }

  commit(round: RoundInput): Promise<RoundOutcome> {
    if (this.#waiting.length >= MAX_WAITING)
      return Promise.reject(new CommitQueueFull('too many rounds wait for the store'));
    const { promise, resolve, reject } = Promise.withResolvers<RoundOutcome>();
    this.#waiting.push({ round, resolve, reject });
    this.#flying ??= this.#fly();
    return promise;
  }

  /** Resolves when nothing is in flight any more. */
  async drain(): Promise<void> {
    await this.#flying;
  }

  async #fly(): Promise<void> {
    // What the present turn of the event loop still brings belongs to this batch.
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, MAX_BATCH);
      this.#waiting = this.#waiting.slice(MAX_BATCH);
      const pace = delay(BATCH_PACE);
      await this.#commitBatch(batch);
      // A batch that is full already waits for nobody.
      if (this.#waiting.length < MAX_BATCH) await pace;
    }
    this.#flying = null;
  }

  async #commitBatch(batch: readonly Waiting[]): Promise<void> {
    try {
      const outcomes = await this.#store.commitRounds(batch.map(({ round }) => round));
      for (const [position, { resolve, reject }] of batch.entries()) {
        const outcome = outcomes[position];
        if (outcome === undefined) reject(new TypeError('the store returned fewer outcomes than rounds'));
        else resolve(outcome);
      }
      if (outcomes.some(({ outcome }) => outcome === 'changed')) this.#committed();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
