import type { Sleep } from '../sdk/backoff.ts';
import { movedLogs } from './gauge.ts';
import type { Gauge, GrowingLog, Measured } from './gauge.ts';

/** Time from one look to the next, milliseconds. */
const LOOK_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** Between two wishes at least, milliseconds. */
export const DEFAULT_WISH_PAUSE_MS = 5000;

/**
 * Notices what was measured since the last evidence. To answer a challenge may bring measurements itself, so a wish may be the
 * cause of the next one: after each the watch rests, twice as long as before, up to a minute, until nothing new came for as
 * long. Time is what it has slept: a clock that is set changes nothing.
 */
export class MeasurementWatch {
  readonly #gauge: Pick<Gauge, 'read'>;
  readonly #sleep: Sleep;
  readonly #firstPause: number;
  #pause: number;
  /** Milliseconds until the next wish may be. */
  #rest = 0;
  /** Milliseconds for which nothing new was seen. */
  #quiet = 0;
  /** Of the evidence that is being made. */
  #quoted: Measured | undefined;
  /** Of the last evidence; undefined while a challenge is due or is being answered. */
  #covered: Measured | undefined;
  /** The last look saw something new. */
  #noticed = false;

  constructor(
    gauge: Pick<Gauge, 'read'>,
    { sleep, pauseMillis }: { readonly sleep: Sleep; readonly pauseMillis: number },
  ) {
    this.#gauge = gauge;
    this.#sleep = sleep;
    this.#firstPause = pauseMillis;
    this.#pause = pauseMillis;
  }

  /** Call it before the quote: what is measured from here on may not be in it. */
  async quoteBegins(): Promise<void> {
    this.#forget();
    this.#quoted = await this.#gauge.read();
  }

  /** Call it when the last chunk is on its way. */
  evidenceSent(): void {
    this.#covered = this.#quoted;
  }

  /** Looks while a stream lasts, and says what has grown when a challenge is wished for. Never rejects. */
  async run(wish: (logs: readonly GrowingLog[]) => void, signal: AbortSignal): Promise<void> {
    // A new stream begins with a challenge.
    this.#forget();
    for (;;) {
      await this.#sleep(LOOK_MS, signal);
      if (signal.aborted) return;
      const logs = await this.#look();
      if (signal.aborted) return;
      if (logs.length > 0) wish(logs);
    }
  }

  /** What a wish is due for. */
  async #look(): Promise<readonly GrowingLog[]> {
    this.#rest = Math.max(0, this.#rest - LOOK_MS);
    const covered = this.#covered;
    if (covered === undefined || this.#rest > 0) return [];
    const logs = movedLogs(covered, await this.#gauge.read());
    // A challenge came while it looked: its quote covers what was seen.
    if (covered !== this.#covered) return [];
    if (logs.length === 0) {
      this.#noticed = false;
      this.#quiet += LOOK_MS;
      if (this.#quiet >= this.#pause) this.#pause = this.#firstPause;
      return [];
    }
    this.#quiet = 0;
    if (!this.#noticed) {
      // The kernel lists an entry before it extends the PCR; and more may follow.
      this.#noticed = true;
      return [];
    }
    this.#forget();
    this.#rest = this.#pause;
    this.#pause = Math.max(this.#firstPause, Math.min(this.#pause * 2, LONGEST_PAUSE_MS));
    return logs;
  }

  #forget(): void {
    this.#covered = undefined;
    this.#noticed = false;
  }
}
