/**
 * File signatures of IMA and EVM (kernel security/integrity/integrity.h): type ‖ version ‖ hash ‖ key id u32 ‖ size u16 ‖ signature,
 * integers big-endian. Version 2 signs a digest, version 3 the hash of {type, hash, digest}, so that a digest of one kind cannot
 * pass for one of another.
 */
import { hash as oneShotHash, verify } from 'node:crypto';

import type { ImaDigest } from './fields.ts';
import { imaHashById } from './hash-names.ts';
import type { ImaHash } from './hash-names.ts';
import type { ImaKey, ImaKeyring, TrySignature } from './keyring.ts';
import type { ImaSignatureResult, SignatureFault, SignatureSource } from './signature-result.ts';
import { verifyDigest } from './verify-digest.ts';

/** enum evm_ima_xattr_type */
export const XATTR_TYPE = {
  digest: 0x01,
  signature: 0x03,
  digestNg: 0x04,
  evmPortable: 0x05,
  veritySignature: 0x06,
} as const;

const HEADER_SIZE = 9;

/** A signature with its header read. `keyId` is eight hexadecimal digits. */
export interface SignatureHeader {
  readonly type: number;
  readonly version: 2 | 3;
  readonly hash: ImaHash;
  readonly keyId: string;
  readonly signature: Buffer;
}

/** What a header cannot be read for: a fault, or a form that is known and not supported. */
type HeaderProblem = { readonly fault: SignatureFault } | { readonly unsupported: string };

/** Reads what stands in `security.ima` or `security.evm`. */
export function readSignatureHeader(bytes: Buffer): SignatureHeader | HeaderProblem {
  const [type = 0, version = 0, hashId = 0] = bytes;
  const { signature, evmPortable, veritySignature } = XATTR_TYPE;
  if (type !== signature && type !== evmPortable && type !== veritySignature) return { fault: 'TYPE_UNKNOWN' };
  if (type === signature && version === 1) return { unsupported: 'a signature of version 1' };
  if (version !== 3 && (version !== 2 || type === veritySignature)) return { fault: 'VERSION_UNKNOWN' };
  if (bytes.length <= HEADER_SIZE) return { fault: 'TRUNCATED' };
  const hash = imaHashById(hashId);
  if (hash === undefined) return { fault: 'HASH_UNKNOWN' };
  if (bytes.readUInt16BE(7) !== bytes.length - HEADER_SIZE) return { fault: 'SIZE_MISMATCH' };
  if (hash.oid === undefined) return { unsupported: `a signature with ${hash.name}` };
  return { type, version, hash, keyId: bytes.toString('hex', 3, 7), signature: bytes.subarray(HEADER_SIZE) };
}

/** Checks the `sig` field of an entry against the digest that the entry holds. */
export function checkFileSignature(bytes: Buffer, digest: ImaDigest, keyring: ImaKeyring): ImaSignatureResult {
  const source = 'ima';
  if (bytes.length === 0) return { kind: 'none' };
  const header = readSignatureHeader(bytes);
  if (!('signature' in header)) return problemResult(source, header);
  const { keyId } = header;
  if (header.type === XATTR_TYPE.evmPortable) {
    // Kernels put it here for want of another; the metadata that it is over is only in evm-sig lists.
    return { kind: 'unsupported', source, what: 'a portable EVM signature without the metadata that it is over' };
  }
  const kind = header.type === XATTR_TYPE.veritySignature ? 'verity' : 'file';
  if (digest.of !== 'untold' && digest.of !== kind)
    return { kind: 'invalid', source, fault: 'DIGEST_KIND_MISMATCH', keyId };
  if (digest.hash !== header.hash) return { kind: 'invalid', source, fault: 'HASH_MISMATCH', keyId };
  return verifyHeader(source, header, digest.value, keyring);
}

/** The signature over a digest of the header's hash, under any key of its id. */
export function verifyHeader(
  source: SignatureSource,
  header: SignatureHeader,
  digest: Buffer,
  keyring: ImaKeyring,
): ImaSignatureResult {
  const { keyId } = header;
  const keys = keyring.byKeyId(keyId);
  if (keys.length === 0) return { kind: 'unknownKey', source, keyId };
  const trySignature = keyring.try;
  if (trySignature === null) return { kind: 'invalid', source, fault: 'UNTRIED', keyId };
  const key = keys.find((candidate) => verifyUnder(candidate, header, { digest, trySignature }));
  return key === undefined ? { kind: 'invalid', source, fault: 'VALUE_WRONG', keyId } : { kind: 'valid', source, key };
}

/** What stands for a header that cannot be read. */
export function problemResult(source: SignatureSource, problem: HeaderProblem): ImaSignatureResult {
  return 'fault' in problem
    ? { kind: 'invalid', source, fault: problem.fault }
    : { kind: 'unsupported', source, what: problem.unsupported };
}

function verifyUnder(
  key: ImaKey,
  { type, version, hash, signature }: SignatureHeader,
  { digest, trySignature }: { readonly digest: Buffer; readonly trySignature: TrySignature },
): boolean {
  const tryDigest = (signed: Buffer): boolean =>
    trySignature({ key, hash: hash.name, signed, signature }, () => verifyDigest(key, hash, signed, signature));
  if (version === 2) return tryDigest(digest);
  // struct ima_file_id, as long as its digest is.
  const fileId = Buffer.concat([Buffer.from([type, hash.id]), digest]);
  // ML-DSA signs the structure itself.
  if (key.type === 'mldsa') {
    return trySignature({ key, hash: '', signed: fileId, signature }, () => verifyMessage(key, fileId, signature));
  }
  return hash.node !== undefined && tryDigest(oneShotHash(hash.node, fileId, 'buffer'));
}

function verifyMessage({ key }: ImaKey, message: Buffer, signature: Buffer): boolean {
  try {
    return verify(null, message, key, signature);
  } catch {
    // A signature of another length than the key's parameters ask for.
    return false;
  }
}
