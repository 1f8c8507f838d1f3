/** Milliseconds between two groups. */
const TICK = 100;
/** Streams of one group: so many a tick are asked for evidence because of one change. 10,000 hosts are asked within 40 s. */
const GROUP = 25;

/**
 * Wakes streams at a bounded rate, in the order in which they came. A policy may concern every host: asked for evidence all at once,
 * they would answer all at once, and no challenge would be answered in time.
 */
export class WakeUps {
  readonly #waiting = new Set<() => void>();
  #left = GROUP;
  #timer: NodeJS.Timeout | null = null;

  /** Calls back at once, or when it is its turn. Returns what takes it out of the line. */
  soon(wake: () => void): () => void {
    // A callback of its own: the same function may stand in line twice.
    const turn = (): void => wake();
    this.#waiting.add(turn);
    this.#go();
    return () => void this.#waiting.delete(turn);
  }

  #go(): void {
    for (const turn of this.#waiting) {
      if (this.#left === 0) break;
      this.#left -= 1;
      this.#waiting.delete(turn);
      turn();
    }
    if (this.#left === GROUP || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#left = GROUP;
      this.#go();
    }, TICK);
    // What waits is told by the end of its stream; nobody stays for it.
    this.#timer.unref();
  }
}
