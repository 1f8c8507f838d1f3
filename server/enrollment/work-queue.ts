/** Runs costly work a few at a time and refuses what would wait too long. */
export class WorkQueue {
  readonly #limits: { readonly running: number; readonly waiting: number };
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(limits: { readonly running: number; readonly waiting: number }) {
    this.#limits = limits;
  }

  /** Null, at once, when the queue is full. */
  run<T>(work: () => Promise<T>): Promise<T> | null {
    if (this.#running < this.#limits.running) return this.#start(work);
    if (this.#waiting.length >= this.#limits.waiting) return null;
    const turn = Promise.withResolvers<void>();
    this.#waiting.push(turn.resolve);
    return turn.promise.then(() => this.#start(work));
  }

  async #start<T>(work: () => Promise<T>): Promise<T> {
    this.#running += 1;
    try {
      return await work();
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }
}
