import type { BootRecord, LogKind, LogState, TrustStatus } from './records.ts';

/** How far the list of run-time measurements of a host's present boot is proven, and what it came to. */
export interface RuntimeRecord {
  /** Counts the records of the host from 1: a round replaces the one that it was judged from, and no other. */
  readonly sequence: number;
  /** JSON; opaque to the store. */
  readonly body: string;
  readonly updateTime: number;
}

/** What is kept of a boot of a host that has ended. */
export interface FormerBootRecord {
  /** Ascends with time over all hosts. */
  readonly id: number;
  /** The AK that attested it. */
  readonly akName: string;
  readonly resetCount: number;
  readonly restartCount: number;
  /** When evidence told that it had ended. */
  readonly endTime: number;
  /** The last verdict on it, and its revision. */
  readonly status: TrustStatus;
  readonly revision: number;
  /** What the host proved of it; null when nothing. */
  readonly boot: BootRecord | null;
  readonly logs: readonly { readonly kind: LogKind; readonly size: number }[];
}

/** The logs of the present boots of hosts and of former ones, and what was proven of these. */
export interface LogStore {
  logStates(hostId: string): Promise<readonly LogState[]>;
  /** What the host proved of its present boot; null when nothing. */
  getBoot(hostId: string): Promise<BootRecord | null>;
  /** What is known of the run time of its present boot; null when nothing. */
  getRuntime(hostId: string): Promise<RuntimeRecord | null>;
  /** Kept bytes of a log of the present boot, from an offset, at most `limit`; empty at the end. */
  readLog(hostId: string, kind: LogKind, offset: number, limit: number): Promise<Uint8Array>;
  /** Of the former boots of a host whose logs are kept, the newest first: two at most, those with findings before others. */
  formerBoots(hostId: string): Promise<readonly FormerBootRecord[]>;
  /** The same of one of them. Throws not_found for one that is gone. */
  readFormerLog(boot: number, kind: LogKind, offset: number, limit: number): Promise<Uint8Array>;
}
