import { LogError } from './collect-logs.ts';

const MEBIBYTE = 1024 * 1024;
/** Bytes of logs that this process holds at once while they arrive. */
const TOTAL = 512 * MEBIBYTE;
/** Bytes of one host, or of one TPM that enrols: all three logs at their largest, once. */
const PER_HOLDER = 80 * MEBIBYTE;

const NOTHING: Disposable = { [Symbol.dispose]: () => undefined };

/** Bounds the memory of logs that are under way: it is given out before the first byte is taken. */
export class LogBudget {
  readonly #holders = new Map<string, number>();
  #held = 0;

  /** Throws LogError LOG_BUDGET when that much is not to be had now. What is held is given back by disposal. */
  hold(holder: string, logs: readonly { readonly size: number }[]): Disposable {
    const bytes = logs.reduce((sum, { size }) => sum + size, 0);
    if (bytes === 0) return NOTHING;
    const own = (this.#holders.get(holder) ?? 0) + bytes;
    if (own > PER_HOLDER || this.#held + bytes > TOTAL) {
      throw new LogError('LOG_BUDGET', 'too many bytes of logs are under way; try again');
    }
    this.#held += bytes;
    this.#holders.set(holder, own);
    return { [Symbol.dispose]: () => this.#release(holder, bytes) };
  }

  #release(holder: string, bytes: number): void {
    this.#held -= bytes;
    const left = (this.#holders.get(holder) ?? 0) - bytes;
    if (left > 0) this.#holders.set(holder, left);
    else this.#holders.delete(holder);
  }
}
