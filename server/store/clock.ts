/** With the wall clock this far behind the store's, nothing could be said of validity until an operator has looked; milliseconds. */
export const MAX_CLOCK_BEHIND = 300_000;

/** Where a store's clock takes its time from. */
export interface ClockSource {
  /** Milliseconds since 1970-01-01T00:00:00Z, as the machine has it. May jump. */
  readonly wallClock: () => number;
  /** Milliseconds since some fixed moment of this process. Never goes back. */
  readonly monotonic: () => number;
}

/**
 * The store's clock (docs/operations.md): the wall clock, unless that is behind a time which was already given. Then it runs
 * on from that time by the monotonic clock, so that no set-back clock prolongs a verdict. The mark, kept by the store's
 * transactions, carries this over restarts.
 */
export class StoreClock {
  readonly #source: ClockSource;
  #base: number;
  #baseMonotonic: number;
  #latest: number;
  #behind = 0;

  /** `mark`: the latest time that the store has ever written, milliseconds. */
  constructor(source: ClockSource, mark: number) {
    this.#source = source;
    this.#base = mark;
    this.#latest = mark;
    this.#baseMonotonic = source.monotonic();
    this.now();
  }

  /** Milliseconds, whole; never less than before. */
  now(): number {
    const wall = Math.floor(this.#source.wallClock());
    const monotonic = this.#source.monotonic();
    const onward = Math.max(this.#latest, this.#base + Math.floor(monotonic - this.#baseMonotonic));
    if (wall >= this.#latest) {
      // In step, or the wall clock was set forward or caught up: follow it.
      this.#base = wall;
      this.#baseMonotonic = monotonic;
      this.#latest = wall;
      this.#behind = 0;
      return wall;
    }
    this.#latest = onward;
    this.#behind = onward - wall;
    return onward;
  }

  /** How far the wall clock is behind, milliseconds; 0 when it is not. */
  behind(): number {
    this.now();
    return this.#behind;
  }

  /** Takes the wall clock as it is, also backwards. Returns what undoes that, for when the store could not follow. */
  acceptWallClock(): () => void {
    const before = [this.#base, this.#baseMonotonic, this.#latest] as const;
    this.#base = Math.floor(this.#source.wallClock());
    this.#baseMonotonic = this.#source.monotonic();
    this.#latest = this.#base;
    this.#behind = 0;
    return () => {
      [this.#base, this.#baseMonotonic, this.#latest] = before;
      this.now();
    };
  }
}
