import { LogError } from './collect-logs.ts';

const MEBIBYTE = 1024 * 1024;
/** Bytes of one host, or of one TPM that enrols: all three logs at their largest, once. */
const PER_HOLDER = 80 * MEBIBYTE;
/** An answer of at most so many bytes may use what is kept back for such. */
const SMALL = MEBIBYTE;

/** Bytes of logs that this process holds at once while they arrive, and how many of these for small answers alone. */
export interface LogPot {
  readonly total: number;
  readonly forSmall: number;
}

/**
 * 512 MiB for all. Hosts that are attested, hosts that enrol and are let in, and who enrols to wait for approval, which is anybody,
 * have each their own, so that none of them stops another.
 */
export const LOG_POTS = {
  rounds: { total: 384 * MEBIBYTE, forSmall: 64 * MEBIBYTE },
  enrollments: { total: 96 * MEBIBYTE, forSmall: 16 * MEBIBYTE },
  strangers: { total: 32 * MEBIBYTE, forSmall: 8 * MEBIBYTE },
} as const satisfies Record<string, LogPot>;

/** What an answer holds; disposal gives it back. */
export interface HeldLogs extends Disposable {
  /** Counts bytes that are needed now. Throws LogError LOG_BUDGET when so many are not to be had. */
  take(bytes: number): void;
}

/** Of an answer that has announced no byte: most of them. */
const NOTHING: HeldLogs = {
  take: () => {
    throw spent();
  },
  [Symbol.dispose]: () => undefined,
};

/** Bounds the memory of logs that are under way. What is only announced takes no room from others. */
export class LogBudget {
  readonly #pot: LogPot;
  readonly #holders = new Map<string, number>();
  #held = 0;

  constructor(pot: LogPot) {
    this.#pot = pot;
  }

  /**
   * Begins an answer. `holders` name whose it is, a TPM by all its EKs: what each of them has announced is bounded. Throws LogError
   * LOG_BUDGET.
   */
  hold(holders: readonly string[], logs: readonly { readonly size: number }[]): HeldLogs {
    const announced = logs.reduce((sum, { size }) => sum + size, 0);
    if (announced === 0) return NOTHING;
    const limit = announced <= SMALL ? this.#pot.total : this.#pot.total - this.#pot.forSmall;
    const own = (holder: string): number => this.#holders.get(holder) ?? 0;
    if (holders.some((holder) => own(holder) + announced > PER_HOLDER)) throw spent();
    // Nobody sends for nothing what would be refused with its first byte.
    if (this.#held >= limit) throw spent();
    for (const holder of holders) this.#holders.set(holder, own(holder) + announced);
    let taken = 0;
    return {
      take: (bytes) => {
        if (this.#held + bytes > limit) throw spent();
        this.#held += bytes;
        taken += bytes;
      },
      [Symbol.dispose]: () => {
        this.#held -= taken;
        for (const holder of holders) this.#release(holder, announced);
      },
    };
  }

  #release(holder: string, bytes: number): void {
    const left = (this.#holders.get(holder) ?? 0) - bytes;
    if (left > 0) this.#holders.set(holder, left);
    else this.#holders.delete(holder);
  }
}

function spent(): LogError {
  return new LogError('LOG_BUDGET', 'too many bytes of logs are under way; try again');
}
