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

/** Token buckets by key. Times in milliseconds; a clock that goes back gives nothing and takes nothing. */
export class RateLimit {
  readonly #rate: Rate;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** 0 when the key may go on, which takes a token; else after how many milliseconds to try again. */
  take(key: string, now: number): number {
    const bucket = this.#bucket(key, now);
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / this.#rate.rate) * 1000);
    bucket.tokens -= 1;
    return 0;
  }

  /** Takes more than is there: the key waits until all of it is made good, and at most as long as for this alone. */
  charge(key: string, now: number, tokens: number): void {
    const bucket = this.#bucket(key, now);
    bucket.tokens = Math.max(Math.min(bucket.tokens, -tokens), bucket.tokens - tokens);
  }

  #bucket(key: string, now: number): Bucket {
    const { rate, burst } = this.#rate;
    const bucket = this.#buckets.get(key) ?? { tokens: burst, time: now };
    bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, now - bucket.time) / 1000) * rate);
    bucket.time = now;
    this.#keep(key, bucket);
    return bucket;
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
