import type { Change } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** Changes that one read takes: the memory of a watcher is bounded by this and not by how far it is behind. */
export const PAGE = 200;
/** The newest changes that are kept, at least, once there were so many: most watchers stand among them. */
const MAX_NEWEST = 1_000;
/** Revisions further behind from which a page is kept: who comes back after a while does so with others. */
const MAX_PAGES = 4;

/** A change as it stood at one time: confirmations move the validity of a host's newest. */
export interface ReadChange {
  readonly change: Change;
  /** By the store's clock, when the read began. */
  readonly asOf: number;
  /** A later change of the host was there when it was read, or is known since: no confirmation moves this one any more. */
  readonly superseded: boolean;
}

type Newest = { -readonly [K in keyof ReadChange]: ReadChange[K] };

interface Page {
  readonly changes: Promise<readonly ReadChange[]>;
  readonly asOf: number;
}

/**
 * Changes for many watchers. What the feed has read is kept for all of them, the newest; those further behind read the store, and share
 * a page where they stand at the same revision.
 */
export class SharedChanges {
  readonly #store: Pick<Store, 'changesSince' | 'now'>;
  /** Every change after `#newestAfter`, up to `#head`. */
  #newest: Newest[] = [];
  /** Of each host that is among the newest, the last. */
  readonly #last = new Map<string, Newest>();
  #newestAfter = 0;
  #head = 0;
  readonly #pages = new Map<number, Page>();
  #reads = 0;

  constructor(store: Pick<Store, 'changesSince' | 'now'>) {
    this.#store = store;
  }

  /** How often the store was read for watchers. */
  get reads(): number {
    return this.#reads;
  }

  /** The newest revision that was read. */
  get head(): number {
    return this.#head;
  }

  /** Nothing after this revision was read yet. */
  begin(revision: number): void {
    this.#newest = [];
    this.#last.clear();
    this.#newestAfter = revision;
    this.#head = revision;
  }

  /** Takes all changes from the head to the last of these. */
  append(changes: readonly Change[], asOf: number): void {
    for (const change of changes) {
      const former = this.#last.get(change.hostId);
      if (former !== undefined) former.superseded = true;
      const read = { change, asOf, superseded: !change.present };
      this.#newest.push(read);
      this.#last.set(change.hostId, read);
    }
    this.#head = changes.at(-1)?.revision ?? this.#head;
    // Not at every change, for it moves all that are left.
    if (this.#newest.length >= 1.5 * MAX_NEWEST) this.#drop(this.#newest.length - MAX_NEWEST);
  }

  #drop(count: number): void {
    for (const read of this.#newest.splice(0, count)) {
      if (this.#last.get(read.change.hostId) === read) this.#last.delete(read.change.hostId);
      this.#newestAfter = read.change.revision;
    }
  }

  /**
   * The changes after a revision, at most {@link PAGE}, read at `since` or later; none where the watcher stands at the head.
   * Throws what the store throws for a revision that is gone or was never given.
   */
  async after(revision: number, since: number): Promise<readonly ReadChange[]> {
    if (revision >= this.#newestAfter && revision <= this.#head) {
      const from = this.#indexAfter(revision);
      const newest = this.#newest.slice(from, from + PAGE);
      if ((newest[0]?.asOf ?? since) >= since) return newest;
    }
    const kept = this.#pages.get(revision);
    if (kept !== undefined && kept.asOf >= since) return kept.changes;
    return this.#read(revision);
  }

  #read(revision: number): Promise<readonly ReadChange[]> {
    this.#reads += 1;
    const asOf = this.#store.now();
    const changes = this.#store
      .changesSince(revision, PAGE)
      .then((read) => read.map((change): ReadChange => ({ change, asOf, superseded: !change.present })));
    const page = { changes, asOf };
    this.#pages.delete(revision);
    this.#pages.set(revision, page);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= MAX_PAGES) break;
      this.#pages.delete(oldest);
    }
    const drop = (): void => {
      if (this.#pages.get(revision) === page) this.#pages.delete(revision);
    };
    // Where nothing is yet, something may be soon.
    changes.then((read) => void (read.length === 0 && drop()), drop);
    return changes;
  }

  #indexAfter(revision: number): number {
    let low = 0;
    let high = this.#newest.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#newest[middle]?.change.revision ?? 0) > revision) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
