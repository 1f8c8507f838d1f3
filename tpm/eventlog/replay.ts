/** What the PCRs must be if a log tells the truth: TPM2_PCR_Extend (Part 3 §22.2) over its digests, bank by bank. */
import { hash } from 'node:crypto';
import { HASH_ALGORITHMS } from '../structures/constants.ts';
import type { EventLogFinding } from './finding.ts';
import { EV_NO_ACTION } from './parse.ts';
import type { EventLog, LogEvent } from './parse.ts';
import { findStart } from './startup.ts';
import type { Startup } from './startup.ts';

/** PCR values by bank (TPM_ALG_ID), then by index. */
export type ReplayedPcrs = ReadonlyMap<number, ReadonlyMap<number, Buffer>>;

export interface Replay {
  /** The PCRs that the log extends, and no others. */
  readonly pcrs: ReplayedPcrs;
  readonly startup: Startup;
  readonly findings: readonly EventLogFinding[];
}

/** PCRs that a PC Client TPM has. */
const PCR_COUNT = 24;

/**
 * Replays a log into the given banks, by default all of which the hash is known. An event that lacks a digest in a bank was not
 * extended there. Nothing is added that the log does not hold.
 */
export function replayLog(log: EventLog, banks: readonly number[] = log.banks.map(({ alg }) => alg)): Replay {
  const startup = findStart(log.events);
  const pcrs = new Map<number, ReadonlyMap<number, Buffer>>();
  log.banks.forEach(({ alg, replayable }, position) => {
    if (!replayable || !banks.includes(alg)) return;
    const bank = new ReplayedBank(alg, startup.locality);
    for (const event of log.events) bank.extendByEvent(event, position);
    pcrs.set(alg, bank.values());
  });
  return { pcrs, startup, findings: startup.findings };
}

/** One bank while it is replayed. */
export class ReplayedBank {
  readonly #node: string;
  readonly #size: number;
  readonly #locality: number;
  /** By PCR: its value, and beside it room for the digest by which it is extended next. */
  readonly #registers: (Buffer | undefined)[] = [];

  /** `locality` is that of the startup, which PCR 0 begins with. */
  constructor(alg: number, locality: number) {
    const row = HASH_ALGORITHMS.get(alg);
    if (row === undefined) throw new TypeError('a bank of an unknown hash cannot be replayed');
    this.#node = row.node;
    this.#size = row.size;
    this.#locality = locality;
  }

  extendByEvent(event: LogEvent, position: number): void {
    const digest = event.digests[position];
    if (digest !== undefined && event.type !== EV_NO_ACTION && event.pcr < PCR_COUNT) this.extend(event.pcr, digest);
  }

  /** A digest of the bank's size. */
  extend(pcr: number, digest: Buffer): void {
    const register = (this.#registers[pcr] ??= this.#makeRegister(pcr));
    digest.copy(register, this.#size);
    // Twice as fast as a hash into a new Buffer: with inputs this small, allocating it costs more than the hash.
    register.write(hash(this.#node, register, 'binary'), 0, this.#size, 'latin1');
  }

  /** Begins with values that were replayed before, as the userspace log does. */
  load(values: ReadonlyMap<number, Buffer>): void {
    for (const [pcr, value] of values) value.copy((this.#registers[pcr] ??= this.#makeRegister(pcr)));
  }

  value(pcr: number): Buffer {
    return (this.#registers[pcr] ?? this.#makeRegister(pcr)).subarray(0, this.#size);
  }

  /** The PCRs that were extended, ascending. */
  values(): ReadonlyMap<number, Buffer> {
    const values = new Map<number, Buffer>();
    this.#registers.forEach((register, pcr) => {
      if (register !== undefined) values.set(pcr, register.subarray(0, this.#size));
    });
    return values;
  }

  #makeRegister(pcr: number): Buffer {
    const register = Buffer.alloc(2 * this.#size);
    startValue(pcr, this.#size, this.#locality).copy(register);
    return register;
  }
}

/** What a PCR holds after TPM2_Startup(CLEAR) (PFP §3.3, §3.3.2): PCR 0 the locality, PCRs of a dynamic launch ones. */
export function startValue(pcr: number, size: number, locality: number): Buffer {
  const value = Buffer.alloc(size, pcr >= 17 && pcr <= 22 ? 0xff : 0x00);
  if (pcr === 0) value[size - 1] = locality;
  return value;
}
