import { setTimeout as delay } from 'node:timers/promises';

/** The longest pause, milliseconds: after a clock that was set by hand a turn may seem to have taken an hour. */
const MAX_PAUSE = 2_000;

/** Heavy reads, one at a time, each after a pause as long as the one before took: who asks in a loop takes half of one thread at most. */
export class ReportTurns {
  readonly #now: () => number;
  #last: Promise<unknown> = Promise.resolve();

  /** @param now milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  take<T>(work: () => Promise<T>): Promise<T> {
    const began = this.#last.then(() => this.#now());
    const done = began.then(work);
    this.#last = Promise.allSettled([began, done]).then(([start]) => {
      const took = this.#now() - (start.status === 'fulfilled' ? start.value : 0);
      return delay(Math.min(Math.max(took, 0), MAX_PAUSE));
    });
    return done;
  }
}
