/** Whether one comes before another: a strict order without ties. */
export type Before = (a: number, b: number) => boolean;

/**
 * The best so many of what is offered, in a part of an array that it shares with others: a heap with the worst at its root, so that
 * most offers cost one comparison.
 */
export class Best {
  readonly #heap: Int32Array;
  readonly #start: number;
  readonly #capacity: number;
  readonly #before: Before;
  #size = 0;

  constructor(heap: Int32Array, part: { readonly start: number; readonly capacity: number }, before: Before) {
    this.#heap = heap;
    this.#start = part.start;
    this.#capacity = part.capacity;
    this.#before = before;
  }

  static of(capacity: number, before: Before): Best {
    return new Best(new Int32Array(capacity), { start: 0, capacity }, before);
  }

  offer(item: number): void {
    if (this.#size < this.#capacity) {
      this.#size += 1;
      this.#rise(this.#size - 1, item);
    } else if (this.#capacity > 0 && this.#before(item, this.#at(0))) {
      this.#sink(item);
    }
  }

  /** Best first. */
  sorted(): readonly number[] {
    const items = [...this.#heap.subarray(this.#start, this.#start + this.#size)];
    return items.sort((a, b) => (this.#before(a, b) ? -1 : 1));
  }

  #at(position: number): number {
    return this.#heap[this.#start + position] ?? 0;
  }

  #set(position: number, item: number): void {
    this.#heap[this.#start + position] = item;
  }

  #rise(from: number, item: number): void {
    let position = from;
    while (position > 0) {
      const parent = (position - 1) >> 1;
      if (!this.#before(this.#at(parent), item)) break;
      this.#set(position, this.#at(parent));
      position = parent;
    }
    this.#set(position, item);
  }

  /** Puts an item in the place of the worst. */
  #sink(item: number): void {
    let position = 0;
    for (;;) {
      let child = 2 * position + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#before(this.#at(child), this.#at(child + 1))) child += 1;
      if (!this.#before(item, this.#at(child))) break;
      this.#set(position, this.#at(child));
      position = child;
    }
    this.#set(position, item);
  }
}
