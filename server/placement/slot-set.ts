/** Slots of one page, and words of 32 that it has. */
const PAGE_BITS = 10;
const PAGE_WORDS = 1 << (PAGE_BITS - 5);
const PAGE_MASK = (1 << PAGE_BITS) - 1;

/**
 * A set of small integers as bits, in pages that exist only where there is a member: a label that every host has costs a bit a
 * host, and one that a single host has costs one page.
 */
export class SlotSet {
  readonly #pages: (Uint32Array | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(slot: number): void {
    const number = slot >>> PAGE_BITS;
    let page = this.#pages[number];
    if (page === undefined) {
      page = new Uint32Array(PAGE_WORDS);
      // Holes would make the array slow.
      while (this.#pages.length < number) this.#pages.push(undefined);
      this.#pages[number] = page;
    }
    const word = (slot & PAGE_MASK) >>> 5;
    const before = page[word] ?? 0;
    const after = (before | (1 << (slot & 31))) >>> 0;
    if (after !== before) this.#size += 1;
    page[word] = after;
  }

  delete(slot: number): void {
    const page = this.#pages[slot >>> PAGE_BITS];
    if (page === undefined) return;
    const word = (slot & PAGE_MASK) >>> 5;
    const before = page[word] ?? 0;
    const after = (before & ~(1 << (slot & 31))) >>> 0;
    if (after !== before) this.#size -= 1;
    page[word] = after;
  }

  /** The bits of a page; undefined where there are none. */
  page(number: number): Uint32Array | undefined {
    return this.#pages[number];
  }

  get pages(): number {
    return this.#pages.length;
  }
}

/** What one intersection works on: reused, for an intersection is done before the next one begins. */
const bits = new Uint32Array(PAGE_WORDS);

/** Writes each slot that is in all of `within` (at least one) and in none of `without` into `found`, ascending; returns how many. */
export function collectCommon(
  found: Int32Array,
  { within, without = [] }: { readonly within: readonly SlotSet[]; readonly without?: readonly SlotSet[] },
): number {
  const pages = Math.min(...within.map((set) => set.pages));
  let count = 0;
  for (let number = 0; number < pages; number += 1) {
    if (!intersect(number, within, without)) continue;
    for (let word = 0; word < PAGE_WORDS; word += 1) {
      let rest = bits[word] ?? 0;
      const base = (number << PAGE_BITS) + (word << 5);
      while (rest !== 0) {
        found[count] = base + 31 - Math.clz32(rest & -rest);
        rest &= rest - 1;
        count += 1;
      }
    }
  }
  return count;
}

/** Whether the page may have a common slot. */
function intersect(number: number, within: readonly SlotSet[], without: readonly SlotSet[]): boolean {
  bits.fill(0xffffffff);
  for (const set of within) {
    const page = set.page(number);
    if (page === undefined) return false;
    for (let word = 0; word < PAGE_WORDS; word += 1) bits[word] = (bits[word] ?? 0) & (page[word] ?? 0);
  }
  for (const set of without) {
    const page = set.page(number);
    if (page === undefined) continue;
    for (let word = 0; word < PAGE_WORDS; word += 1) bits[word] = (bits[word] ?? 0) & ~(page[word] ?? 0);
  }
  return true;
}
