/**
 * What the store keeps. Records are plain data: binary values are lower-case hex, times are milliseconds since
 * 1970-01-01T00:00:00Z by the store's clock, 64-bit counters of the TPM are decimal strings.
 */

export type { BootLogRecord, BootRecord, LogKind, LogPart, LogState } from './log-records.ts';
export type {
  EndorsementChange,
  GivenRevocationList,
  GivenTrustAnchor,
  InventoryRecord,
  RevocationListRecord,
  RevocationListSummary,
  TrustAnchorRecord,
} from './endorsement-records.ts';

export type Labels = Readonly<Record<string, string>>;

export type HostState = 'pending' | 'active' | 'revoked';
export type Admission = 'certificate' | 'inventory' | 'approval';

/** An EK that the host's TPM proved to hold. */
export interface EkRecord {
  /** SHA-256 of the SubjectPublicKeyInfo. */
  readonly fingerprint: string;
  /** TPMT_PUBLIC. */
  readonly publicArea: string;
  /** Such as "RSA-2048". */
  readonly algorithm: string;
  /** EK certificate, DER; empty when none. */
  readonly certificate: string;
  /** Intermediate certificates that the host sent along, DER. */
  readonly chain: readonly string[];
  /** The certificate chained to a trust anchor when the host was admitted. */
  readonly certified: boolean;
  readonly manufacturer: string;
  readonly model: string;
  readonly deviations: readonly string[];
}

/** An AK that was proven to live beside the host's EKs. */
export interface AkRecord {
  /** TPM Name. */
  readonly name: string;
  /** TPM qualified name, computed from the parent EK and the AK. */
  readonly qualifiedName: string;
  /** TPMT_PUBLIC. */
  readonly publicArea: string;
  /** X.509 AK certificate, DER; empty while the host is not admitted. */
  readonly certificate: string;
}

/** The TPM's clock as the AK last signed it. */
export interface ClockRecord {
  readonly resetCount: number;
  readonly restartCount: number;
  /** Milliseconds of TPMS_CLOCK_INFO.clock. */
  readonly clock: string;
  readonly safe: boolean;
}

/** An active PCR bank, proven by an audit session or only seen in the quote. */
export interface BankRecord {
  /** TPM_ALG_ID. */
  readonly algorithm: number;
  readonly pcrs: readonly number[];
}

/** A new AK of a known host that waits for an operator. */
export interface PendingAkRecord {
  readonly ak: AkRecord;
  readonly eks: readonly EkRecord[];
  readonly tlsKeySha256: string;
  readonly clock: ClockRecord;
  readonly banks: readonly BankRecord[];
  readonly banksProven: boolean;
  readonly enrollTime: number;
}

export interface HostRecord {
  readonly id: string;
  readonly state: HostState;
  readonly nodeName: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Id of the trust policy that an operator set; empty where selectors decide. */
  readonly trustPolicy: string;
  /** The AK's parent first. */
  readonly eks: readonly EkRecord[];
  readonly ak: AkRecord;
  /** Counts the AKs of this host, from 1. */
  readonly akGeneration: number;
  readonly pendingAk: PendingAkRecord | null;
  /** SHA-256 of the SubjectPublicKeyInfo of the TLS key that the host's client certificate is for. */
  readonly tlsKeySha256: string;
  /** A renewed TLS key that has not yet been used; takes over with the first accepted evidence that comes under it. */
  readonly nextTlsKeySha256: string;
  readonly admission: Admission;
  readonly claimed: Readonly<Record<string, string>>;
  readonly createTime: number;
  readonly enrollTime: number;
  /** Stand until an operator acknowledges them (AK_REPLACED) or the host enrols with a new AK (CLOCK_REGRESSED). */
  readonly findings: readonly string[];
  /** Counts every change of what the host is and may be: state, keys, labels, name, policy, findings. The etag. */
  readonly version: number;
  /** Counts committed rounds. */
  readonly round: number;
  /** Names the stream whose evidence was accepted last; 0 when none. */
  readonly streamEpoch: number;
  readonly connected: boolean;
  readonly clock: ClockRecord;
  readonly banks: readonly BankRecord[];
  /** Whether `banks` is proven for the present reset. */
  readonly banksProven: boolean;
  /** Torn rounds in a row. */
  readonly torn: number;
}

export type TrustStatus = 'none' | 'affirming' | 'warning' | 'contraindicated';
export type CheckOutcome = 'passed' | 'failed' | 'error';

export interface CheckRecord {
  readonly id: string;
  readonly outcome: CheckOutcome;
  readonly reason: string;
  readonly observed: string;
  readonly expected: string;
  readonly message: string;
}

/** AR4SI code points. */
export interface VectorRecord {
  readonly instanceIdentity: number;
  readonly configuration: number;
  readonly executables: number;
  readonly hardware: number;
}

/** What was found about a host, without the times that each confirmation moves. */
export interface Verdict {
  readonly status: TrustStatus;
  readonly vector: VectorRecord;
  readonly checks: readonly CheckRecord[];
  /** Id and version of the policy; '' and 0 when none applies. */
  readonly policyId: string;
  readonly policyVersion: number;
  readonly inputDigest: string;
  /** Endorsement epoch that it was judged from; 0 where nothing was judged. */
  readonly endorsementVersion: number;
  readonly akName: string;
  readonly resetCount: number;
  readonly restartCount: number;
}

/** A result at one revision, with the host's names as they were then. */
export interface ResultRecord extends Verdict {
  readonly hostId: string;
  readonly revision: number;
  readonly evidenceDigest: string;
  /** 0 where no challenge led to it. */
  readonly challengeTime: number;
  /** null where nothing lapses: NONE, and a ban. */
  readonly validUntil: number | null;
  readonly confirmations: number;
  readonly connectivity: 'never_seen' | 'connected' | 'unreachable';
  readonly nodeName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly revisionTime: number;
}

/** What placement goes by: a present result in brief. */
export type PlacementRecord = Pick<
  ResultRecord,
  | 'hostId'
  | 'revision'
  | 'status'
  | 'policyId'
  | 'policyVersion'
  | 'challengeTime'
  | 'validUntil'
  | 'nodeName'
  | 'labels'
  | 'connectivity'
>;

/** Why a revision was written. */
export type ChangeCause =
  | 'enrolled'
  | 'verdict'
  | 'expired'
  | 'disconnected'
  | 'updated'
  | 'approved'
  | 'revoked'
  | 'ak_replaced'
  | 'input_changed'
  | 'reappraised'
  | 'deleted';

/** One revision of the order of all changes. */
export interface Change {
  readonly revision: number;
  readonly hostId: string;
  readonly cause: ChangeCause;
  /** The result behind this change, as it was recorded; for 'deleted' the last one. */
  readonly result: ResultRecord;
  /** Whether it is the host's present result: time and confirmations move that one, and no former one. */
  readonly present: boolean;
  /**
   * What filters go by, before it: so one sees a host leave. It has lapsed when its validity had ended by then, or where that is no
   * longer known. Null when the host is new.
   */
  readonly prior: (Pick<ResultRecord, 'labels' | 'status' | 'policyId'> & { readonly lapsed: boolean }) | null;
}

/** A confirmed verdict. */
export interface Confirmation {
  /** Position in the order of all confirmations. */
  readonly sequence: number;
  readonly hostId: string;
  readonly revision: number;
  readonly status: TrustStatus;
  readonly policyId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly validUntil: number;
  readonly confirmations: number;
}

/** All hosts of a filter together, as they stood at one revision and time. */
export interface PlatformRecord {
  /** The store's clock. */
  readonly time: number;
  readonly revision: number;
  /** How many hosts a version of a policy gave which status; policy '' and 0 where none judged. */
  readonly groups: readonly {
    readonly policyId: string;
    readonly policyVersion: number;
    readonly status: TrustStatus;
    readonly hosts: number;
  }[];
  /** Of the verdicts that hold: the oldest challenge and the earliest end; null where none holds. */
  readonly oldestChallenge: number | null;
  readonly earliestValidUntil: number | null;
  /**
   * Hosts that are not affirming, worst status first, then by id; the revision time of each is since when it has its status, whatever
   * else of it was written since. As many as asked for.
   */
  readonly exceptions: readonly ResultRecord[];
  /** The versions that judged. */
  readonly policies: readonly PolicyRecord[];
}

/** How a policy chooses hosts; the rest of it is opaque to the store. */
export interface PolicyAttachment {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly allHosts: boolean;
  readonly precedence: number;
  /** Labels and name of a host are part of what its rules judge: a change of them ends the verdict. */
  readonly judgesNames?: boolean;
}

export interface PolicyRecord {
  readonly id: string;
  readonly version: number;
  readonly attachment: PolicyAttachment;
  /** Resource names of the sets and keyrings that it names, ascending, each once. */
  readonly references: readonly string[];
  /** The policy as JSON of its domain shape. */
  readonly body: string;
  readonly createTime: number;
}

export type IdentityRole = 'operator' | 'orchestrator' | 'relying_party' | 'consumer' | 'auditor';

export interface IdentityRecord {
  readonly name: string;
  readonly roles: readonly IdentityRole[];
  /** SHA-256 of the SubjectPublicKeyInfo that the present certificate is for. */
  readonly keySha256: string;
  readonly createTime: number;
  readonly expireTime: number;
  readonly revoked: boolean;
  /** Labels of the hosts that it sees; empty: every host. */
  readonly scope: Labels;
}

/** A key or certificate of the service, sealed where it is secret. */
export interface KeyRecord {
  /** Such as "authority", "service-identity", "server-tls", "token", "token-signing". */
  readonly purpose: string;
  readonly version: number;
  /** Certificate DER; empty where the purpose has none. */
  readonly certificate: string;
  /** Sealed private key or secret. */
  readonly sealed: string;
  readonly createTime: number;
  /** When an operator said that nothing of it may be believed any more; null where nobody did. */
  readonly withdrawTime: number | null;
}

export interface AuditRecord {
  readonly sequence: number;
  readonly time: number;
  /** Identity, or "agent hosts/…", or "service". */
  readonly actor: string;
  /** Such as "host.revoke". */
  readonly action: string;
  readonly target: string;
  readonly detail: string;
  /** SHA-256 over the record before it and this one. */
  readonly hash: string;
}
