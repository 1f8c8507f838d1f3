/** Behind every host's id. */
const END = '\uffff';

/**
 * As of which revision a watcher was told of each host, while the present results come page by page: hosts up to an id by one page,
 * those behind it by a later one. It holds one entry for each page at most, and one for all between which nothing changed.
 */
export class ToldPages {
  readonly #pages: { through: string; readonly revision: number }[] = [];

  /** Hosts from where the last page ended up to this id, all that are left for null, were told as they stood at a revision. */
  add(through: string | null, revision: number): void {
    const last = this.#pages.at(-1);
    const end = through ?? END;
    if (last?.revision === revision) last.through = end;
    else this.#pages.push({ through: end, revision });
  }

  get firstRevision(): number {
    return this.#pages[0]?.revision ?? 0;
  }

  get lastRevision(): number {
    return this.#pages.at(-1)?.revision ?? 0;
  }

  /** Whether what changed of a host at a revision was in what the watcher was told of it. */
  includes(hostId: string, revision: number): boolean {
    let low = 0;
    let high = this.#pages.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#pages[middle]?.through ?? END) < hostId) low = middle + 1;
      else high = middle;
    }
    return revision <= (this.#pages[low]?.revision ?? 0);
  }
}
