import type { Change } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** Changes that one read takes: the memory of a watcher is bounded by this and not by how far it is behind. */
export const PAGE = 200;
/** Revisions behind which a page is kept: most watchers stand at the newest, and some are on their way there. */
const MAX_KEPT = 8;

interface Kept {
  readonly changes: Promise<readonly Change[]>;
  /** Counts the reads. */
  readonly read: number;
  /** The newest revision that was known when the read began. */
  readonly head: number;
}

/** Pages of changes for many watchers: those that stand at the same revision share one read of the store. */
export class SharedChanges {
  readonly #store: Pick<Store, 'changesSince'>;
  readonly #pages = new Map<number, Kept>();
  #reads = 0;

  constructor(store: Pick<Store, 'changesSince'>) {
    this.#store = store;
  }

  /** How many reads have begun. */
  get reads(): number {
    return this.#reads;
  }

  /**
   * The changes after a revision, at most {@link PAGE}. Whoever has read confirmations meanwhile says with `since` how many reads
   * had begun by then: an older page would not know what they confirmed.
   * @param head the newest revision that is known: what was read before there was it is old
   */
  after(
    revision: number,
    { head, since }: { readonly head: number; readonly since: number },
  ): Promise<readonly Change[]> {
    const kept = this.#pages.get(revision);
    if (kept !== undefined && kept.head === head && kept.read > since) return kept.changes;
    this.#reads += 1;
    const changes = this.#store.changesSince(revision, PAGE);
    const made = { changes, read: this.#reads, head };
    this.#pages.delete(revision);
    this.#pages.set(revision, made);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= MAX_KEPT) break;
      this.#pages.delete(oldest);
    }
    changes.catch(() => {
      if (this.#pages.get(revision) === made) this.#pages.delete(revision);
    });
    return changes;
  }
}
