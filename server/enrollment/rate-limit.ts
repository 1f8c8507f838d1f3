/** Keys that are remembered at most: whoever has many addresses makes the limiter forget the oldest, never grow. */
const MAX_KEYS = 10_000;

/** `rate` a second on average, and `burst` at once. */
export interface Rate {
  readonly rate: number;
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  time: number;
}

/** Token buckets by key. Times in milliseconds of a clock that never goes back. */
export class RateLimit {
  readonly #rate: Rate;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** 0 when the key may go on, which takes a token; else after how many milliseconds to try again. */
  take(key: string, now: number): number {
    const { rate, burst } = this.#rate;
    const bucket = this.#buckets.get(key) ?? { tokens: burst, time: now };
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.time) / 1000) * rate);
    bucket.time = now;
    this.#keep(key, bucket);
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / rate) * 1000);
    bucket.tokens -= 1;
    return 0;
  }

  /** The key used last stands last, so that the first is the one to forget. */
  #keep(key: string, bucket: Bucket): void {
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size <= MAX_KEYS) return;
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}
