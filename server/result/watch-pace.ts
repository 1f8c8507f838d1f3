import type { ResultRecord } from '../store/records.ts';

export const MIN_FLUSH = 250;
const MAX_FLUSH = 10_000;

/**
 * How often a watcher hears of validity: a quarter of the shortest one that the last flush found, so that none runs out unheard, and
 * one late flush does not hurry the watcher for ever.
 */
export class WatchPace {
  #interval = MAX_FLUSH;
  #fresh = false;

  /** Milliseconds. */
  get interval(): number {
    return this.#interval;
  }

  /** The validity of a verdict, milliseconds. */
  note(validity: number): void {
    if (validity <= 0) return;
    const bound = this.#fresh ? MAX_FLUSH : this.#interval;
    this.#interval = Math.max(MIN_FLUSH, Math.min(bound, validity / 4));
    this.#fresh = false;
  }

  /** A flush begins: the first validity that it finds counts anew. One that finds none leaves the pace. */
  begin(): void {
    this.#fresh = true;
  }

  /** A lost stream has shortened the validity of its verdict, and confirms nothing. */
  noteResult({ validUntil, challengeTime, connectivity }: ResultRecord): void {
    if (validUntil !== null && connectivity === 'connected') this.note(validUntil - challengeTime);
  }
}
