/**
 * The binary list (`binary_runtime_measurements`, and `binary_runtime_measurements_<hash>` of newer kernels):
 * pcr u32 ‖ template hash ‖ name length u32 ‖ name ‖ data length u32 (not for `ima`) ‖ data.
 * Integers are in the kernel's byte order, or little-endian where `ima_canonical_fmt` is set.
 */
import {
  HASH_ALGORITHMS,
  IMPLEMENTATION_PCR,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ALG_SHA512,
} from '../structures/constants.ts';
import { ImaEntry } from './entry.ts';
import type { ByteOrder, ImaListLayout } from './entry.ts';
import { imaFinding } from './findings.ts';
import type { ImaFinding, ImaFindingCode } from './findings.ts';
import { FIXED_DIGEST_SIZE, MAX_FIXED_NAME, imaTemplate } from './templates.ts';
import type { ImaTemplate } from './templates.ts';

/** Bounds that hold before anything is allocated. */
export interface ImaLimits {
  /** Bytes of one entry's template data. */
  readonly maxDataBytes: number;
  /** Entries of the whole list. */
  readonly maxEntries: number;
}

export const DEFAULT_IMA_LIMITS: ImaLimits = { maxDataBytes: 1024 * 1024, maxEntries: 1_000_000 };

/** MAX_TEMPLATE_NAME_LEN of the kernel. */
const MAX_TEMPLATE_NAME = 255;

/** Where a list is taken up, and how it is written. Without `layout` the first entry tells. */
export interface ImaReaderOptions {
  readonly layout?: ImaListLayout | undefined;
  /** Bytes and entries of the list before what is pushed. */
  readonly offset?: number;
  readonly index?: number;
  readonly limits?: Partial<ImaLimits> | undefined;
}

/**
 * Reads a list piece by piece. Push bytes as they come and take entries until there is none: what is left is the beginning of an
 * entry, and waits. Bytes are viewed, not copied, except where an entry spans pieces.
 * After a {@link fault} nothing more comes: without the lengths that it tells of, the next entry cannot be found.
 */
export class ImaListReader {
  readonly #limits: ImaLimits;
  #layout: ImaListLayout | undefined;
  #bytes: Buffer = Buffer.alloc(0);
  #position = 0;
  /** Pieces that are not joined yet: they are joined when they hold what is needed, so that many small ones cost no more. */
  #queue: Buffer[] = [];
  #queued = 0;
  #needed = 1;
  #offset: number;
  #index: number;
  #fault: ImaFinding | undefined;
  #template: ImaTemplate = imaTemplate('ima-ng');

  constructor(options: ImaReaderOptions = {}) {
    this.#layout = options.layout;
    this.#offset = options.offset ?? 0;
    this.#index = options.index ?? 0;
    this.#limits = { ...DEFAULT_IMA_LIMITS, ...options.limits };
  }

  /** Bytes of the list up to the next entry. */
  get offset(): number {
    return this.#offset;
  }

  /** Entries read, with those before. */
  get index(): number {
    return this.#index;
  }

  /** Bytes that were pushed and belong to no entry yet. */
  get pendingBytes(): number {
    return this.#bytes.length - this.#position + this.#queued;
  }

  /** How the list is written, once the first entry told. */
  get layout(): ImaListLayout | undefined {
    return this.#layout;
  }

  /** Why no more entries can be read. */
  get fault(): ImaFinding | undefined {
    return this.#fault;
  }

  /** Takes more of the list. The bytes must not change afterwards. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#queue.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
    this.#queued += chunk.length;
  }

  /** The next entry; undefined when it is not there in full, or after a fault. */
  next(): ImaEntry | undefined {
    while (this.#fault === undefined) {
      const entry = this.#read();
      if (entry !== undefined) return entry;
      if (this.#fault !== undefined || this.pendingBytes < this.#needed || this.#queued === 0) return undefined;
      this.#join();
    }
    return undefined;
  }

  #join(): void {
    const left = this.#bytes.subarray(this.#position);
    const [only] = this.#queue;
    this.#bytes =
      left.length === 0 && this.#queue.length === 1 && only !== undefined
        ? only
        : Buffer.concat([left, ...this.#queue]);
    this.#position = 0;
    this.#queue = [];
    this.#queued = 0;
  }

  /** One entry from the joined bytes; otherwise a fault, or `#needed` says how many bytes it takes to go on. */
  #read(): ImaEntry | undefined {
    const layout = (this.#layout ??= this.#detectLayout());
    if (layout === undefined) return undefined;
    const bytes = this.#bytes;
    const start = this.#position;
    const hashAt = start + 4;
    const nameAt = hashAt + layout.hash.size + 4;
    if (!this.#has(nameAt)) return undefined;
    const pcr = u32(bytes, start, layout.byteOrder);
    const nameLength = u32(bytes, nameAt - 4, layout.byteOrder);
    if (pcr >= IMPLEMENTATION_PCR) return this.#fail('IMA_ENTRY_MALFORMED', `there is no pcr ${pcr}`);
    if (nameLength === 0 || nameLength > MAX_TEMPLATE_NAME) {
      return this.#fail('IMA_ENTRY_MALFORMED', `template name of ${nameLength} bytes`);
    }
    const nameEnd = nameAt + nameLength;
    if (!this.#has(nameEnd)) return undefined;
    const template = this.#templateAt(nameAt, nameEnd);
    if (template === undefined) return this.#fail('IMA_ENTRY_MALFORMED', 'the template name is no printable ASCII');
    const dataAt = template.fixedForm ? nameEnd : nameEnd + 4;
    const lengthAt = template.fixedForm ? nameEnd + FIXED_DIGEST_SIZE : nameEnd;
    if (!this.#has(lengthAt + 4)) return undefined;
    const length = u32(bytes, lengthAt, layout.byteOrder);
    if (length > (template.fixedForm ? MAX_FIXED_NAME : this.#limits.maxDataBytes)) {
      return this.#fail('IMA_ENTRY_TOO_LARGE', `${length} bytes of template data`);
    }
    const end = lengthAt + 4 + length;
    if (!this.#has(end)) return undefined;
    if (this.#index >= this.#limits.maxEntries) {
      return this.#fail('IMA_LIST_TOO_LONG', `more than ${this.#limits.maxEntries} entries`);
    }
    const entry = new ImaEntry(
      { index: this.#index, offset: this.#offset },
      { pcr, template, layout },
      { bytes, hashAt, dataAt, end },
    );
    this.#index += 1;
    this.#offset += end - start;
    this.#position = end;
    this.#needed = 1;
    return entry;
  }

  #has(end: number): boolean {
    this.#needed = end - this.#position;
    return end <= this.#bytes.length;
  }

  #fail(code: ImaFindingCode, what: string): undefined {
    const message = `entry ${this.#index} at byte ${this.#offset} cannot be read: ${what}`;
    this.#fault = imaFinding(code, { index: this.#index, offset: this.#offset }, message);
    return undefined;
  }

  /** Neighbours mostly have the same template: comparing its bytes is cheaper than making a string. */
  #templateAt(start: number, end: number): ImaTemplate | undefined {
    if (!sameAscii(this.#bytes, start, end, this.#template.name)) {
      if (!isPrintable(this.#bytes, start, end)) return undefined;
      this.#template = imaTemplate(this.#bytes.toString('latin1', start, end));
    }
    return this.#template;
  }

  /** The layout in which the first entry has a possible PCR and template name; undefined while bytes are missing. */
  #detectLayout(): ImaListLayout | undefined {
    let undecided = 0;
    for (const layout of LAYOUTS) {
      const hashAt = this.#position + 4;
      const nameAt = hashAt + layout.hash.size + 4;
      const reach = hashAt > this.#bytes.length ? hashAt : nameAt;
      if (hashAt <= this.#bytes.length && u32(this.#bytes, this.#position, layout.byteOrder) >= IMPLEMENTATION_PCR)
        continue;
      if (reach > this.#bytes.length) {
        undecided = undecided === 0 ? reach : undecided;
        continue;
      }
      const nameLength = u32(this.#bytes, nameAt - 4, layout.byteOrder);
      if (nameLength === 0 || nameLength > MAX_TEMPLATE_NAME) continue;
      const nameEnd = Math.min(nameAt + nameLength, this.#bytes.length);
      if (!isPrintable(this.#bytes, nameAt, nameEnd)) continue;
      if (nameEnd === nameAt + nameLength && undecided === 0) return layout;
      undecided = undecided === 0 ? nameAt + nameLength : undecided;
    }
    if (undecided === 0)
      return this.#fail('IMA_LAYOUT_UNKNOWN', 'it is an entry in no byte order and of no template hash');
    this.#needed = undecided - this.#position;
    return undefined;
  }
}

const LAYOUTS: readonly ImaListLayout[] = (['little', 'big'] as const).flatMap((byteOrder) =>
  [TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512].flatMap((alg) => {
    const hash = HASH_ALGORITHMS.get(alg);
    return hash === undefined ? [] : [{ byteOrder, hash }];
  }),
);

/** Own reading: one call of `readUInt32LE` costs as much as the whole head of an entry here. */
function u32(bytes: Buffer, at: number, order: ByteOrder): number {
  const a = bytes[at] ?? 0;
  const b = bytes[at + 1] ?? 0;
  const c = bytes[at + 2] ?? 0;
  const d = bytes[at + 3] ?? 0;
  return (order === 'little' ? (d << 24) | (c << 16) | (b << 8) | a : (a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

function sameAscii(bytes: Buffer, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false;
  for (let index = 0; index < text.length; index += 1) {
    if (bytes[start + index] !== text.charCodeAt(index)) return false;
  }
  return true;
}

function isPrintable(bytes: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) {
    const byte = bytes[index] ?? 0;
    if (byte < 0x21 || byte > 0x7e) return false;
  }
  return true;
}
