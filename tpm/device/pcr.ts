import { encode, list } from '../codec/structure.ts';
import { Writer } from '../codec/writer.ts';
import { digestSize } from '../crypto/digest.ts';
import { TPM2B_DIGEST } from '../structures/buffers.ts';
import {
  type PcrBankSelection,
  TPML_PCR_SELECTION,
  makePcrSelection,
  selectedBanks,
} from '../structures/pcr-selection.ts';
import { decodeAnswer } from './answer.ts';
import { TpmError } from './tpm-error.ts';
import { ESYS_TR, NumberOut, StructureIn, StructureOut, type Tss } from './tss.ts';

const { NONE, PASSWORD } = ESYS_TR;

/** PCR_Read answers at most eight digests (Part 2 §10.9.3). */
const TPML_DIGEST = list(TPM2B_DIGEST, 8);
/** How often a reading starts anew because a PCR was extended meanwhile. */
const MAX_READINGS = 16;

export interface PcrReading {
  /** TPM_ALG_ID of the bank. */
  readonly hash: number;
  readonly index: number;
  readonly value: Buffer;
}

export interface PcrDigest {
  /** TPM_ALG_ID of the bank. */
  readonly hash: number;
  readonly digest: Buffer;
}

/** The wire form of a selection. */
export function selectionIn(selection: readonly PcrBankSelection[]): StructureIn {
  const wire = encode(
    TPML_PCR_SELECTION,
    selection.map(({ hash, pcrs }) => makePcrSelection(hash, pcrs)),
  );
  return new StructureIn('TPML_PCR_SELECTION', wire);
}

/**
 * The values of one moment (TPM2_PCR_Read, Part 3 §22.4, as often as needed): pcrUpdateCounter is the same in all
 * answers. Banks and PCRs that the TPM does not have are not among them. Ordered by bank as asked, then by index.
 * @throws TpmError `UNSTABLE` if PCRs are extended all the time
 */
export async function readPcrs(tss: Tss, selection: readonly PcrBankSelection[]): Promise<readonly PcrReading[]> {
  for (let reading = 0; reading < MAX_READINGS; reading += 1) {
    const values = await readAtOnce(tss, selection);
    if (values !== undefined) return sortedAs(selection, values);
  }
  throw new TpmError('UNSTABLE', `PCRs changed during each of ${MAX_READINGS} readings`);
}

/**
 * TPM2_PCR_Extend (Part 3 §22.2): one digest for each bank, those without one stay as they are.
 * @param index 0 to 23
 */
export async function extendPcr(tss: Tss, index: number, digests: readonly PcrDigest[]): Promise<void> {
  if (!Number.isInteger(index) || index < 0 || index > 31) throw new TypeError(`no such pcr: ${index}`);
  const wire = new Writer();
  wire.u32(digests.length);
  for (const { hash, digest } of digests) {
    if (digest.length !== digestSize(hash)) throw new TypeError(`digest of ${digest.length} bytes for hash ${hash}`);
    wire.u16(hash);
    wire.bytes(digest);
  }
  const values = new StructureIn('TPML_DIGEST_VALUES', wire.finish());
  // ESYS_TR_PCR0 is 0, and so on: the index is the handle.
  await tss.call('Esys_PCR_Extend', index, PASSWORD, NONE, NONE, values);
}

/** @returns undefined if a PCR was extended between two answers */
async function readAtOnce(tss: Tss, selection: readonly PcrBankSelection[]): Promise<PcrReading[] | undefined> {
  const values: PcrReading[] = [];
  let remaining = selection.filter(({ pcrs }) => pcrs.length > 0);
  let counter: number | undefined;
  while (remaining.length > 0) {
    const answer = await readSome(tss, remaining);
    if (counter !== undefined && answer.counter !== counter) return undefined;
    counter = answer.counter;
    if (answer.values.length === 0) break;
    values.push(...answer.values);
    remaining = without(remaining, answer.values);
  }
  return values;
}

async function readSome(
  tss: Tss,
  selection: readonly PcrBankSelection[],
): Promise<{ readonly counter: number; readonly values: readonly PcrReading[] }> {
  const counter = new NumberOut();
  const selected = new StructureOut('TPML_PCR_SELECTION');
  const digests = new StructureOut('TPML_DIGEST');
  await tss.call('Esys_PCR_Read', NONE, NONE, NONE, selectionIn(selection), counter, selected, digests);
  const pcrs = selectedBanks(decodeAnswer(TPML_PCR_SELECTION, selected.wire)).flatMap((bank) =>
    bank.pcrs.map((index) => ({ hash: bank.hash, index })),
  );
  const found = decodeAnswer(TPML_DIGEST, digests.wire);
  if (pcrs.length !== found.length) {
    throw new TpmError('LIBRARY_FAILURE', `the TPM answered ${found.length} values for ${pcrs.length} PCRs`);
  }
  return { counter: counter.value, values: found.map((value, at) => ({ ...pcrAt(pcrs, at), value })) };
}

function pcrAt<T>(pcrs: readonly T[], at: number): T {
  const pcr = pcrs[at];
  if (pcr === undefined) throw new TypeError('no pcr for a value');
  return pcr;
}

function without(selection: readonly PcrBankSelection[], read: readonly PcrReading[]): PcrBankSelection[] {
  return selection
    .map(({ hash, pcrs }) => ({
      hash,
      pcrs: pcrs.filter((index) => !read.some((value) => value.hash === hash && value.index === index)),
    }))
    .filter(({ pcrs }) => pcrs.length > 0);
}

function sortedAs(selection: readonly PcrBankSelection[], values: PcrReading[]): PcrReading[] {
  const order = new Map(selection.map(({ hash }, at) => [hash, at]));
  return values.sort((a, b) => (order.get(a.hash) ?? 0) - (order.get(b.hash) ?? 0) || a.index - b.index);
}
