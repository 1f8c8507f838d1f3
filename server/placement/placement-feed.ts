import { setTimeout as delay } from 'node:timers/promises';

import type { ChangeFeed } from '../result/feed.ts';
import { PLACEMENT_START } from '../store/placement-store.ts';
import { StoreError } from '../store/store.ts';
import type { Store } from '../store/store.ts';
import { PlacementError } from './placement-error.ts';
import { PlacementIndex } from './placement-index.ts';

/** An index that is older says nothing, milliseconds. */
export const MAX_INDEX_AGE = 1_000;
/** Results that one look at the store takes. */
const PAGE = 500;
/** From one look to the next at the least, milliseconds: a store under load is not asked all the time. */
const PACE = 50;
/** And at the most: confirmations wake nobody. */
const INTERVAL = 200;

export interface PlacementFeedOptions {
  readonly store: Pick<Store, 'placementsSince' | 'now'>;
  readonly feed: Pick<ChangeFeed, 'wait'>;
  /** Hears of the first failure of a row. */
  readonly onError: (error: unknown) => void;
}

/** Keeps an index of all present results, and knows how old it is. */
export class PlacementFeed {
  readonly #options: PlacementFeedOptions;
  readonly #index = new PlacementIndex();
  readonly #ending = new AbortController();
  #position = PLACEMENT_START;
  /** The store's clock when the last look began that saw everything. */
  #asOf = -Infinity;
  #failing = false;
  #running: Promise<void> | null = null;

  constructor(options: PlacementFeedOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  /** Throws PLACEMENT_INDEX_STALE where the index is not at most a second old. */
  freshIndex(): PlacementIndex {
    const age = this.#options.store.now() - this.#asOf;
    // A negative age is a clock that was set back by hand: nothing is known of the time between.
    if (age < 0 || age > MAX_INDEX_AGE)
      throw new PlacementError('PLACEMENT_INDEX_STALE', 'which hosts are selectable is not known at present');
    return this.#index;
  }

  async #run(): Promise<void> {
    const { feed } = this.#options;
    const { signal } = this.#ending;
    while (!signal.aborted) {
      await this.#look();
      await delay(PACE, undefined, { signal }).catch(() => undefined);
      await feed.wait(this.#position.revision, { timeout: INTERVAL - PACE, signal });
    }
  }

  async #look(): Promise<void> {
    const { store, onError } = this.#options;
    try {
      const asOf = store.now();
      while (!(await this.#readOn()));
      this.#asOf = asOf;
      this.#failing = false;
    } catch (error) {
      // What was missed cannot be read any more: begin anew.
      if (error instanceof StoreError && error.code === 'out_of_range') this.#reset();
      if (!this.#failing && !this.#ending.signal.aborted) onError(error);
      this.#failing = true;
    }
  }

  /** Whether nothing is left to read. */
  async #readOn(): Promise<boolean> {
    const { present, moved, gone, position, complete } = await this.#options.store.placementsSince(
      this.#position,
      PAGE,
    );
    for (const hostId of gone) this.#index.remove(hostId);
    for (const record of present) this.#index.apply(record);
    for (const move of moved) this.#index.move(move);
    this.#position = position;
    return complete || this.#ending.signal.aborted;
  }

  #reset(): void {
    this.#index.clear();
    this.#position = PLACEMENT_START;
    this.#asOf = -Infinity;
  }
}
