import type { IdentityStore } from './identity-store.ts';
import type { LogStore } from './log-store.ts';
import type { PlatformStore } from './platform-store.ts';
import type { HostFilter, HostNamed, ResultFilter } from './filters.ts';
import type { PlacementStore } from './placement-store.ts';
import type {
  Admission,
  AkRecord,
  BankRecord,
  BootRecord,
  Change,
  ClockRecord,
  Confirmation,
  EkRecord,
  HostRecord,
  HostState,
  InventoryRecord,
  Labels,
  LogKind,
  LogPart,
  PolicyAttachment,
  PolicyRecord,
  ResultRecord,
  RevocationListRecord,
  RevocationListSummary,
  TrustAnchorRecord,
  Verdict,
} from './records.ts';
import type { Actor, Page, PageRequest } from './page.ts';
import type { ReferenceStore, ReferenceVersion } from './reference-store.ts';

export type { Actor, Page, PageRequest } from './page.ts';

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

/** The same where hosts are changed: one outside of the scope is not found, and none can be taken out of it. */
export interface HostActor extends Actor {
  /** Labels of the hosts that the actor sees; empty: every host. */
  readonly scope: Labels;
}

/** Versions of what verdicts depend on. */
export interface Epochs {
  /** Counts changes of any policy, and of any set or keyring that a policy names. */
  readonly policy: number;
  /** Counts changes of trust anchors, revocation lists and inventory. */
  readonly endorsement: number;
}

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
  /** State of a host that is new. */
  readonly state: Exclude<HostState, 'revoked'>;
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
      readonly outcome: 'banned' | 'already_used' | 'expired' | 'ek_conflict' | 'ak_conflict' | 'fenced';
    };

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
   * stays, unless the round is of another boot.
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
  /** Present results in the order of host ids. */
  listResults(page: PageRequest, filter: ResultFilter): Promise<Page<ResultRecord>>;
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
  /** Present results as they stood together at one revision, for the start of a watch. */
  snapshot(filter: ResultFilter): Promise<{ readonly revision: number; readonly results: readonly ResultRecord[] }>;
  /** Drops changes older than a time, but never a host's present result; returns how many. */
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
}

export interface EndorsementStore {
  allTrustAnchors(): Promise<readonly TrustAnchorRecord[]>;
  listTrustAnchors(page: PageRequest): Promise<Page<TrustAnchorRecord>>;
  /** Returns those that were added, and intermediates that became anchors; what was there already changes nothing. */
  addTrustAnchors(
    anchors: readonly Omit<TrustAnchorRecord, 'createTime'>[],
    options: Actor,
  ): Promise<readonly TrustAnchorRecord[]>;
  removeTrustAnchor(fingerprint: string, options: Actor): Promise<void>;
  allRevocationLists(): Promise<readonly RevocationListRecord[]>;
  listRevocationLists(page: PageRequest): Promise<Page<RevocationListSummary>>;
  /**
   * Each takes the place of the former list of its issuer (name and key); returns those that were added. One that is there
   * already changes nothing. Throws outdated when a list is not newer than the one it would replace: none is taken then.
   */
  addRevocationLists(
    lists: readonly Omit<RevocationListRecord, 'createTime'>[],
    options: Actor,
  ): Promise<readonly RevocationListSummary[]>;
  removeRevocationList(fingerprint: string, options: Actor): Promise<void>;
  findInventory(fingerprints: readonly string[]): Promise<readonly InventoryRecord[]>;
  listInventory(page: PageRequest): Promise<Page<InventoryRecord>>;
  putInventory(
    entries: readonly Omit<InventoryRecord, 'createTime'>[],
    options: Actor,
  ): Promise<{ readonly added: number; readonly updated: number }>;
  removeInventory(fingerprint: string, options: Actor): Promise<void>;
}

/** What a store promises. Every method is atomic and durable when it resolves; every failure is a StoreError. */
export interface Store
  extends
    HostStore,
    ResultStore,
    PlacementStore,
    LogStore,
    PlatformStore,
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
