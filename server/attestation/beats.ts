/** From one beat to the next, milliseconds. */
const BEAT = 20;
/** Waits that end one after another at the most before anything else has its turn: some 2 ms. */
const GROUP = 32;

/** Who waits for a time. */
export interface Sleeper {
  /** The time has come. */
  rise(): void;
}

/**
 * Ends the waits of all streams at beats. What a stream wakes for, to be asked for evidence, is a little of much code: where many do
 * it one after another, each finds that code in the processor's caches, their evidence comes together, and their rounds share a flush
 * to disk. A wait ends at the first beat after its time, never before it.
 */
export class Beats {
  readonly #now: () => number;
  /** By the number of the beat. */
  readonly #sleepers = new Map<number, Set<Sleeper>>();
  /** Those whose time has come, in the order in which they fell asleep. */
  readonly #rising = new Set<Sleeper>();
  /** The beat that comes next. */
  #next = 0;
  #ticking = false;

  /** @param now milliseconds since some fixed moment; never goes back */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Returns the beat at which the wait ends, for {@link leave}. One wait of a sleeper at a time. */
  join(sleeper: Sleeper, millis: number): number {
    const now = this.#now();
    if (!this.#ticking) this.#begin(now);
    const beat = Math.max(this.#next, Math.ceil((now + millis) / BEAT));
    const sleepers = this.#sleepers.get(beat);
    if (sleepers === undefined) this.#sleepers.set(beat, new Set([sleeper]));
    else sleepers.add(sleeper);
    return beat;
  }

  /** The wait is over before its time. */
  leave(sleeper: Sleeper, beat: number): void {
    if (beat < this.#next) {
      this.#rising.delete(sleeper);
      return;
    }
    const sleepers = this.#sleepers.get(beat);
    sleepers?.delete(sleeper);
    if (sleepers?.size === 0) this.#sleepers.delete(beat);
  }

  #begin(now: number): void {
    this.#ticking = true;
    this.#next = Math.floor(now / BEAT) + 1;
    this.#await(now);
  }

  #await(now: number): void {
    // What waits is told by the end of its stream; nobody stays for it.
    setTimeout(() => this.#go(), this.#next * BEAT - now).unref();
  }

  #go(): void {
    const now = this.#now();
    for (; this.#next * BEAT <= now; this.#next += 1) {
      for (const sleeper of this.#sleepers.get(this.#next) ?? []) this.#rising.add(sleeper);
      this.#sleepers.delete(this.#next);
    }
    let left = GROUP;
    for (const sleeper of this.#rising) {
      if (left === 0) {
        setImmediate(() => this.#go());
        return;
      }
      left -= 1;
      this.#rising.delete(sleeper);
      sleeper.rise();
    }
    this.#ticking = this.#sleepers.size > 0;
    if (this.#ticking) this.#await(now);
  }
}
