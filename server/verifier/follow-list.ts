/**
 * Follows a list of run-time measurements from where it was left to the values that a quote proved. What lies behind the match
 * waits; nothing that a quote does not cover comes out of here.
 */
import type { PcrValues, ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import type { ImaCheckpoint } from '../../tpm/ima/checkpoint.ts';
import type { ImaEntry } from '../../tpm/ima/entry.ts';
import type { ImaFinding } from '../../tpm/ima/findings.ts';
import { ImaListReader } from '../../tpm/ima/parse.ts';
import { IMA_EXTEND_MODES } from '../../tpm/ima/pcr-chain.ts';
import type { ImaExtendMode } from '../../tpm/ima/pcr-chain.ts';
import { ImaReplay } from '../../tpm/ima/replay.ts';
import type { ImaReplayOutcome } from '../../tpm/ima/replay.ts';

/** The bytes of a list from an offset on, in pieces of at most {@link LIST_SLICE}; it can be read again. */
export type ListBytes = (offset: number) => AsyncIterable<Uint8Array>;

/** Bytes between two breaths: some 700 entries, 1 to 3 ms. */
export const LIST_SLICE = 64 * 1024;

/** Entries of a list that is followed: what 64 MiB of the smallest ones hold. */
export const LIST_LIMITS = { maxEntries: 1_000_000, maxDataBytes: 1024 * 1024 } as const;

declare const verified: unique symbol;

/** A part of a list that a quote proves: from `from` to `checkpoint`. Only {@link followList} makes it. */
export interface ProvenList {
  readonly [verified]: true;
  readonly from: ImaCheckpoint;
  readonly checkpoint: ImaCheckpoint;
}

export type FollowedList =
  /** `awaited`: PCRs that entries behind the proven part extend, and whose values are not proven. */
  | { readonly kind: 'proven'; readonly list: ProvenList; readonly awaited: readonly number[] }
  /** The PCRs are at their reset values. */
  | { readonly kind: 'empty'; readonly finding: ImaFinding }
  /** No prefix yields the values: nothing is proven. */
  | { readonly kind: 'incomplete'; readonly finding: ImaFinding; readonly fault: ImaFinding | null }
  /** Entries extend PCRs whose values are not proven. */
  | { readonly kind: 'uncovered'; readonly pcrs: readonly number[] };

export interface FollowOptions {
  readonly pcrs: ProvenPcrValues;
  /** Banks (TPM_ALG_ID) and PCRs that are sought: one prefix must yield all of them. */
  readonly banks: readonly number[];
  readonly indices: readonly number[];
  readonly from: ImaCheckpoint;
  readonly bytes: ListBytes;
  /** Lets others run. */
  readonly breathe: () => Promise<void>;
}

/**
 * Seeks the values among the prefixes of the list. Where its entries extend other PCRs too, and the values of these are proven, they
 * are sought with the rest.
 */
export async function followList(options: FollowOptions): Promise<FollowedList> {
  const { pcrs, banks, indices, from } = options;
  const target = valuesOf(pcrs, banks, indices);
  if (target === null) return { kind: 'uncovered', pcrs: indices };
  const outcome = await replay(options, target);
  if (outcome.kind === 'empty') return { kind: 'empty', finding: firstOf(outcome.findings) };
  if (outcome.kind === 'incomplete') {
    const [finding, ...others] = outcome.findings;
    const fault = others.find(({ code }) => FAULTS.has(code)) ?? null;
    return { kind: 'incomplete', finding: finding ?? firstOf([]), fault };
  }
  const { checkpoint } = outcome;
  const { uncovered } = checkpoint;
  const others = uncovered.length > 0 ? uncovered : await pcrsBehind(options, outcome);
  const wider = [...new Set([...indices, ...others])].toSorted((left, right) => left - right);
  if (wider.length > indices.length && valuesOf(pcrs, banks, wider) !== null) {
    return followList({ ...options, indices: wider });
  }
  if (uncovered.length > 0) return { kind: 'uncovered', pcrs: wider };
  return {
    kind: 'proven',
    list: { from, checkpoint } as ProvenList,
    awaited: wider.filter((pcr) => !indices.includes(pcr)),
  };
}

/** Slices behind the proven part that are looked at: what waits there is mostly what quoting itself measured. */
const MAX_SLICES_BEHIND = 16;

/** PCRs that entries behind the match extend: they would wait for ever where no quote covers them. */
async function pcrsBehind(
  { bytes, breathe }: FollowOptions,
  { checkpoint }: ImaReplayOutcome & { readonly kind: 'matched' },
): Promise<readonly number[]> {
  const { layout, offset, entries } = checkpoint;
  const found = new Set<number>();
  const reader = new ImaListReader({ layout, offset, index: entries, limits: LIST_LIMITS });
  let slices = 0;
  for await (const slice of bytes(offset)) {
    reader.push(slice);
    for (let entry = reader.next(); entry !== undefined; entry = reader.next()) found.add(entry.pcr);
    slices += 1;
    if (slices === MAX_SLICES_BEHIND || reader.fault !== undefined) break;
    await breathe();
  }
  return [...found];
}

const FAULTS: ReadonlySet<string> = new Set([
  'IMA_LAYOUT_UNKNOWN',
  'IMA_ENTRY_MALFORMED',
  'IMA_ENTRY_TOO_LARGE',
  'IMA_LIST_TOO_LONG',
]);

/** Null where one of the values is not proven. */
function valuesOf(pcrs: ProvenPcrValues, banks: readonly number[], indices: readonly number[]): PcrValues | null {
  const target = new Map<number, Map<number, Buffer>>();
  for (const bank of banks) {
    const values = new Map<number, Buffer>();
    for (const pcr of indices) {
      const value = pcrs.get(bank)?.get(pcr);
      if (value === undefined) return null;
      values.set(pcr, value);
    }
    target.set(bank, values);
  }
  return target;
}

/** What most kernels do is tried alone first, because following every mode costs twice as much. */
async function replay(options: FollowOptions, target: PcrValues): Promise<ImaReplayOutcome> {
  const first = await replayOnce(options, target, IMA_EXTEND_MODES.slice(0, 1));
  const settled = first.kind !== 'incomplete' || options.from.entries > 0;
  return settled ? first : replayOnce(options, target, IMA_EXTEND_MODES);
}

async function replayOnce(
  { from, bytes, breathe }: FollowOptions,
  target: PcrValues,
  modes: readonly ImaExtendMode[],
): Promise<ImaReplayOutcome> {
  const followed = new ImaReplay({ target, checkpoint: from, modes, limits: LIST_LIMITS, entries: 'counted' });
  if (followed.isMatched) return followed.outcome();
  for await (const slice of bytes(from.offset)) {
    followed.push(slice);
    if (followed.isMatched) break;
    await breathe();
  }
  return followed.outcome();
}

function firstOf([finding]: readonly ImaFinding[]): ImaFinding {
  if (finding === undefined) throw new TypeError('an outcome without a finding');
  return finding;
}

/** The entries of a proven part, in slices. */
export async function* readProven(
  { from, checkpoint }: ProvenList,
  bytes: ListBytes,
): AsyncGenerator<readonly ImaEntry[], void, undefined> {
  if (checkpoint.entries === from.entries) return;
  const reader = new ImaListReader({
    layout: checkpoint.layout,
    offset: from.offset,
    index: from.entries,
    limits: LIST_LIMITS,
  });
  for await (const slice of bytes(from.offset)) {
    reader.push(slice);
    const entries: ImaEntry[] = [];
    while (reader.index < checkpoint.entries) {
      const entry = reader.next();
      if (entry === undefined) break;
      entries.push(entry);
    }
    yield entries;
    if (reader.index === checkpoint.entries) return;
  }
  throw new TypeError('a list ended before its proven part');
}
