import type { ReferenceSetRecord } from '../store/reference-store.ts';
import type { Actor, Store } from '../store/store.ts';
import { digestListParser } from './digest-list.ts';
import { ReferenceImportError } from './import-error.ts';
import { keylimePolicyParser } from './keylime-policy.ts';
import type { ReferenceParser } from './parser.ts';
import { rpmDumpParser } from './rpm-dump.ts';

const FORMATS = {
  digest_list: digestListParser,
  rpm_dump: rpmDumpParser,
  keylime_policy: keylimePolicyParser,
} as const satisfies Readonly<Record<string, () => ReferenceParser>>;

export type ReferenceFormat = keyof typeof FORMATS;

/** Bytes of a file in all, and of one chunk. */
export const MAX_IMPORT_BYTES = 64 * 1024 * 1024;
export const MAX_IMPORT_CHUNK = 256 * 1024;
/** So many imports run at once. */
export const MAX_IMPORTS = 4;
/** How long one may take, milliseconds. */
export const IMPORT_TIME = 600_000;
/** Entries that one transaction of the store takes. */
const BATCH = 2000;

export interface ImportRequest extends Actor {
  readonly id: string;
  readonly format: ReferenceFormat;
  readonly mode: 'replace' | 'add';
  readonly expected: number | 'any';
}

export interface ImportOutcome {
  readonly set: ReferenceSetRecord;
  readonly changed: boolean;
  /** Entries of the file, those that it repeats included. */
  readonly read: number;
  readonly notImported: readonly string[];
}

type ImportStore = Pick<
  Store,
  'openReferenceDraft' | 'addReferenceEntries' | 'commitReferenceDraft' | 'dropReferenceDraft'
>;

/**
 * Imports of reference sets. What comes is parsed chunk by chunk and written to a draft in the store: an import holds one chunk and
 * one batch in memory, however long the file is, and none of it is seen before the whole is.
 */
export class ReferenceImports {
  readonly #store: ImportStore;
  #running = 0;

  constructor(store: ImportStore) {
    this.#store = store;
  }

  /** `next` gives null at the end. Throws ReferenceImportError and StoreError; the former version is in force then. */
  async import(request: ImportRequest, next: () => Promise<Buffer | null>): Promise<ImportOutcome> {
    if (this.#running >= MAX_IMPORTS) throw new ReferenceImportError('busy', `${MAX_IMPORTS} imports are running`);
    this.#running++;
    using timed = withinTime(next);
    try {
      const from = request.mode === 'add' ? 'newest' : 'nothing';
      const draft = await this.#store.openReferenceDraft(request.id, { from, expected: request.expected });
      try {
        const { read, notImported } = await this.#fill(draft, FORMATS[request.format](), timed.next);
        const options = { actor: request.actor, detail: `${read} read, ` };
        return { ...(await this.#store.commitReferenceDraft(draft, options)), read, notImported };
      } catch (error) {
        // A draft that cannot be dropped now is swept later; why the import failed is what counts.
        await this.#store.dropReferenceDraft(draft).catch(() => undefined);
        throw error;
      }
    } finally {
      this.#running--;
    }
  }

  async #fill(
    draft: number,
    parser: ReferenceParser,
    next: () => Promise<Buffer | null>,
  ): Promise<Pick<ImportOutcome, 'read' | 'notImported'>> {
    let bytes = 0;
    let read = 0;
    const take = async (entries: ReturnType<ReferenceParser['end']>): Promise<void> => {
      read += entries.length;
      for (let start = 0; start < entries.length; start += BATCH) {
        // oxlint-disable-next-line no-await-in-loop -- one batch after another is the point
        await this.#store.addReferenceEntries(draft, entries.slice(start, start + BATCH));
      }
    };
    for (let chunk = await next(); chunk !== null; chunk = await next()) {
      bytes += chunk.length;
      if (bytes > MAX_IMPORT_BYTES)
        throw new ReferenceImportError('too_large', `the file is larger than ${MAX_IMPORT_BYTES} bytes`);
      await take(parser.push(chunk));
    }
    await take(parser.end());
    // A set of nothing lets no file run: that is a file of another kind, or one that was cut off, far more often than a wish.
    if (read === 0) throw new ReferenceImportError('malformed', 'the file holds no entry');
    return { read, notImported: parser.notImported() };
  }
}

/** The same source of chunks, for {@link IMPORT_TIME} from now: then it throws. */
function withinTime(next: () => Promise<Buffer | null>): { readonly next: typeof next } & Disposable {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const late = (): void => reject(new ReferenceImportError('too_slow', 'the import took too long'));
  const timer = setTimeout(late, IMPORT_TIME);
  over.catch(() => undefined);
  return { next: () => Promise.race([next(), over]), [Symbol.dispose]: () => clearTimeout(timer) };
}
