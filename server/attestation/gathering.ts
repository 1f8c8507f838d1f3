/** Rounds that follow each other at the most before anything else has its turn: some 4 ms. */
const GROUP = 32;

/**
 * Lets the rounds whose evidence came in one turn of the event loop be judged one after another, once all of it is read. Reading
 * from connections and verifying signatures work on much code and many tables each: taken in turns, each finds them gone from the
 * processor's caches.
 */
export class Gathering {
  #waiting: (() => void)[] = [];
  #due = false;

  /** Resolves in a coming turn of the event loop, in the order of calls. */
  join(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#go();
    });
  }

  #go(): void {
    if (this.#due) return;
    this.#due = true;
    setImmediate(() => {
      this.#due = false;
      const group = this.#waiting.slice(0, GROUP);
      this.#waiting = this.#waiting.slice(GROUP);
      for (const resolve of group) resolve();
      if (this.#waiting.length > 0) this.#go();
    });
  }
}
