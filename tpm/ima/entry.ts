import type { HashAlgorithm } from '../structures/constants.ts';
import { templateHashInput } from './templates.ts';
import type { ImaTemplate } from './templates.ts';

export type ByteOrder = 'little' | 'big';

/** How a list is written. `hash` is what its template hashes are of: SHA-1, or the bank of a per-bank file. */
export interface ImaListLayout {
  readonly byteOrder: ByteOrder;
  readonly hash: HashAlgorithm;
}

/** Where the parts of an entry are in a buffer that holds it. */
export interface EntrySpan {
  readonly bytes: Buffer;
  readonly hashAt: number;
  readonly dataAt: number;
  readonly end: number;
}

/**
 * One entry of a list. All bytes are views into what was read. `index` counts from 0, `offset` in bytes, both over the whole
 * list. Nothing here is proven: only {@link replayImaList} tells which entries the TPM vouches for.
 */
export class ImaEntry {
  readonly index: number;
  readonly offset: number;
  readonly pcr: number;
  readonly template: ImaTemplate;
  readonly layout: ImaListLayout;
  /** The template's fields as the list has them. */
  readonly data: Buffer;
  readonly #bytes: Buffer;
  readonly #hashAt: number;

  constructor(
    place: { readonly index: number; readonly offset: number },
    head: { readonly pcr: number; readonly template: ImaTemplate; readonly layout: ImaListLayout },
    span: EntrySpan,
  ) {
    this.index = place.index;
    this.offset = place.offset;
    this.pcr = head.pcr;
    this.template = head.template;
    this.layout = head.layout;
    this.data = span.bytes.subarray(span.dataAt, span.end);
    this.#bytes = span.bytes;
    this.#hashAt = span.hashAt;
  }

  /** The template hash that the list claims. */
  get templateHash(): Buffer {
    return this.#bytes.subarray(this.#hashAt, this.#hashAt + this.layout.hash.size);
  }

  /** Is this the template hash that the list claims? One character a byte; byte by byte, which is cheaper here than any call. */
  claims(hash: string): boolean {
    const { size } = this.layout.hash;
    if (hash.length !== size) return false;
    for (let at = 0; at < size; at += 1) {
      if (this.#bytes[this.#hashAt + at] !== hash.charCodeAt(at)) return false;
    }
    return true;
  }

  /** A violation is logged with a hash of zeros and extended as all ones: the file changed while it was measured. */
  get isViolation(): boolean {
    return this.#bytes[this.#hashAt] === 0 && this.templateHash.every((byte) => byte === 0);
  }

  /** What the template hash is over. */
  get hashInput(): Buffer {
    return this.template.fixedForm ? templateHashInput(this.template, this.data) : this.data;
  }
}
