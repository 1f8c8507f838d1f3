/** Makes logs as firmware would, and as an attacker would. */
import { createHash } from 'node:crypto';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';

export interface MadeEvent {
  readonly pcr: number;
  readonly type: number;
  readonly data: Buffer;
  /** What the digest is of; the data unless said otherwise. */
  readonly measured?: Buffer;
  /** In place of the digests of `measured`. */
  readonly digests?: readonly (readonly [number, Buffer])[];
}

const HASHES: Readonly<Record<number, string>> = {
  [TPM_ALG_SHA1]: 'sha1',
  [TPM_ALG_SHA256]: 'sha256',
  [TPM_ALG_SHA384]: 'sha384',
};

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function sha256(data: Buffer): Buffer {
  return createHash('sha256').update(data).digest();
}

/** A crypto-agile log of SHA-1 and SHA-256, or of the given banks. */
export function makeLog(
  events: readonly MadeEvent[],
  algs: readonly number[] = [TPM_ALG_SHA1, TPM_ALG_SHA256],
): Buffer {
  return Buffer.concat([
    makeHeader(algs.map((alg) => [alg, alg === TPM_ALG_SHA1 ? 20 : 32])),
    ...events.map((event) => makeEvent(event, algs)),
  ]);
}

export function makeHeader(banks: readonly (readonly [number, number])[], vendorInfo = Buffer.alloc(0)): Buffer {
  const data = Buffer.concat([
    Buffer.from('Spec ID Event03\0'),
    u32(0),
    Buffer.from([0, 2, 0, 2]),
    u32(banks.length),
    ...banks.flatMap(([alg, size]) => [u16(alg), u16(size)]),
    Buffer.from([vendorInfo.length]),
    vendorInfo,
  ]);
  return makeSha1Event({ pcr: 0, type: 3, data, digests: [[TPM_ALG_SHA1, Buffer.alloc(20)]] });
}

export function makeEvent(event: MadeEvent, algs: readonly number[] = [TPM_ALG_SHA1, TPM_ALG_SHA256]): Buffer {
  const { pcr, type, data, measured = data } = event;
  const zero = type === 3;
  const digests =
    event.digests ??
    algs.map((alg) => {
      const digest = createHash(HASHES[alg] ?? 'sha256')
        .update(measured)
        .digest();
      return [alg, zero ? Buffer.alloc(digest.length) : digest] as const;
    });
  return Buffer.concat([
    u32(pcr),
    u32(type),
    u32(digests.length),
    ...digests.flatMap(([alg, digest]) => [u16(alg), digest]),
    u32(data.length),
    data,
  ]);
}

export function makeSha1Event({ pcr, type, data, measured = data, digests }: MadeEvent): Buffer {
  const digest = digests?.[0]?.[1] ?? createHash('sha1').update(measured).digest();
  return Buffer.concat([u32(pcr), u32(type), digest, u32(data.length), data]);
}

export function guid(text: string): Buffer {
  const hex = text.replaceAll('-', '');
  const bytes = Buffer.from(hex, 'hex');
  return Buffer.concat([
    bytes.subarray(0, 4).reverse(),
    bytes.subarray(4, 6).reverse(),
    bytes.subarray(6, 8).reverse(),
    bytes.subarray(8),
  ]);
}

export function makeVariable(vendor: string, name: string, data: Buffer): Buffer {
  return Buffer.concat([guid(vendor), u64(name.length), u64(data.length), Buffer.from(name, 'utf16le'), data]);
}

export const X509_TYPE = 'a5c059a1-94e4-4aa7-87b5-ab155c2bf072';
export const SHA256_TYPE = 'c1c41626-504c-4092-aca9-41f936934328';
export const OWNER = '77fa9abd-0359-4d32-bd60-28f4e78f784b';

export function makeSignatureList(
  type: string,
  entries: readonly Buffer[],
  { header = Buffer.alloc(0), owner = OWNER }: { readonly header?: Buffer; readonly owner?: string } = {},
): Buffer {
  const size = 16 + (entries[0]?.length ?? 0);
  const body = Buffer.concat(entries.flatMap((entry) => [guid(owner), entry]));
  return Buffer.concat([
    guid(type),
    u32(28 + header.length + body.length),
    u32(header.length),
    u32(size),
    header,
    body,
  ]);
}
