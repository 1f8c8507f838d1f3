/** The fields of a template, read from an entry's data. One row per field says what its bytes must be. */
import type { ByteOrder, ImaEntry } from './entry.ts';
import { imaFinding, quoteName } from './findings.ts';
import type { ImaFinding } from './findings.ts';
import { imaHashByName } from './hash-names.ts';
import type { ImaHash } from './hash-names.ts';
import { FIXED_DIGEST_SIZE } from './templates.ts';
import type { ImaFieldId } from './templates.ts';

/**
 * A digest as `d`, `d-ng`, `d-ngv2` and `d-modsig` hold it. `hash` is undefined for an algorithm that no kernel writes. `of` says
 * what was hashed: a file's bytes, its fs-verity structure, or what only `d-ngv2` would tell.
 */
export interface ImaDigest {
  readonly algorithm: string;
  readonly hash: ImaHash | undefined;
  readonly of: 'file' | 'verity' | 'untold';
  readonly value: Buffer;
}

/** An extended attribute as `evm-sig` records it. */
export interface ImaXattr {
  readonly name: string;
  readonly value: Buffer;
}

/** What an entry says. A field that its template does not have is absent; one that it has may be empty. */
export interface ImaMeasurement {
  /** Path of a file, or what a buffer is. A hint: links and mount namespaces change it, and any byte but NUL may be in it. */
  readonly name: string;
  readonly nameBytes: Buffer;
  readonly digest: ImaDigest;
  readonly signature?: Buffer;
  readonly buffer?: Buffer;
  readonly modsigDigest?: ImaDigest;
  readonly modsig?: Buffer;
  readonly evmSignature?: Buffer;
  readonly xattrs?: readonly ImaXattr[];
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: number;
}

/** What a field adds while an entry is read; the three lists of xattrs make one in the end. */
interface Draft {
  readonly said: { -readonly [Key in keyof ImaMeasurement]?: ImaMeasurement[Key] };
  xattrNames?: readonly string[];
  xattrLengths?: readonly number[];
  xattrValues?: Buffer;
}

/** A fact that the row found wrong, as a phrase; undefined when the field is as it must be. */
type FieldReader = (draft: Draft, bytes: Buffer, order: ByteOrder) => string | undefined;

const readers: Readonly<Record<ImaFieldId, FieldReader>> = {
  d: (draft, bytes) => {
    const sizes: Readonly<Record<number, string>> = { 16: 'md5', 20: 'sha1' };
    const algorithm = sizes[bytes.length];
    if (algorithm === undefined) return `a digest of ${bytes.length} bytes`;
    draft.said.digest = { algorithm, hash: imaHashByName(algorithm), of: 'untold', value: bytes };
    return undefined;
  },
  n: readName,
  'n-ng': readName,
  'd-ng': (draft, bytes) => setDigest(draft, 'digest', readDigest(bytes, false)),
  'd-ngv2': (draft, bytes) => setDigest(draft, 'digest', readDigest(bytes, true)),
  'd-modsig': (draft, bytes) =>
    bytes.length === 0 ? undefined : setDigest(draft, 'modsigDigest', readDigest(bytes, false)),
  sig: (draft, bytes) => void (draft.said.signature = bytes),
  buf: (draft, bytes) => void (draft.said.buffer = bytes),
  modsig: (draft, bytes) => void (draft.said.modsig = bytes),
  evmsig: (draft, bytes) => void (draft.said.evmSignature = bytes),
  xattrnames: (draft, bytes) => {
    const text = withoutTerminator(bytes).toString('latin1');
    draft.xattrNames = text === '' ? [] : text.split('|', MAX_XATTRS + 1);
    return draft.xattrNames.length > MAX_XATTRS ? `more than ${MAX_XATTRS} extended attributes` : undefined;
  },
  xattrlengths: (draft, bytes, order) => {
    if (bytes.length % 4 !== 0 || bytes.length > MAX_XATTRS * 4) return `lengths in ${bytes.length} bytes`;
    draft.xattrLengths = Array.from({ length: bytes.length / 4 }, (_, index) =>
      readUint(bytes.subarray(index * 4, index * 4 + 4), order),
    );
    return undefined;
  },
  xattrvalues: (draft, bytes) => void (draft.xattrValues = bytes),
  iuid: (draft, bytes, order) => setNumber(draft, 'uid', bytes, order),
  igid: (draft, bytes, order) => setNumber(draft, 'gid', bytes, order),
  imode: (draft, bytes, order) => setNumber(draft, 'mode', bytes, order),
};

/** Extended attributes of one entry. Kernels protect about eight; names can be added at run time. */
const MAX_XATTRS = 64;

/** Bytes of a digest field: the longest name, its prefix and the longest digest fit well. */
const MAX_DIGEST_FIELD = 128;

/** What an entry says, or the finding that tells why its fields cannot be read. */
export function readMeasurement(entry: ImaEntry): ImaMeasurement | ImaFinding {
  const { template } = entry;
  if (template.fields === undefined) {
    const message = `entry ${entry.index} has the template ${quoteName(template.name)}, which is not known`;
    return imaFinding('IMA_TEMPLATE_UNKNOWN', placeOf(entry), message);
  }
  const draft: Draft = { said: {} };
  const parts = splitFields(entry, template.fields.length);
  if (typeof parts === 'string') return malformed(entry, parts);
  for (const [index, id] of template.fields.entries()) {
    const problem = readers[id](draft, parts[index] ?? Buffer.alloc(0), entry.layout.byteOrder);
    if (problem !== undefined) return malformed(entry, `field ${id} holds ${problem}`);
  }
  const xattrs = joinXattrs(draft);
  if (typeof xattrs === 'string') return malformed(entry, xattrs);
  const { name, nameBytes, digest, ...others } = draft.said;
  if (name === undefined || nameBytes === undefined) return malformed(entry, 'the template has no name');
  if (digest === undefined) return malformed(entry, 'the template has no digest');
  // Of a violation nothing was hashed, and Linux 5.18 lists 20 zeros of whatever hash.
  const short = entry.isViolation ? undefined : [digest, others.modsigDigest].find(isOfWrongSize);
  if (short !== undefined) return malformed(entry, `a ${short.algorithm} digest of ${short.value.length} bytes`);
  return { name, nameBytes, digest, ...others, ...(xattrs === undefined ? {} : { xattrs }) };
}

/** Tells a finding from what {@link readMeasurement} gives otherwise. */
export function isFinding(result: ImaMeasurement | ImaFinding): result is ImaFinding {
  return 'severity' in result;
}

/** Where an entry is, for findings. */
export function placeOf(entry: Pick<ImaEntry, 'index' | 'offset'>): {
  readonly index: number;
  readonly offset: number;
} {
  return { index: entry.index, offset: entry.offset };
}

function malformed(entry: ImaEntry, what: string): ImaFinding {
  return imaFinding('IMA_FIELD_MALFORMED', placeOf(entry), `entry ${entry.index} (${entry.template.name}): ${what}`);
}

/** Each field has a length of four bytes before it; only the digest of `ima` has none. */
function splitFields(entry: ImaEntry, count: number): readonly Buffer[] | string {
  const { data, layout, template } = entry;
  const parts: Buffer[] = [];
  let at = 0;
  if (template.fixedForm) {
    parts.push(data.subarray(0, FIXED_DIGEST_SIZE));
    at = FIXED_DIGEST_SIZE;
  }
  while (parts.length < count) {
    if (data.length - at < 4) return 'the template data ends before its last field';
    const length = readUint(data.subarray(at, at + 4), layout.byteOrder);
    at += 4;
    if (length > data.length - at) return `a field of ${length} bytes where ${data.length - at} are left`;
    parts.push(data.subarray(at, at + length));
    at += length;
  }
  return at === data.length ? parts : `${data.length - at} bytes follow the last field`;
}

function readName(draft: Draft, bytes: Buffer): string | undefined {
  const nameBytes = withoutTerminator(bytes);
  if (nameBytes.length === 0) return 'no name';
  if (nameBytes.includes(0)) return 'a name with a zero byte inside';
  draft.said.nameBytes = nameBytes;
  draft.said.name = nameBytes.toString('utf8');
  return undefined;
}

function withoutTerminator(bytes: Buffer): Buffer {
  return bytes.at(-1) === 0 ? bytes.subarray(0, -1) : bytes;
}

function setDigest(draft: Draft, key: 'digest' | 'modsigDigest', digest: ImaDigest | string): string | undefined {
  if (typeof digest === 'string') return digest;
  draft.said[key] = digest;
  return undefined;
}

const DIGEST_KINDS: ReadonlyMap<string, ImaDigest['of']> = new Map([
  ['ima', 'file'],
  ['verity', 'verity'],
]);

/** `sha256:` NUL digest, with `ima:` or `verity:` before it in `d-ngv2`. */
function readDigest(bytes: Buffer, typed: boolean): ImaDigest | string {
  if (bytes.length > MAX_DIGEST_FIELD) return `a digest of ${bytes.length} bytes`;
  const terminator = bytes.indexOf(0);
  if (terminator < 1 || bytes[terminator - 1] !== 0x3a) return 'a digest without the name of its hash';
  const words = bytes.toString('latin1', 0, terminator - 1).split(':');
  const algorithm = words.at(-1) ?? '';
  const of = typed ? DIGEST_KINDS.get(words[0] ?? '') : 'untold';
  if (words.length !== (typed ? 2 : 1) || of === undefined || !/^[a-z0-9_-]+$/.test(algorithm)) {
    return 'a digest without the name of its hash';
  }
  const hash = imaHashByName(algorithm);
  return { algorithm, hash, of, value: bytes.subarray(terminator + 1) };
}

function isOfWrongSize(digest: ImaDigest | undefined): boolean {
  return digest?.hash !== undefined && digest.hash.size !== digest.value.length;
}

function setNumber(draft: Draft, key: 'uid' | 'gid' | 'mode', bytes: Buffer, order: ByteOrder): string | undefined {
  // Empty where no file is behind the entry, as for boot_aggregate.
  if (bytes.length === 0) return undefined;
  if (bytes.length > 4 || bytes.length === 3) return `a number of ${bytes.length} bytes`;
  draft.said[key] = readUint(bytes, order);
  return undefined;
}

function readUint(bytes: Buffer, order: ByteOrder): number {
  return order === 'little' ? bytes.readUIntLE(0, bytes.length) : bytes.readUIntBE(0, bytes.length);
}

function joinXattrs({ xattrNames, xattrLengths, xattrValues }: Draft): readonly ImaXattr[] | string | undefined {
  if (xattrNames === undefined || xattrLengths === undefined || xattrValues === undefined) return undefined;
  if (xattrNames.length !== xattrLengths.length) {
    return `${xattrNames.length} names and ${xattrLengths.length} lengths of extended attributes`;
  }
  let at = 0;
  const xattrs: ImaXattr[] = [];
  for (const [index, name] of xattrNames.entries()) {
    const length = xattrLengths[index] ?? 0;
    if (length > xattrValues.length - at) return `extended attribute ${quoteName(name)} is longer than the values`;
    xattrs.push({ name, value: xattrValues.subarray(at, at + length) });
    at += length;
  }
  return at === xattrValues.length ? xattrs : `${xattrValues.length - at} bytes follow the last extended attribute`;
}
