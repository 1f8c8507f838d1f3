/**
 * Follows a list to the values that a quote proved. The list may be longer than the quote, because quoting itself is measured: the
 * entries up to the match are proven, the later ones wait for the next quote.
 */
import type { PcrValues } from '../crypto/pcr.ts';
import { hashAlgorithm } from '../crypto/digest.ts';
import type { HashAlgorithm } from '../structures/constants.ts';
import { IMPLEMENTATION_PCR, TPM_ALG_SHA1 } from '../structures/constants.ts';
import { EMPTY_CHECKPOINT } from './checkpoint.ts';
import type { ImaCheckpoint, ImaPcrState } from './checkpoint.ts';
import type { ImaEntry } from './entry.ts';
import { imaFinding } from './findings.ts';
import type { ImaFinding } from './findings.ts';
import { placeOf } from './fields.ts';
import { ImaListReader } from './parse.ts';
import type { ImaLimits } from './parse.ts';
import { IMA_EXTEND_MODES, PcrChain, extendByEntry, resetPcr } from './pcr-chain.ts';
import type { ImaExtendMode } from './pcr-chain.ts';

/**
 * What following a list came to.
 *
 * `matched`: `entries` are the new ones that the quote proves (none in a round that confirms, or where they are only counted), `checkpoint` is where the next round
 * goes on, `waitingBytes` follow and are not judged. `empty`: the quoted PCRs are at their reset values, so nothing was measured
 * yet. `incomplete`: no prefix of the list yields the quoted values; nothing in it is proven.
 */
export type ImaReplayOutcome =
  | {
      readonly kind: 'matched';
      readonly entries: readonly ImaEntry[];
      readonly checkpoint: ImaCheckpoint;
      readonly waitingBytes: number;
      readonly findings: readonly ImaFinding[];
    }
  | { readonly kind: 'empty'; readonly waitingBytes: number; readonly findings: readonly ImaFinding[] }
  | { readonly kind: 'incomplete'; readonly entriesRead: number; readonly findings: readonly ImaFinding[] };

export interface ImaReplayOptions {
  /** The proven values of the PCRs that IMA extends, by bank: mostly PCR 10 alone. One prefix must yield all of them. */
  readonly target: PcrValues;
  /** Where the list was left; what is pushed starts at its offset. Default: the start. */
  readonly checkpoint?: ImaCheckpoint;
  readonly limits?: Partial<ImaLimits>;
  /** Modes to try for a bank whose mode is not known yet. Default: all. */
  readonly modes?: readonly ImaExtendMode[];
  /**
   * 'counted': the outcome holds no entries, so that a list of any length is followed in the memory of its pieces; whoever needs
   * them reads the list again up to the checkpoint. Default: 'kept'.
   */
  readonly entries?: 'kept' | 'counted';
}

/** Findings of one kind that are told; a hostile list could hold a million. */
const MAX_FINDINGS = 100;

/** A PCR whose value is sought, with the chains that may still lead to it. */
interface Goal {
  readonly bank: HashAlgorithm;
  readonly pcr: number;
  readonly value: string;
  readonly chains: readonly PcrChain[];
  met: boolean;
}

/** Follows one list in one round. Push the bytes from the checkpoint's offset on, then ask for the outcome. */
export class ImaReplay {
  readonly #from: ImaCheckpoint;
  readonly #reader: ImaListReader;
  readonly #goals: readonly Goal[];
  /** By PCR. */
  readonly #chains: readonly (readonly PcrChain[])[];
  readonly #goalsOf: readonly (readonly Goal[])[];
  readonly #entries: ImaEntry[] = [];
  readonly #keepsEntries: boolean;
  readonly #findings: ImaFinding[] = [];
  readonly #uncovered: Set<number>;
  #unmet: number;

  constructor(options: ImaReplayOptions) {
    const { target, checkpoint = EMPTY_CHECKPOINT, limits, modes = IMA_EXTEND_MODES, entries = 'kept' } = options;
    this.#from = checkpoint;
    this.#keepsEntries = entries === 'kept';
    const { layout, offset, entries: index } = checkpoint;
    this.#reader = new ImaListReader({ layout, offset, index, limits });
    this.#goals = goalsOf(target, checkpoint, modes);
    if (this.#goals.length === 0) throw new TypeError('no pcr value to follow the list to');
    const pcrs = Array.from({ length: IMPLEMENTATION_PCR }, (_, pcr) => this.#goals.filter((goal) => goal.pcr === pcr));
    this.#goalsOf = pcrs;
    this.#chains = pcrs.map((goals) => goals.flatMap(({ chains }) => chains));
    this.#uncovered = new Set(checkpoint.uncovered);
    this.#unmet = this.#goals.filter(({ met }) => !met).length;
  }

  /** True once the list has met the quoted values: nothing more needs to be pushed. */
  get isMatched(): boolean {
    return this.#unmet === 0;
  }

  /** Takes more of the list. The bytes must not change afterwards. */
  push(chunk: Uint8Array): void {
    this.#reader.push(chunk);
    while (this.#unmet > 0) {
      const entry = this.#reader.next();
      if (entry === undefined) return;
      this.#follow(entry);
    }
  }

  /** What it came to, with all that was pushed. */
  outcome(): ImaReplayOutcome {
    if (this.#unmet > 0) return this.#incomplete();
    const waitingBytes = this.#reader.pendingBytes;
    if (this.#reader.index === 0) {
      const message = 'the quoted pcrs are at their reset values: nothing was measured';
      return { kind: 'empty', waitingBytes, findings: [imaFinding('IMA_LOG_EMPTY', {}, message)] };
    }
    const checkpoint: ImaCheckpoint = {
      entries: this.#reader.index,
      offset: this.#reader.offset,
      layout: this.#reader.layout,
      pcrs: this.#goals.map(provenState),
      uncovered: [...this.#uncovered].toSorted((a, b) => a - b),
    };
    return { kind: 'matched', entries: this.#entries, checkpoint, waitingBytes, findings: this.#findings };
  }

  #follow(entry: ImaEntry): void {
    const goals = this.#goalsOf[entry.pcr] ?? [];
    if (!extendByEntry(this.#chains[entry.pcr] ?? [], entry)) this.#tell(mismatch(entry));
    if (goals.length === 0 && !this.#uncovered.has(entry.pcr)) {
      this.#uncovered.add(entry.pcr);
      const message = `entry ${entry.index} extends pcr ${entry.pcr}, which the quote does not cover`;
      this.#tell(imaFinding('IMA_PCR_UNCOVERED', placeOf(entry), message));
    }
    for (const goal of goals) {
      const met = goal.chains.some((chain) => chain.latin1 === goal.value);
      if (met !== goal.met) this.#unmet += met ? -1 : 1;
      goal.met = met;
    }
    if (this.#keepsEntries) this.#entries.push(entry);
  }

  #tell(finding: ImaFinding): void {
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding);
  }

  #incomplete(): ImaReplayOutcome {
    const { fault, index } = this.#reader;
    const names = this.#goals.filter(({ met }) => !met).map(({ bank, pcr }) => `${bank.name} pcr ${pcr}`);
    const unknown = this.#goals.filter(({ chains }) => chains.length === 0);
    const why =
      unknown.length > 0
        ? 'it was taken up where these values are not known'
        : `after none of its entries ${this.#from.entries} to ${index}`;
    const message = `the list does not yield the quoted ${names.join(', ')}: ${why}`;
    const findings = [imaFinding('IMA_LOG_INCOMPLETE', {}, message), ...(fault === undefined ? [] : [fault])];
    return { kind: 'incomplete', entriesRead: index, findings: [...findings, ...this.#findings] };
  }
}

/**
 * Follows a list that is at hand in full, from the checkpoint's offset on. What most kernels do is tried alone first, because
 * following every mode costs twice as much.
 */
export function replayImaList(list: Uint8Array, options: ImaReplayOptions): ImaReplayOutcome {
  const wanted = options.modes ?? IMA_EXTEND_MODES;
  const first = replayOnce(list, { ...options, modes: wanted.slice(0, 1) });
  return first.kind !== 'incomplete' || wanted.length === 1 ? first : replayOnce(list, options);
}

function replayOnce(list: Uint8Array, options: ImaReplayOptions): ImaReplayOutcome {
  const replay = new ImaReplay(options);
  replay.push(list);
  return replay.outcome();
}

function goalsOf(target: PcrValues, checkpoint: ImaCheckpoint, modes: readonly ImaExtendMode[]): readonly Goal[] {
  return [...target].flatMap(([alg, values]) => {
    const bank = hashAlgorithm(alg);
    return [...values].map(([pcr, bytes]) => {
      const value = bytes.toString('latin1');
      const chains = chainsOf(bank, pcr, checkpoint, modes);
      return { bank, pcr, value, chains, met: chains.some((chain) => chain.latin1 === value) };
    });
  });
}

/** A PCR that earlier entries extended unseen cannot be followed from here: it has no chains and is never met. */
function chainsOf(
  bank: HashAlgorithm,
  pcr: number,
  { entries, pcrs, uncovered }: ImaCheckpoint,
  modes: readonly ImaExtendMode[],
): readonly PcrChain[] {
  const known = pcrs.find((state) => state.bank.alg === bank.alg && state.pcr === pcr);
  if (known !== undefined) return known.modes.map((mode) => new PcrChain(bank, mode, known.value));
  const seenWithoutIt = entries > 0 && (uncovered.includes(pcr) || pcrs.some((state) => state.pcr === pcr));
  if (seenWithoutIt) return [];
  const possible = bank.alg === TPM_ALG_SHA1 ? modes.slice(0, 1) : modes;
  return possible.map((mode) => new PcrChain(bank, mode, resetPcr(pcr, bank.size)));
}

function provenState({ bank, pcr, value, chains }: Goal): ImaPcrState {
  const modes = chains.filter((chain) => chain.latin1 === value).map(({ mode }) => mode);
  return { bank, pcr, value: Buffer.from(value, 'latin1'), modes };
}

function mismatch(entry: ImaEntry): ImaFinding {
  const message = `entry ${entry.index} claims a template hash that its data does not yield`;
  return imaFinding('IMA_TEMPLATE_HASH_MISMATCH', placeOf(entry), message);
}
