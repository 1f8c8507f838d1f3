import type { BootRecord, LogKind, LogState, RuntimeRecord } from './records.ts';

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
