import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import { HASH_ALGORITHMS } from '../../tpm/structures/constants.ts';
import { selectedBanks, selectedPcrs } from '../../tpm/structures/pcr-selection.ts';
import type { TPML_PCR_SELECTION } from '../../tpm/structures/pcr-selection.ts';
import { UsageError } from '../failure.ts';
import { parsePcrFile } from './eventlog-input.ts';
import type { NamedFile } from './trust-anchors.ts';

/**
 * The file that `tpm2_quote --pcr` writes: the C structures of its platform, little-endian. A TPML_PCR_SELECTION of 16
 * places of 8 bytes, then a count and as many TPML_DIGEST of 8 places of 66 bytes.
 */
const SELECTIONS = 16;
const SELECTION_BYTES = 8;
const DIGESTS_AT = 4 + SELECTIONS * SELECTION_BYTES;
const DIGESTS_OF_A_LIST = 8;
const DIGEST_BYTES = 2 + 64;
const LIST_BYTES = 4 + DIGESTS_OF_A_LIST * DIGEST_BYTES;

/**
 * Reads PCR values: text as `parsePcrFile` takes it, the file of tpm2_quote, or the bare values of `selection` one after another.
 * @throws UsageError for what is none of these
 */
export function readPcrValues({ name, bytes }: NamedFile, selection: TPML_PCR_SELECTION): PcrValues {
  if (bytes.every((byte) => byte >= 0x09 && byte < 0x7f)) return parsePcrFile(name, bytes.toString('latin1'));
  const values = readStructures(bytes) ?? readBare(bytes, selection);
  if (values === undefined) throw new UsageError(`${name} holds no PCR values that can be read`);
  return values;
}

function readStructures(bytes: Buffer): PcrValues | undefined {
  const lists = (bytes.length - DIGESTS_AT - 4) / LIST_BYTES;
  if (!Number.isInteger(lists) || lists < 1) return undefined;
  const count = bytes.readUInt32LE(0);
  if (count > SELECTIONS || bytes.readUInt32LE(DIGESTS_AT) !== lists) return undefined;
  const selections = Array.from({ length: count }, (_, index) => {
    const at = 4 + index * SELECTION_BYTES;
    const size = Math.min(bytes.readUInt8(at + 2), 4);
    return { hash: bytes.readUInt16LE(at), pcrSelect: bytes.subarray(at + 3, at + 3 + size) };
  });
  const digests: Buffer[] = [];
  for (let list = 0; list < lists; list += 1) {
    const at = DIGESTS_AT + 4 + list * LIST_BYTES;
    const places = bytes.readUInt32LE(at);
    if (places > DIGESTS_OF_A_LIST) return undefined;
    for (let place = 0; place < places; place += 1) {
      const start = at + 4 + place * DIGEST_BYTES;
      const size = bytes.readUInt16LE(start);
      if (size > DIGEST_BYTES - 2) return undefined;
      digests.push(bytes.subarray(start + 2, start + 2 + size));
    }
  }
  return assign(
    selections.flatMap(({ hash, pcrSelect }) => selectedPcrs(pcrSelect).map((pcr) => ({ hash, pcr }))),
    digests,
  );
}

function readBare(bytes: Buffer, selection: TPML_PCR_SELECTION): PcrValues | undefined {
  const places = selectedBanks(selection).flatMap(({ hash, pcrs }) => pcrs.map((pcr) => ({ hash, pcr })));
  const digests: Buffer[] = [];
  let at = 0;
  for (const { hash } of places) {
    const size = HASH_ALGORITHMS.get(hash)?.size ?? 0;
    digests.push(bytes.subarray(at, at + size));
    at += size;
  }
  return at === bytes.length ? assign(places, digests) : undefined;
}

/** A value for each place and a place for each value; no place twice. */
function assign(
  places: readonly { readonly hash: number; readonly pcr: number }[],
  digests: readonly Buffer[],
): PcrValues | undefined {
  if (places.length === 0 || places.length !== digests.length) return undefined;
  const banks = new Map<number, Map<number, Buffer>>();
  for (const [index, { hash, pcr }] of places.entries()) {
    const bank = banks.get(hash) ?? new Map<number, Buffer>();
    const digest = digests[index];
    if (digest === undefined || digest.length !== HASH_ALGORITHMS.get(hash)?.size || bank.has(pcr)) return undefined;
    banks.set(hash, bank.set(pcr, digest));
  }
  return banks;
}
