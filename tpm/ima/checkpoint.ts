/** How far a list has been followed: enough to go on with its next bytes, and small enough to keep for every host. */
import { hashAlgorithmByName, TPM_ALG_SHA1 } from '../structures/constants.ts';
import type { HashAlgorithm } from '../structures/constants.ts';
import type { ImaListLayout } from './entry.ts';
import { IMA_EXTEND_MODES } from './pcr-chain.ts';
import type { ImaExtendMode } from './pcr-chain.ts';

/** A PCR's value after the entries of a checkpoint, and the modes that yield it. */
export interface ImaPcrState {
  readonly bank: HashAlgorithm;
  readonly pcr: number;
  readonly value: Buffer;
  readonly modes: readonly ImaExtendMode[];
}

/** Only values that a quote proved are in a checkpoint: {@link ImaReplay} makes it where the list met them. */
export interface ImaCheckpoint {
  /** Entries and bytes of the list up to here. */
  readonly entries: number;
  readonly offset: number;
  /** Undefined before the first entry. */
  readonly layout: ImaListLayout | undefined;
  readonly pcrs: readonly ImaPcrState[];
  /** PCRs that entries so far extend and that no quote covered. */
  readonly uncovered: readonly number[];
}

/** The state before the first entry. */
export const EMPTY_CHECKPOINT: ImaCheckpoint = { entries: 0, offset: 0, layout: undefined, pcrs: [], uncovered: [] };

/** Every PCR that a list extends needs a bank of another hash, into which the kernel put hashes of that kind. */
export function isProvenByMoreThanSha1({ pcrs }: ImaCheckpoint): boolean {
  const strong = pcrs.filter(({ bank, modes }) => bank.alg !== TPM_ALG_SHA1 && modes.includes('bankHash'));
  return pcrs.every(({ pcr }) => strong.some((state) => state.pcr === pcr));
}

/** The one error of the checkpoint's text form: what was stored is not what this code stores. */
export class ImaCheckpointError extends Error {
  override readonly name = 'ImaCheckpointError';
  readonly code = 'CHECKPOINT_MALFORMED';
}

const VERSION = 1;

/** The checkpoint as JSON; {@link parseCheckpoint} reads it. */
export function formatCheckpoint({ entries, offset, layout, pcrs, uncovered }: ImaCheckpoint): string {
  return JSON.stringify({
    version: VERSION,
    entries,
    offset,
    ...(layout === undefined ? {} : { layout: { byteOrder: layout.byteOrder, hash: layout.hash.name } }),
    pcrs: pcrs.map(({ bank, pcr, value, modes }) => ({ bank: bank.name, pcr, value: value.toString('hex'), modes })),
    uncovered,
  });
}

/** @throws ImaCheckpointError for any other text than {@link formatCheckpoint} writes */
export function parseCheckpoint(text: string): ImaCheckpoint {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new ImaCheckpointError('checkpoint is not json', { cause });
  }
  const fields = recordOf(document);
  demand(fields['version'] === VERSION, 'version');
  const uncovered = listOf(fields['uncovered']);
  demand(uncovered.every(isCount), 'uncovered');
  return {
    entries: countOf(fields['entries'], 'entries'),
    offset: countOf(fields['offset'], 'offset'),
    layout: fields['layout'] === undefined ? undefined : layoutOf(recordOf(fields['layout'])),
    pcrs: listOf(fields['pcrs']).map((item) => pcrOf(recordOf(item))),
    uncovered: uncovered.filter(isCount),
  };
}

function layoutOf({ byteOrder, hash }: Readonly<Record<string, unknown>>): ImaListLayout {
  if (byteOrder !== 'little' && byteOrder !== 'big') throw malformed('layout');
  return { byteOrder, hash: hashOf(hash) };
}

function pcrOf(fields: Readonly<Record<string, unknown>>): ImaPcrState {
  const bank = hashOf(fields['bank']);
  const hex = fields['value'];
  if (typeof hex !== 'string' || hex.length !== bank.size * 2 || !/^[0-9a-f]*$/.test(hex)) throw malformed('value');
  const named = listOf(fields['modes']);
  const modes = IMA_EXTEND_MODES.filter((mode) => named.includes(mode));
  demand(modes.length > 0 && modes.length === named.length, 'modes');
  return { bank, pcr: countOf(fields['pcr'], 'pcr'), value: Buffer.from(hex, 'hex'), modes };
}

function hashOf(name: unknown): HashAlgorithm {
  const hash = typeof name === 'string' ? hashAlgorithmByName(name) : undefined;
  if (hash === undefined) throw malformed('hash');
  return hash;
}

function countOf(value: unknown, what: string): number {
  if (!isCount(value)) throw malformed(what);
  return value;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed('list');
  return value;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('object');
  return value as Readonly<Record<string, unknown>>;
}

function demand(holds: boolean, what: string): void {
  if (!holds) throw malformed(what);
}

function malformed(what: string): ImaCheckpointError {
  return new ImaCheckpointError(`checkpoint has no valid ${what}`);
}
