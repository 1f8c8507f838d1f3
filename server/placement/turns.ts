import { setTimeout as delay } from 'node:timers/promises';

import { PlacementError } from './placement-error.ts';

/** Who waits for a turn; more are sent away. */
const MAX_WAITING = 32;

/**
 * Heavy looks at the index, one at a time and step by step: after each step everybody else has the thread for as long as it took, so
 * that whoever asks in a loop, or all at once, takes half of it at most, and nobody waits longer than for a step.
 */
export class Turns {
  readonly #now: () => number;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** @param now milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Throws PLACEMENT_BUSY where too many wait already. */
  async take<T>(work: () => Iterator<void, T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING)
      throw new PlacementError('PLACEMENT_BUSY', 'too many ask why hosts were refused: ask again, or without explain');
    this.#waiting += 1;
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#last;
    this.#last = promise;
    try {
      await before;
    } finally {
      this.#waiting -= 1;
    }
    let began = this.#now();
    const pause = (): Promise<void> => delay(Math.max(1, this.#now() - began));
    try {
      for (const steps = work(); ; began = this.#now()) {
        const step = steps.next();
        if (step.done === true) return step.value;
        // oxlint-disable-next-line no-await-in-loop -- the pause is the point
        await pause();
      }
    } finally {
      void pause().then(resolve);
    }
  }
}
