/** TPML_PCR_SELECTION (Part 2 §10.6.2, §10.9.7) and its normal form, sets of PCRs by bank. */
import { fields, list, shortBytes, u16 } from '../codec/structure.ts';
import type { ValueOf } from '../codec/structure.ts';
import { algorithmName } from './constants.ts';

/** Bytes of the widest bitmap: 32 PCRs. */
const PCR_SELECT_MAX = 4;
/** Bytes of the narrowest bitmap that a PC Client TPM takes: 24 PCRs. */
const PCR_SELECT_MIN = 3;
/** Banks in one list (HASH_COUNT). */
const MAX_BANKS = 16;

/** §10.6.2: bit `n % 8` of byte `n / 8` stands for PCR n. */
export const TPMS_PCR_SELECTION = fields({ hash: u16, pcrSelect: shortBytes(PCR_SELECT_MAX) });
export type TPMS_PCR_SELECTION = ValueOf<typeof TPMS_PCR_SELECTION>;

export const TPML_PCR_SELECTION = list(TPMS_PCR_SELECTION, MAX_BANKS);
export type TPML_PCR_SELECTION = ValueOf<typeof TPML_PCR_SELECTION>;

/** PCRs of one bank, ascending. `hash` is a TPM_ALG_ID. */
export interface PcrBankSelection {
  readonly hash: number;
  readonly pcrs: readonly number[];
}

/** How a selection departs from the one that was asked for. A bank without `pcr` is meant as a whole. */
export type PcrSelectionDifference =
  | { readonly kind: 'missing' | 'additional'; readonly hash: number; readonly pcr: number }
  | { readonly kind: 'duplicate'; readonly hash: number };

/** The PCRs of a bitmap, ascending. */
export function selectedPcrs(pcrSelect: Buffer): readonly number[] {
  const pcrs: number[] = [];
  for (let pcr = 0; pcr < pcrSelect.length * 8; pcr++) {
    if (((pcrSelect[pcr >> 3] ?? 0) & (1 << (pcr & 7))) !== 0) {
      pcrs.push(pcr);
    }
  }
  return pcrs;
}

/** One bank's selection from PCR numbers, in any order. */
export function makePcrSelection(hash: number, pcrs: Iterable<number>): TPMS_PCR_SELECTION {
  const bitmap = Buffer.alloc(PCR_SELECT_MAX);
  let length = PCR_SELECT_MIN;
  for (const pcr of pcrs) {
    if (!Number.isInteger(pcr) || pcr < 0 || pcr >= PCR_SELECT_MAX * 8) {
      throw new TypeError(`no such pcr: ${pcr}`);
    }
    const index = pcr >> 3;
    bitmap[index] = (bitmap[index] ?? 0) | (1 << (pcr & 7));
    length = Math.max(length, index + 1);
  }
  return { hash, pcrSelect: bitmap.subarray(0, length) };
}

/**
 * The banks that select anything, in the order of the list, which is the order of pcrDigest. A TPM returns a bank that is not
 * active with an all-zero bitmap; it is left out here. A bank that occurs twice stays twice: see {@link duplicateBanks}.
 */
export function selectedBanks(selection: TPML_PCR_SELECTION): readonly PcrBankSelection[] {
  return selection
    .map(({ hash, pcrSelect }) => ({ hash, pcrs: selectedPcrs(pcrSelect) }))
    .filter(({ pcrs }) => pcrs.length > 0);
}

/** Banks that occur more than once in the list, empty bitmaps counted. */
export function duplicateBanks(selection: TPML_PCR_SELECTION): readonly number[] {
  const seen = new Set<number>();
  const twice = new Set<number>();
  for (const { hash } of selection) {
    (seen.has(hash) ? twice : seen).add(hash);
  }
  return [...twice];
}

/**
 * All the ways in which `actual` departs from `expected`; none means that both select the same PCRs, whatever the order of
 * banks, the width of bitmaps and the empty banks.
 */
export function comparePcrSelections(
  expected: TPML_PCR_SELECTION,
  actual: TPML_PCR_SELECTION,
): readonly PcrSelectionDifference[] {
  if (isSameList(expected, actual)) return [];
  const wanted = pcrsByBank(expected);
  const given = pcrsByBank(actual);
  return [
    ...duplicateBanks(actual).map((hash) => ({ kind: 'duplicate', hash }) as const),
    ...lacking(wanted, given).map((entry) => ({ kind: 'missing', ...entry }) as const),
    ...lacking(given, wanted).map((entry) => ({ kind: 'additional', ...entry }) as const),
  ];
}

/** The same banks with the same bitmaps in the same order, each once: what most quotes bring. */
function isSameList(one: TPML_PCR_SELECTION, other: TPML_PCR_SELECTION): boolean {
  return (
    one.length === other.length &&
    one.every(({ hash, pcrSelect }, at) => hash === other[at]?.hash && pcrSelect.equals(other[at].pcrSelect)) &&
    (other.length < 2 || duplicateBanks(other).length === 0)
  );
}

/** For people: `sha256:0,1,2+sha1:10`. */
export function formatPcrSelection(selection: TPML_PCR_SELECTION): string {
  return selectedBanks(selection)
    .map(({ hash, pcrs }) => `${algorithmName(hash)}:${pcrs.join(',')}`)
    .join('+');
}

function pcrsByBank(selection: TPML_PCR_SELECTION): ReadonlyMap<number, ReadonlySet<number>> {
  const banks = new Map<number, Set<number>>();
  for (const { hash, pcrs } of selectedBanks(selection)) {
    banks.set(hash, new Set([...(banks.get(hash) ?? []), ...pcrs]));
  }
  return banks;
}

function lacking(
  banks: ReadonlyMap<number, ReadonlySet<number>>,
  from: ReadonlyMap<number, ReadonlySet<number>>,
): readonly { readonly hash: number; readonly pcr: number }[] {
  return [...banks].flatMap(([hash, pcrs]) =>
    [...pcrs].filter((pcr) => from.get(hash)?.has(pcr) !== true).map((pcr) => ({ hash, pcr })),
  );
}
