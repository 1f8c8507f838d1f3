import type { ReferenceEntryRecord, ReferenceSetRecord } from '../store/reference-store.ts';
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

export interface DraftRequest extends Actor {
  readonly id: string;
  readonly mode: 'replace' | 'add';
  readonly expected: number | 'any';
}

export interface ImportOutcome {
  readonly set: ReferenceSetRecord;
  readonly changed: boolean;
  /** Entries that were read, those that it repeats included. */
  readonly read: number;
  readonly notImported: readonly string[];
}

export interface ImportRequest extends DraftRequest {
  readonly format: ReferenceFormat;
}

/** Writes entries to the draft. */
type Take = (entries: readonly ReferenceEntryRecord[]) => Promise<void>;
type Fill = (take: Take) => Promise<Filled>;

interface Filled {
  /** What is left out, a sentence each. */
  readonly notImported: readonly string[];
  /** Where it comes from, for the audit log; empty for a file. */
  readonly origin: string;
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
    using timed = withinTime(next);
    return await this.#draft(request, async (take) => {
      return { notImported: await parse(FORMATS[request.format](), timed.next, take), origin: '' };
    });
  }

  /** `fill` gives the entries to `take`, and returns what it left out. What it throws leaves the former version in force. */
  async learn(request: DraftRequest, fill: Fill): Promise<ImportOutcome> {
    return await this.#draft(request, fill);
  }

  async #draft(request: DraftRequest, fill: Fill): Promise<ImportOutcome> {
    if (this.#running >= MAX_IMPORTS) throw new ReferenceImportError('busy', `${MAX_IMPORTS} imports are running`);
    this.#running++;
    try {
      const from = request.mode === 'add' ? 'newest' : 'nothing';
      const draft = await this.#store.openReferenceDraft(request.id, { from, expected: request.expected });
      try {
        let read = 0;
        const { notImported, origin } = await fill(async (entries) => {
          read += entries.length;
          for (let start = 0; start < entries.length; start += BATCH) {
            // oxlint-disable-next-line no-await-in-loop -- one batch after another is the point
            await this.#store.addReferenceEntries(draft, entries.slice(start, start + BATCH));
          }
        });
        // A set of nothing lets no file run: what it came of is of another kind, or was cut off, far more often than a wish.
        if (read === 0) throw new ReferenceImportError('malformed', 'there is no entry of a file in it');
        const options = { actor: request.actor, detail: `${origin === '' ? '' : `${origin}, `}${read} read, ` };
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
}

async function parse(
  parser: ReferenceParser,
  next: () => Promise<Buffer | null>,
  take: Take,
): Promise<readonly string[]> {
  let bytes = 0;
  for (let chunk = await next(); chunk !== null; chunk = await next()) {
    bytes += chunk.length;
    if (bytes > MAX_IMPORT_BYTES)
      throw new ReferenceImportError('too_large', `the file is larger than ${MAX_IMPORT_BYTES} bytes`);
    await take(parser.push(chunk));
  }
  await take(parser.end());
  return parser.notImported();
}

/** The same source of chunks, for {@link IMPORT_TIME} from now: then it throws. */
function withinTime(next: () => Promise<Buffer | null>): { readonly next: typeof next } & Disposable {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const late = (): void => reject(new ReferenceImportError('too_slow', 'the import took too long'));
  const timer = setTimeout(late, IMPORT_TIME);
  over.catch(() => undefined);
  return { next: () => Promise.race([next(), over]), [Symbol.dispose]: () => clearTimeout(timer) };
}
