import type { Epochs } from './epochs.ts';
import type { Actor } from './page.ts';
import type {
  Admission,
  AkRecord,
  BankRecord,
  BootRecord,
  ClockRecord,
  EkRecord,
  HostRecord,
  HostState,
  LogKind,
  LogPart,
} from './records.ts';

/** A proven enrolment, to be written in one transaction. */
export interface EnrollInput extends Actor {
  /** Hex; unique: the same enrolment cannot be completed twice. */
  readonly enrollmentId: string;
  /** The enrolment must be written before this; refused as expired from then on. */
  readonly completeBefore: number;
  /** Until when the id is remembered: later than `completeBefore`. */
  readonly forgetAfter: number;
  /** Id for a host that is new. */
  readonly hostId: string;
  readonly eks: readonly EkRecord[];
  readonly ak: AkRecord;
  readonly tlsKeySha256: string;
  /** Host whose present TLS identity made the call; '' when none. */
  readonly callerHostId: string;
  readonly admission: Admission;
  /** State of a host that is new. Of one that waits no logs are kept and no boot: both are asked for once it is approved. */
  readonly state: Exclude<HostState, 'revoked'>;
  /** As many hosts may wait; a further one is refused. */
  readonly maxPendingHosts: number;
  readonly claimed: Readonly<Record<string, string>>;
  readonly clock: ClockRecord;
  readonly banks: readonly BankRecord[];
  readonly banksProven: boolean;
  readonly logs: readonly LogPart[];
  readonly unreadable: readonly { readonly kind: LogKind; readonly reason: string }[];
  /** What the quote of the enrolment proved of the boot, where that is anything; and in words, for the audit log. */
  readonly boot?: BootRecord;
  readonly bootState?: string;
  /** What `findByEks` gave; the enrolment is fenced by it. */
  readonly expected: { readonly hostId: string; readonly version: number } | null;
  readonly epochs: Epochs;
}

export type EnrollOutcome =
  | { readonly outcome: 'created' | 'refreshed' | 'replaced' | 'replacement_pending'; readonly host: HostRecord }
  | {
      /** 'fenced': what the decision was made from has changed; read again and decide again. */
      readonly outcome:
        | 'banned'
        | 'already_used'
        | 'expired'
        | 'ek_conflict'
        | 'ak_conflict'
        | 'too_many_pending'
        | 'fenced';
    };
