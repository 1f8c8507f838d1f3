/** EFI_SIGNATURE_LIST and EFI_SIGNATURE_DATA (UEFI §32.4.1): what PK, KEK, db and dbx hold. */
import { CodecError } from '../codec/codec-error.ts';
import { LittleEndianReader } from './little-endian.ts';

/** Entries of one variable that are read: the dbx of 2025 has 430. */
const MAX_SIGNATURES = 16_384;
/** SignatureType, ListSize, HeaderSize, SignatureSize. */
const LIST_HEADER_BYTES = 28;
const OWNER_BYTES = 16;

export type SignatureKind =
  | 'x509'
  | 'sha256'
  | 'sha1'
  | 'sha384'
  | 'sha512'
  | 'rsa2048'
  | 'x509-sha256'
  | 'x509-sha384'
  | 'x509-sha512'
  | 'other';

interface SignatureType {
  readonly kind: SignatureKind;
  /** SignatureSize without the owner; undefined where it varies. */
  readonly size?: number;
}

/** Known types have no signature header: bytes of one would be taken for signatures by whoever does not skip them. */
const TYPES: ReadonlyMap<string, SignatureType> = new Map<string, SignatureType>([
  ['a5c059a1-94e4-4aa7-87b5-ab155c2bf072', { kind: 'x509' }],
  ['c1c41626-504c-4092-aca9-41f936934328', { kind: 'sha256', size: 32 }],
  ['826ca512-cf10-4ac9-b187-be01496631bd', { kind: 'sha1', size: 20 }],
  ['ff3e5307-9fd0-48c9-85f1-8ad56c701e01', { kind: 'sha384', size: 48 }],
  ['093e0fae-a6c4-4f50-9f1b-d41e2b89c19a', { kind: 'sha512', size: 64 }],
  ['3c5766e8-269c-4e34-aa14-ed776e85b3b6', { kind: 'rsa2048', size: 256 }],
  ['3bd2a492-96c0-4079-b420-fcf98ef103ed', { kind: 'x509-sha256', size: 48 }],
  ['7076876e-80c2-4ee6-aad2-28b349a6865b', { kind: 'x509-sha384', size: 64 }],
  ['446dbf63-2502-4cda-bcfa-2465d2b0fe9d', { kind: 'x509-sha512', size: 80 }],
]);

export interface Signature {
  readonly kind: SignatureKind;
  /** SignatureType, text form: says what an `other` is. */
  readonly type: string;
  /** SignatureOwner: a GUID that whoever enrolled the entry chose. */
  readonly owner: string;
  /** The certificate (DER), the hash, or the bytes of another type. */
  readonly data: Buffer;
}

/** One list, its sizes checked. */
interface SignatureList {
  readonly kind: SignatureKind;
  readonly type: string;
  readonly signatureSize: number;
  /** A whole number of signatures. */
  readonly content: Buffer;
}

/**
 * The signatures of a variable. Its lists are checked at once, their entries made when somebody asks: a dbx has hundreds, and most
 * readers want to know of db alone.
 */
export class SignatureLists {
  /** The variable as it was read. */
  readonly bytes: Buffer;
  readonly #lists: readonly SignatureList[];
  #signatures: readonly Signature[] | undefined;
  #known: ReadonlySet<string> | undefined;

  private constructor(bytes: Buffer, lists: readonly SignatureList[]) {
    this.bytes = bytes;
    this.#lists = lists;
  }

  /** @throws CodecError where sizes do not add up: no part of such a variable is used */
  static read(bytes: Buffer): SignatureLists {
    const reader = new LittleEndianReader(bytes);
    const lists: SignatureList[] = [];
    let count = 0;
    while (reader.remaining > 0) {
      const at = reader.offset;
      const list = readSignatureList(reader);
      count += list.content.length / list.signatureSize;
      if (count > MAX_SIGNATURES || lists.length >= MAX_SIGNATURES) {
        throw new CodecError('COUNT_EXCEEDED', at, `more than ${MAX_SIGNATURES} signatures`);
      }
      lists.push(list);
    }
    return new SignatureLists(bytes, lists);
  }

  /** SignatureTypes that are not known here. */
  get unknownTypes(): readonly string[] {
    return this.#lists.filter(({ kind }) => kind === 'other').map(({ type }) => type);
  }

  get isEmpty(): boolean {
    return this.#lists.every(({ content }) => content.length === 0);
  }

  /** All of them, in order. */
  get signatures(): readonly Signature[] {
    return (this.#signatures ??= this.#lists.flatMap(signaturesOf));
  }

  /** Is there an entry of these bytes, of that owner or of any? Asked for each authority, of which a made log has hundreds beside thousands of entries. */
  has(owner: string | undefined, data: Buffer): boolean {
    this.#known ??= new Set(
      this.signatures.flatMap((entry) => [entryKey(entry.owner, entry.data), entryKey('', entry.data)]),
    );
    return this.#known.has(entryKey(owner ?? '', data));
  }
}

/** Equal for equal entries alone: an owner has one length. */
function entryKey(owner: string, data: Buffer): string {
  return `${owner}|${data.toString('latin1')}`;
}

function readSignatureList(reader: LittleEndianReader): SignatureList {
  const at = reader.offset;
  const type = reader.guid();
  const listSize = reader.u32();
  const headerSize = reader.u32();
  const signatureSize = reader.u32();
  const known = TYPES.get(type);
  const refuse = (detail: string): CodecError => new CodecError('VALUE_OUT_OF_RANGE', at, detail);
  if (listSize < LIST_HEADER_BYTES || headerSize > listSize - LIST_HEADER_BYTES) {
    throw refuse(`a signature list of ${listSize} bytes has a header of ${headerSize}`);
  }
  if (known !== undefined && headerSize !== 0) {
    throw refuse(`${known.kind} signatures have no header, the list one of ${headerSize} bytes`);
  }
  if (signatureSize <= OWNER_BYTES || (known?.size !== undefined && signatureSize !== OWNER_BYTES + known.size)) {
    throw refuse(`${known?.kind ?? type} signatures do not have ${signatureSize} bytes`);
  }
  const content = reader.bytes(listSize - LIST_HEADER_BYTES).subarray(headerSize);
  if (content.length % signatureSize !== 0) {
    throw refuse(`${content.length} bytes are no whole number of signatures`);
  }
  return { kind: known?.kind ?? 'other', type, signatureSize, content };
}

function signaturesOf({ kind, type, signatureSize, content }: SignatureList): readonly Signature[] {
  const signatures: Signature[] = [];
  let owner = '';
  for (let start = 0; start < content.length; start += signatureSize) {
    const end = start + signatureSize;
    // Hundreds of entries in a row have one owner: its text is made once.
    const before = start - signatureSize;
    if (start === 0 || content.compare(content, before, before + OWNER_BYTES, start, start + OWNER_BYTES) !== 0) {
      owner = new LittleEndianReader(content.subarray(start, end)).guid();
    }
    signatures.push({ kind, type, owner, data: content.subarray(start + OWNER_BYTES, end) });
  }
  return signatures;
}

/** One EFI_SIGNATURE_DATA, as an authority event has it. */
export function readSignatureData(bytes: Buffer): { readonly owner: string; readonly data: Buffer } | undefined {
  if (bytes.length <= OWNER_BYTES) return undefined;
  const reader = new LittleEndianReader(bytes);
  return { owner: reader.guid(), data: reader.rest() };
}
