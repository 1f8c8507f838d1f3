import { setTimeout as delay } from 'node:timers/promises';

/** Waits so long, or until the signal aborts; never rejects. */
export type Sleep = (millis: number, signal: AbortSignal) => Promise<void>;

/** A timer that does not outlive its signal. */
export async function sleep(millis: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(millis, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/**
 * Exponential backoff with jitter: 1 s, 2 s, 4 s … up to 60 s, of which a random part between one half and all is waited, so
 * that what failed together does not come back together.
 */
export class Backoff {
  readonly #random: () => number;
  readonly #firstMillis: number;
  readonly #longestMillis: number;
  #failures = 0;

  /** @param random from 0 to 1 */
  constructor(random: () => number, options: { readonly firstMillis?: number; readonly longestMillis?: number } = {}) {
    this.#random = random;
    this.#firstMillis = options.firstMillis ?? 1000;
    this.#longestMillis = options.longestMillis ?? 60_000;
  }

  /** How long to wait after one more failure. What the service asks for is never undercut; jitter comes on top of it. */
  next(retryDelayMillis = 0): number {
    const full = Math.min(this.#firstMillis * 2 ** this.#failures, this.#longestMillis);
    // Beyond this the power only grows past what a number holds.
    this.#failures = Math.min(this.#failures + 1, 30);
    const own = full * (0.5 + this.#random() / 2);
    return Math.round(Math.max(own, retryDelayMillis * (1 + this.#random() / 5)));
  }

  /** Things work again. */
  reset(): void {
    this.#failures = 0;
  }
}
