import type { Epochs } from './epochs.ts';
import type { EnrollInput, EnrollOutcome } from './enroll-input.ts';
import type { EndorsementStore } from './endorsement-store.ts';
import type { IdentityStore } from './identity-store.ts';
import type { LogStore } from './log-store.ts';
import type { PlatformStore } from './platform-store.ts';
import type { HostFilter, HostNamed, ResultFilter } from './filters.ts';
import type { PlacementStore } from './placement-store.ts';
import type {
  BankRecord,
  BootRecord,
  Change,
  ClockRecord,
  Confirmation,
  HostRecord,
  Labels,
  LogKind,
  LogPart,
  PolicyAttachment,
  PolicyRecord,
  ResultRecord,
  Verdict,
} from './records.ts';
import type { Actor, HostActor, Page, PageRequest } from './page.ts';
import type { ReappraisalStore } from './reappraisal-store.ts';
import type { ReferenceStore, ReferenceVersion } from './reference-store.ts';

export type { Epochs } from './epochs.ts';
export type { EnrollInput, EnrollOutcome } from './enroll-input.ts';
export type { EndorsementStore } from './endorsement-store.ts';
export type { Actor, HostActor, Page, PageRequest } from './page.ts';

export type StoreErrorCode =
  | 'not_found'
  | 'already_exists'
  | 'etag_mismatch'
  | 'unknown_reference'
  | 'in_use'
  | 'too_large'
  | 'wrong_state'
  | 'out_of_scope'
  | 'page_token'
  | 'outdated'
  | 'out_of_range'
  | 'locked'
  | 'newer_schema'
  | 'read_only'
  | 'full'
  | 'corrupt'
  | 'closed'
  | 'failed';

/** What a store could not do. Nothing of the failed operation is written. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Who owns the given EKs. */
export type EkOwner =
  | { readonly owner: 'nobody' }
  | { readonly owner: 'host'; readonly host: HostRecord }
  | { readonly owner: 'banned' }
  /** They belong to several hosts. */
  | { readonly owner: 'conflict' };

/** A judged round, to be written if nothing changed that it was judged from. */
export interface RoundInput {
  readonly hostId: string;
  readonly fence: {
    /** The host must be active, and at this version, round and AK generation; the verdict must still hold. */
    readonly version: number;
    readonly round: number;
    readonly akGeneration: number;
    readonly epochs: Epochs;
  };
  /** Name of the stream (random, not 0); 0 for a round without a stream. */
  readonly streamEpoch: number;
  readonly verdict: Verdict;
  /** Equal digests mean equal verdicts: the round confirms. */
  readonly verdictDigest: string;
  readonly evidenceDigest: string;
  readonly challengeTime: number;
  /** From the challenge to the end of the verdict, milliseconds. */
  readonly validity: number;
  readonly clock: ClockRecord;
  /** Left out, they stay as the fence saw them; `claimed` the same. */
  readonly banks?: readonly BankRecord[];
  readonly banksProven: boolean;
  readonly claimed?: Readonly<Record<string, string>>;
  /** Findings to add to the host. */
  readonly findings: readonly string[];
  /** TLS key under which the evidence came; takes over when it is the renewed one. */
  readonly tlsKeySha256: string;
  /** Renewed TLS key; '' when none. */
  readonly nextTlsKeySha256: string;
  readonly logs: readonly LogPart[];
  readonly unreadable: readonly { readonly kind: LogKind; readonly reason: string }[];
  /**
   * What the round proved of the boot: it takes the place of what was kept; null: what was kept no longer holds. Left out, it
   * stays with its logs, unless the TPM was reset: a resume does not end it.
   */
  readonly boot?: BootRecord | null;
  /** What the round changes of what is known of the run time. */
  readonly runtime?: RuntimeChange;
}

/** A round that was judged from a record of the run time holds only where that is still the one. */
export interface RuntimeChange {
  /** Sequence of the record that the round was judged from; 0 where there was none. */
  readonly expected: number;
  /** Takes its place; null drops it; left out, it stays. */
  readonly body?: string | null;
  /** Of the IMA list as it is with the parts of this round so many bytes are kept; left out, all. */
  readonly keepBytes?: number;
}

/** What a committed round moves of its host: what is left out, and the rest, is as it was when the fence held. */
export type RoundMoves = Pick<HostRecord, 'round' | 'torn' | 'streamEpoch' | 'connected' | 'clock' | 'banksProven'> &
  Partial<Pick<HostRecord, 'version' | 'findings' | 'tlsKeySha256' | 'nextTlsKeySha256' | 'banks' | 'claimed'>>;

export type RoundOutcome =
  | { readonly outcome: 'changed' | 'confirmed'; readonly result: ResultRecord; readonly moved: RoundMoves }
  | { readonly outcome: 'fenced' };

export interface HostStore {
  getHost(id: string): Promise<HostRecord | null>;
  /** The same for a reader with a scope: a host outside of it is null after the same work as one that is not there. */
  findHost(id: string, scope: Labels): Promise<HostRecord | null>;
  /** In the order of ids. */
  listHosts(page: PageRequest, filter: HostFilter): Promise<Page<HostRecord>>;
  findByEks(fingerprints: readonly string[]): Promise<EkOwner>;
  enroll(input: EnrollInput): Promise<EnrollOutcome>;
  /**
   * Sets what is given. Labels and node name are a revision of the host's result; a change of labels or policy that changes
   * which policy judges the host makes its result NONE (input_changed). `version` null: whatever is there. out_of_scope when the
   * actor would see the host no longer.
   */
  updateHost(
    id: string,
    change: { readonly labels?: Labels; readonly nodeName?: string; readonly trustPolicy?: string },
    options: HostActor & { readonly version: number | null },
  ): Promise<HostRecord>;
  /**
   * pending → active (admission stays 'approval'); a pending AK takes effect: trust falls to NONE, AK_REPLACED stands.
   * `akCertificate` is for the AK that is current afterwards, `expectedVersion` fences it.
   */
  approveHost(
    id: string,
    options: HostActor & {
      readonly acknowledgeFindings: boolean;
      readonly akCertificate: string;
      readonly expectedVersion: number;
    },
  ): Promise<HostRecord>;
  /** The host and its EKs are banned; its result is CONTRAINDICATED (HOST_REVOKED) and does not lapse. Idempotent. */
  revokeHost(id: string, options: HostActor & { readonly reason: string }): Promise<HostRecord>;
  /**
   * Labels, node name and trust policy move from a host to the one that takes its place, and the former one is revoked; all in one
   * transaction. Returns the one that took the place; wrong_state when that is revoked or the same.
   */
  replaceHost(id: string, replacement: string, options: HostActor & { readonly reason: string }): Promise<HostRecord>;
  deleteHost(id: string, options: HostActor): Promise<void>;
  /** Deletes the hosts that wait for approval and were made before a time; returns how many. */
  lapsePending(before: number, options: Actor): Promise<number>;
}

export interface ResultStore {
  /** Judges nothing: checks every fence and writes all that hold in one transaction, in host order. At most 500. */
  commitRounds(rounds: readonly RoundInput[]): Promise<readonly RoundOutcome[]>;
  /** One more torn round in a row; the count is set to 0 by the next committed round. */
  countTorn(hostId: string, round: number): Promise<number>;
  /** Only the holder of the epoch: connectivity becomes unreachable, validity ends at most `grace` milliseconds from now. */
  streamLost(hostId: string, streamEpoch: number, grace: number): Promise<void>;
  getResult(hostId: string): Promise<ResultRecord | null>;
  /** The present result of a host by its id or node name; null, after the same work, when there is none in the scope. */
  findResult(host: HostNamed, scope: Labels): Promise<ResultRecord | null>;
  /** Present results in the order of host ids, as those of a page stood together at one revision. */
  listResults(page: PageRequest, filter: ResultFilter): Promise<Page<ResultRecord> & { readonly revision: number }>;
  /**
   * Results of one host, newest first; `after` is a revision in decimal. With a scope, those of a host that is in it now, and of
   * them what was in it then.
   */
  listHistory(hostId: string, page: PageRequest, scope: Labels): Promise<Page<ResultRecord>>;
  /** Writes the expiry of results whose validity has ended as revisions, at most `limit`; returns how many. */
  expireResults(limit: number): Promise<number>;
  /** Changes after a revision, ascending; throws out_of_range when that revision is gone or was never given. */
  changesSince(revision: number, limit: number): Promise<readonly Change[]>;
  confirmationsSince(sequence: number, limit: number): Promise<readonly Confirmation[]>;
  /** Newest revision and confirmation. */
  heads(): Promise<{ readonly revision: number; readonly confirmation: number }>;
  /** All present results of a filter, as they stood together at one revision. */
  snapshot(filter: ResultFilter): Promise<{ readonly revision: number; readonly results: readonly ResultRecord[] }>;
  /**
   * Drops changes older than a time, and boots that ended before it, but never a host's present result or what it is to be judged
   * anew from; returns how many.
   */
  compact(before: number): Promise<number>;
}

export interface PolicyStore {
  epochs(): Promise<Epochs>;
  /** Newest version of every policy and of what these name, with the epoch they belong to. */
  allPolicies(): Promise<{
    readonly epochs: Epochs;
    readonly policies: readonly PolicyRecord[];
    /** In the order of names. */
    readonly references: readonly ReferenceVersion[];
  }>;
  getPolicy(id: string, version: number | null): Promise<PolicyRecord | null>;
  listPolicies(page: PageRequest): Promise<Page<PolicyRecord>>;
  /**
   * `expected` null: create, already_exists when there; a number: that version must be the newest; 'any': whatever is there.
   * `references` are resource names of sets and keyrings; unknown_reference when one is not there.
   */
  putPolicy(
    policy: {
      readonly id: string;
      readonly attachment: PolicyAttachment;
      readonly references?: readonly string[];
      readonly body: string;
    },
    options: Actor & { readonly expected: number | null | 'any' },
  ): Promise<PolicyRecord>;
  deletePolicy(id: string, options: Actor & { readonly expected: number | 'any' }): Promise<void>;
  /**
   * Who opens the store judges by this version of the appraisal: where that is another than before, all verdicts are dropped as by a
   * change of their policy. Returns how many.
   */
  judgeBy(engine: number): Promise<number>;
}

/** What a store promises. Every method is atomic and durable when it resolves; every failure is a StoreError. */
export interface Store
  extends
    HostStore,
    ResultStore,
    PlacementStore,
    LogStore,
    PlatformStore,
    ReappraisalStore,
    PolicyStore,
    ReferenceStore,
    EndorsementStore,
    IdentityStore {
  /** Changes when the data is restored from a backup or moves to another timeline. */
  readonly incarnation: string;
  /** Name of the deployment, chosen when the store was made. */
  readonly deployment: string;
  /** The store's clock, milliseconds: never goes back, not even across restarts. */
  now(): number;
  /** How far the wall clock was behind the stored mark when last seen, milliseconds; 0 when it was not. */
  clockBehind(): number;
  /**
   * An operator takes the present wall clock as right: the mark is set to it, also backwards, and in the same transaction every
   * result that can lapse expires, because nobody knows any more how old it is.
   */
  acceptClock(options: Actor): Promise<void>;
  close(): Promise<void>;
}
