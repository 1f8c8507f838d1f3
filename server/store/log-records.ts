export type LogKind = 'boot' | 'userspace' | 'ima';

/** A part of a log, kept for the host's present boot. */
export interface LogPart {
  readonly kind: LogKind;
  readonly offset: number;
  readonly data: Uint8Array;
}

export interface LogState {
  readonly kind: LogKind;
  /** Bytes kept, from the start of the log. */
  readonly size: number;
  /** Why the agent could not read it; empty when it could. */
  readonly unreadable: string;
}

/** A log as it was when the PCR values were proven. */
export interface BootLogRecord {
  /** SHA-256 of its first `size` bytes; '' where the host did not send it. */
  readonly sha256: string;
  readonly size: number;
  /** Why the host could not read it; empty when it could. */
  readonly unreadable: string;
}

/**
 * What a host proved of its present boot: the PCRs of every active bank, in one quote, and the logs that came with it. Whether
 * the logs explain the values is computed from this, at any time and by any process, with the same outcome.
 */
export interface BootRecord {
  readonly bootLog: BootLogRecord;
  readonly userspaceLog: BootLogRecord;
  readonly pcrs: readonly {
    /** TPM_ALG_ID. */
    readonly algorithm: number;
    /** Index and value. */
    readonly values: readonly (readonly [number, string])[];
  }[];
}
