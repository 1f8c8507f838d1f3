/** TCG_EfiSpecIdEvent (PFP §10.4.5.1): the head of a crypto-agile log, which declares its banks. */
import { getHashes } from 'node:crypto';
import { CodecError } from '../codec/codec-error.ts';
import { HASH_ALGORITHMS, algorithmName } from '../structures/constants.ts';
import { LittleEndianReader } from './little-endian.ts';

/** Banks that one log may declare (HASH_COUNT of the TPM). */
export const MAX_BANKS = 16;
/** Bytes of the longest digest that a log may declare for an algorithm that is not known here. */
const MAX_DIGEST_BYTES = 128;

/** Some builds of OpenSSL leave out SM3 or SHA-1. */
const AVAILABLE_HASHES: ReadonlySet<string> = new Set(getHashes());

/** One digest of each event. `replayable` is false for a hash that is not known here: its digests are read, and no more. */
export interface LogBank {
  /** TPM_ALG_ID */
  readonly alg: number;
  /** Bytes of a digest. */
  readonly size: number;
  readonly replayable: boolean;
}

export interface SpecId {
  readonly platformClass: number;
  /** `major.minor.errata` */
  readonly version: string;
  readonly uintnSize: number;
  readonly banks: readonly LogBank[];
  readonly vendorInfo: Buffer;
}

export interface ReadSpecId {
  readonly specId: SpecId;
  /** Bytes of the vendor's information that lie beyond the event: some firmware leaves them out of its size. */
  readonly overrun: number;
}

/**
 * Reads the event's data; `following` is the log after it. Bytes after the vendor's information are taken as part of it.
 * @throws CodecError where it is malformed
 */
export function readSpecId(data: Buffer, following: Buffer): ReadSpecId {
  const reader = new LittleEndianReader(data);
  reader.bytes(16);
  const platformClass = reader.u32();
  const minor = reader.u8();
  const major = reader.u8();
  const errata = reader.u8();
  const uintnSize = reader.u8();
  const banks = readBanks(reader);
  const overrun = Math.max(0, reader.u8() - reader.remaining);
  const inside = reader.rest();
  if (overrun > following.length) {
    throw new CodecError('TRUNCATED', reader.offset, `${overrun} bytes of vendor information are missing`);
  }
  const vendorInfo = overrun === 0 ? inside : Buffer.concat([inside, following.subarray(0, overrun)]);
  return { specId: { platformClass, version: `${major}.${minor}.${errata}`, uintnSize, banks, vendorInfo }, overrun };
}

function readBanks(reader: LittleEndianReader): readonly LogBank[] {
  const countOffset = reader.offset;
  const count = reader.u32();
  if (count < 1 || count > MAX_BANKS) {
    throw new CodecError('COUNT_EXCEEDED', countOffset, `${count} algorithms are not between 1 and ${MAX_BANKS}`);
  }
  const banks: LogBank[] = [];
  while (banks.length < count) {
    const at = reader.offset;
    const alg = reader.u16();
    const size = reader.u16();
    const known = HASH_ALGORITHMS.get(alg);
    if (size < 1 || size > MAX_DIGEST_BYTES || (known !== undefined && known.size !== size)) {
      throw new CodecError('VALUE_OUT_OF_RANGE', at, `a digest of ${algorithmName(alg)} does not have ${size} bytes`);
    }
    if (banks.some((bank) => bank.alg === alg)) {
      throw new CodecError('VALUE_OUT_OF_RANGE', at, `${algorithmName(alg)} is declared twice`);
    }
    banks.push({ alg, size, replayable: known !== undefined && AVAILABLE_HASHES.has(known.node) });
  }
  return banks;
}
