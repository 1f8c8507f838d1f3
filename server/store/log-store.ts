import type { BootRecord, LogKind, LogState } from './records.ts';

/** How far the list of run-time measurements of a host's present boot is proven, and what it came to. */
export interface RuntimeRecord {
  /** Counts the records of the host from 1: a round replaces the one that it was judged from, and no other. */
  readonly sequence: number;
  /** JSON; opaque to the store. */
  readonly body: string;
  readonly updateTime: number;
}

/** The logs of the present boots of hosts, and what was proven of these. */
export interface LogStore {
  logStates(hostId: string): Promise<readonly LogState[]>;
  /** What the host proved of its present boot; null when nothing. */
  getBoot(hostId: string): Promise<BootRecord | null>;
  /** What is known of the run time of its present boot; null when nothing. */
  getRuntime(hostId: string): Promise<RuntimeRecord | null>;
  /** Kept bytes of a log of the present boot, from an offset, at most `limit`; empty at the end. */
  readLog(hostId: string, kind: LogKind, offset: number, limit: number): Promise<Uint8Array>;
}
