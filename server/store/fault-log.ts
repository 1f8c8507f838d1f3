import type { StoreError, StoreErrorCode } from './store.ts';

/** What the machine does to a store, and not a caller: an operator must hear of it. */
const FAULTS: ReadonlySet<StoreErrorCode> = new Set(['locked', 'read_only', 'full', 'corrupt', 'failed']);
/** Every call fails on a full disk: one line a minute for each kind of fault says it, milliseconds. */
const PAUSE = 60_000;

/** Tells of faults of the store, each kind now and then and not for every call that it fails. */
export class FaultLog {
  readonly #tell: (error: StoreError) => void;
  readonly #monotonic: () => number;
  readonly #told = new Map<StoreErrorCode, number>();

  constructor(tell: (error: StoreError) => void, monotonic: () => number) {
    this.#tell = tell;
    this.#monotonic = monotonic;
  }

  /** Refusals, which are no faults, are let go. */
  note(error: StoreError): void {
    if (!FAULTS.has(error.code)) return;
    const now = this.#monotonic();
    if (now - (this.#told.get(error.code) ?? -Infinity) < PAUSE) return;
    this.#told.set(error.code, now);
    this.#tell(error);
  }
}
