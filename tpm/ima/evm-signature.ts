/**
 * Portable EVM signatures (kernel security/integrity/evm/evm_crypto.c) as evm-sig lists hold them with all that they are over: the
 * values of the protected extended attributes, then owner, group and mode. Inode number and generation are zero in this form.
 */
import { hash as oneShotHash } from 'node:crypto';

import type { ByteOrder } from './entry.ts';
import type { ImaDigest, ImaMeasurement, ImaXattr } from './fields.ts';
import { XATTR_TYPE, checkFileSignature, problemResult, readSignatureHeader, verifyHeader } from './file-signature.ts';
import { imaHashById } from './hash-names.ts';
import type { ImaKeyring } from './keyring.ts';
import type { ImaSignatureResult } from './signature-result.ts';

/** Bytes of `struct h_misc` before the owner, and in all: on kernels of 64 and of 32 bits. */
const miscLayouts = [
  { ownerAt: 12, size: 24 },
  { ownerAt: 8, size: 20 },
] as const;

export const IMA_XATTR = 'security.ima';

/**
 * Checks the `evmsig` field of an entry. It is valid only if it covers a `security.ima` that is of the digest measured: else it
 * would say nothing of the file's content.
 */
export function checkEvmSignature(
  measurement: ImaMeasurement,
  keyring: ImaKeyring,
  order: ByteOrder,
): ImaSignatureResult {
  const source = 'evm';
  const { evmSignature, xattrs, uid, gid, mode, digest } = measurement;
  if (evmSignature === undefined || evmSignature.length === 0) return { kind: 'none' };
  const header = readSignatureHeader(evmSignature);
  if (!('signature' in header)) return problemResult(source, header);
  const { keyId, hash, type } = header;
  if (type !== XATTR_TYPE.evmPortable) return { kind: 'invalid', source, fault: 'TYPE_UNKNOWN', keyId };
  const { node } = hash;
  if (xattrs === undefined || uid === undefined || gid === undefined || mode === undefined || node === undefined) {
    return { kind: 'invalid', source, fault: 'XATTRS_MISSING', keyId };
  }
  const ima = checkImaXattr(xattrs, digest, keyring);
  if (ima !== 'agrees') {
    return ima === 'missing' || ima === 'differs'
      ? { kind: 'invalid', source, fault: ima === 'missing' ? 'IMA_XATTR_MISSING' : 'IMA_XATTR_MISMATCH', keyId }
      : ima;
  }
  const values = xattrs.map(({ value }) => value);
  let result: ImaSignatureResult = { kind: 'none' };
  for (const misc of metadataForms({ uid, gid, mode }, order)) {
    const signed = oneShotHash(node, Buffer.concat([...values, misc]), 'buffer');
    result = verifyHeader(source, header, signed, keyring);
    if (result.kind !== 'invalid') return result;
  }
  return result;
}

/**
 * `struct h_misc` as kernels may have it. Its numbers are in the byte order of the kernel, which is not that of a little-endian list
 * where `ima_canonical_fmt` is set.
 */
function metadataForms(
  { uid, gid, mode }: Readonly<Record<'uid' | 'gid' | 'mode', number>>,
  order: ByteOrder,
): readonly Buffer[] {
  const orders: readonly ByteOrder[] = order === 'little' ? ['little', 'big'] : ['big'];
  return orders.flatMap((written) =>
    miscLayouts.map(({ ownerAt, size }) => {
      const misc = Buffer.alloc(size);
      const numbers = [
        [uid, ownerAt, 4],
        [gid, ownerAt + 4, 4],
        [mode & 0xffff, ownerAt + 8, 2],
      ] as const;
      for (const [value, at, length] of numbers) {
        if (written === 'little') misc.writeUIntLE(value, at, length);
        else misc.writeUIntBE(value, at, length);
      }
      return misc;
    }),
  );
}

/** Is `security.ima` of the measured digest? It holds the digest itself, or a signature that must then verify too. */
function checkImaXattr(
  xattrs: readonly ImaXattr[],
  digest: ImaDigest,
  keyring: ImaKeyring,
): 'agrees' | 'missing' | 'differs' | ImaSignatureResult {
  const value = xattrs.find(({ name }) => name === IMA_XATTR)?.value;
  if (value === undefined || value.length === 0) return 'missing';
  const [type, second = -1] = value;
  if (type === XATTR_TYPE.digest) return agrees(digest, 'sha1', value.subarray(1));
  if (type === XATTR_TYPE.digestNg) return agrees(digest, imaHashById(second)?.name, value.subarray(2));
  const result = checkFileSignature(value, digest, keyring);
  return result.kind === 'valid' ? 'agrees' : result;
}

function agrees({ hash, value }: ImaDigest, name: string | undefined, stored: Buffer): 'agrees' | 'differs' {
  return hash?.name === name && value.equals(stored) ? 'agrees' : 'differs';
}
