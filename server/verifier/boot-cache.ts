import type { BootRecord } from '../store/records.ts';
import { bootKey } from './boot-record.ts';
import type { BootLogs } from './boot-record.ts';
import type { ReplayBoot } from './boot-replayer.ts';
import { verifyBoot } from './verify-boot.ts';
import type { BootOutcome } from './verify-boot.ts';

const MEBIBYTE = 1024 * 1024;
const MAX_BOOTS = 1024;
/** Bytes of the logs behind the boots: what is kept of each is a part of that. */
const MAX_BYTES = 32 * MEBIBYTE;

/** A record and what its logs come to. */
export interface KnownBoot {
  readonly record: BootRecord;
  readonly outcome: BootOutcome;
}

/**
 * Identical boots are replayed once over the whole fleet: the outcome is a function of log digests and PCR values. Bounded; what was
 * not asked for longest goes first.
 */
export class BootCache {
  readonly #outcomes = new Map<string, { readonly outcome: BootOutcome; readonly bytes: number }>();
  readonly #replay: ReplayBoot;
  #bytes = 0;

  constructor(replay: ReplayBoot = verifyBoot) {
    this.#replay = replay;
  }

  /** A boot that was replayed before; null where it was not, or was let go since. */
  known(record: BootRecord): KnownBoot | null {
    const key = bootKey(record);
    const known = this.#outcomes.get(key);
    if (known === undefined) return null;
    this.#outcomes.delete(key);
    this.#outcomes.set(key, known);
    return { record, outcome: known.outcome };
  }

  /** `readLogs` is asked only where the boot is not known; null where what it gives are not the logs of the record. */
  async verify(record: BootRecord, readLogs: () => BootLogs | Promise<BootLogs>): Promise<KnownBoot | null> {
    const known = this.known(record);
    if (known !== null) return known;
    const outcome = await this.#replay(record, await readLogs());
    if (outcome === null) return null;
    this.#keep(bootKey(record), { outcome, bytes: record.bootLog.size + record.userspaceLog.size });
    return { record, outcome };
  }

  #keep(key: string, entry: { readonly outcome: BootOutcome; readonly bytes: number }): void {
    this.#bytes += entry.bytes - (this.#outcomes.get(key)?.bytes ?? 0);
    this.#outcomes.set(key, entry);
    for (const [oldest, { bytes }] of this.#outcomes) {
      if (oldest === key || (this.#outcomes.size <= MAX_BOOTS && this.#bytes <= MAX_BYTES)) return;
      this.#outcomes.delete(oldest);
      this.#bytes -= bytes;
    }
  }
}
