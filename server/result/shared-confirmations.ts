import type { Confirmation } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** Confirmations that one read takes. */
export const PAGE = 200;
/** Pages that are kept: a flush of many watchers takes them one after another. */
const MAX_PAGES = 8;

/** Confirmations behind a sequence, ascending. */
export interface ConfirmationPage {
  readonly confirmations: readonly Confirmation[];
  /** By the store's clock, when the read began. */
  readonly asOf: number;
  /** Nothing more was confirmed by then. */
  readonly complete: boolean;
}

interface Kept {
  readonly after: number;
  /** Every change up to this revision was written when the read began. */
  readonly head: number;
  readonly asOf: number;
  readonly confirmations: Promise<readonly Confirmation[]>;
}

/** Pages of confirmations for many watchers: who asks for what another has just read gets the same. */
export class SharedConfirmations {
  readonly #store: Pick<Store, 'confirmationsSince' | 'now'>;
  #pages: Kept[] = [];
  #reads = 0;

  constructor(store: Pick<Store, 'confirmationsSince' | 'now'>) {
    this.#store = store;
  }

  /** How often the store was read. */
  get reads(): number {
    return this.#reads;
  }

  /**
   * The confirmations after a sequence, read at `since` or later, and not before the changes up to `revision` were written: what is
   * older may be of a verdict whose place another has taken, and the watcher has been told so.
   * @param head up to here changes are known to be written
   */
  async after(
    sequence: number,
    { revision, head, since }: { readonly revision: number; readonly head: number; readonly since: number },
  ): Promise<ConfirmationPage> {
    for (const page of this.#pages) {
      if (page.after > sequence || page.head < revision || page.asOf < since) continue;
      // oxlint-disable-next-line no-await-in-loop -- most are there already, and few are kept
      const found = restOf(await page.confirmations, { sequence, asOf: page.asOf });
      if (found !== null) return found;
    }
    const read = this.#read(sequence, Math.max(revision, head));
    return { ...complete(await read.confirmations), asOf: read.asOf };
  }

  #read(after: number, head: number): Kept {
    this.#reads += 1;
    const asOf = this.#store.now();
    const confirmations = this.#store.confirmationsSince(after, PAGE);
    const page = { after, head, asOf, confirmations };
    this.#pages = [page, ...this.#pages.slice(0, MAX_PAGES - 1)];
    confirmations.catch(() => {
      this.#pages = this.#pages.filter((kept) => kept !== page);
    });
    return page;
  }
}

function complete(confirmations: readonly Confirmation[]): Omit<ConfirmationPage, 'asOf'> {
  return { confirmations, complete: confirmations.length < PAGE };
}

/** What of a page stands behind a sequence; null where the page ends before it. */
function restOf(
  confirmations: readonly Confirmation[],
  { sequence, asOf }: { readonly sequence: number; readonly asOf: number },
): ConfirmationPage | null {
  const from = confirmations.findIndex((confirmation) => confirmation.sequence > sequence);
  if (from === -1 && confirmations.length === PAGE) return null;
  const rest = from === -1 ? [] : confirmations.slice(from);
  return { confirmations: rest, complete: confirmations.length < PAGE, asOf };
}
