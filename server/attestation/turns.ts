/** Lets so many at once and each holder once, the others in the order in which they came. */
export class Turns {
  readonly #waiting: { readonly holder: string; readonly begin: () => void }[] = [];
  readonly #holders = new Set<string>();
  #free: number;

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /** Resolves when it is the holder's turn; disposal ends it. */
  async take(holder: string): Promise<Disposable> {
    if (this.#free > 0 && !this.#holders.has(holder)) this.#hold(holder);
    else await new Promise<void>((begin) => this.#waiting.push({ holder, begin }));
    return { [Symbol.dispose]: () => this.#give(holder) };
  }

  #hold(holder: string): void {
    this.#free -= 1;
    this.#holders.add(holder);
  }

  #give(holder: string): void {
    this.#free += 1;
    this.#holders.delete(holder);
    const next = this.#waiting.findIndex((waiting) => !this.#holders.has(waiting.holder));
    const [begun] = next < 0 ? [] : this.#waiting.splice(next, 1);
    if (begun === undefined) return;
    this.#hold(begun.holder);
    begun.begin();
  }
}
