/**
 * What the service keeps, as callers of the SDK see it: dates are Dates, enums are the words of the contract without their
 * prefix. Each resource carries `json`, its protobuf JSON form, which is what `--output json` prints.
 */

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** A number of an enum that this release does not know. */
export type UnknownWord = `UNKNOWN_${number}`;

export type HostState = 'PENDING' | 'ACTIVE' | 'REVOKED' | 'UNSPECIFIED' | UnknownWord;
export type TrustStatus = 'NONE' | 'AFFIRMING' | 'WARNING' | 'CONTRAINDICATED' | 'UNSPECIFIED' | UnknownWord;
export type Connectivity = 'NEVER_SEEN' | 'CONNECTED' | 'UNREACHABLE' | 'UNSPECIFIED' | UnknownWord;
export type CheckOutcome = 'PASSED' | 'FAILED' | 'ERROR' | 'UNSPECIFIED' | UnknownWord;
export type RoleName =
  | 'ANONYMOUS'
  | 'AGENT'
  | 'OPERATOR'
  | 'ORCHESTRATOR'
  | 'RELYING_PARTY'
  | 'CONSUMER'
  | 'AUDITOR'
  | 'UNSPECIFIED'
  | UnknownWord;

/** Roles that an identity may be given. */
export const ISSUABLE_ROLES = ['OPERATOR', 'ORCHESTRATOR', 'RELYING_PARTY', 'CONSUMER', 'AUDITOR'] as const;
export type IssuableRole = (typeof ISSUABLE_ROLES)[number];

export const HOST_STATES = ['PENDING', 'ACTIVE', 'REVOKED'] as const;
export const TRUST_STATUSES = ['NONE', 'AFFIRMING', 'WARNING', 'CONTRAINDICATED'] as const;

export interface HostEndorsementKey {
  /** SHA-256 of the EK's SubjectPublicKeyInfo, hexadecimal. */
  readonly fingerprint: string;
  readonly algorithm: string;
  readonly certified: boolean;
  readonly manufacturer: string;
  readonly model: string;
  readonly deviations: readonly string[];
}

export interface Host {
  /** `hosts/{host}` */
  readonly name: string;
  readonly state: HostState;
  readonly nodeName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly trustPolicy: string;
  readonly endorsementKeys: readonly HostEndorsementKey[];
  readonly akName: string;
  readonly pendingAkName: string;
  readonly admission: string;
  /** What the host says of itself: unproven, and hostile text until it was escaped. */
  readonly claimed: Readonly<Record<string, string>>;
  readonly createTime: Date | undefined;
  readonly enrollTime: Date | undefined;
  readonly findings: readonly string[];
  readonly etag: string;
  readonly json: JsonObject;
}

export interface Check {
  readonly id: string;
  readonly outcome: CheckOutcome;
  readonly reason: string;
  readonly observed: string;
  readonly expected: string;
  readonly message: string;
}

export interface AttestationResult {
  /** `hosts/{host}/attestationResults/{revision}` */
  readonly name: string;
  readonly host: string;
  readonly revision: bigint;
  readonly status: TrustStatus;
  readonly checks: readonly Check[];
  readonly trustPolicy: string;
  readonly trustPolicyVersion: bigint;
  /** Version of trust anchors, revocation lists and inventory behind it; 0 where nothing was judged. */
  readonly endorsementVersion: bigint;
  readonly challengeTime: Date | undefined;
  readonly validUntil: Date | undefined;
  readonly revisionTime: Date | undefined;
  readonly confirmations: bigint;
  readonly connectivity: Connectivity;
  readonly nodeName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly json: JsonObject;
}

export interface TrustPolicy {
  /** `trustPolicies/{policy}` */
  readonly name: string;
  readonly version: bigint;
  readonly description: string;
  readonly precedence: number;
  readonly allHosts: boolean;
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly ruleCount: number;
  readonly createTime: Date | undefined;
  readonly etag: string;
  readonly json: JsonObject;
}

export interface PolicyProblem {
  /** Path of the field, such as `pcr_rules[2].allowed[0]`. */
  readonly field: string;
  readonly message: string;
}

export interface TrustAnchor {
  /** `trustAnchors/{sha256}` */
  readonly name: string;
  readonly subject: string;
  readonly anchor: boolean;
  /** X.509 DER. */
  readonly certificate: Buffer;
  readonly notAfter: Date | undefined;
  readonly createTime: Date | undefined;
  /** Counts from 1 with every change, also across a removal. */
  readonly version: bigint;
  readonly etag: string;
  readonly json: JsonObject;
}

export interface RevocationList {
  /** `revocationLists/{id}`: one for each issuer; it stays. */
  readonly name: string;
  readonly issuer: string;
  /** SHA-256 of the issuer's SubjectPublicKeyInfo, hexadecimal. */
  readonly issuerKeySha256: string;
  /** CRL number, hexadecimal; empty when it has none. */
  readonly number: string;
  readonly thisUpdateTime: Date | undefined;
  readonly nextUpdateTime: Date | undefined;
  readonly entryCount: number;
  readonly createTime: Date | undefined;
  /** Counts the lists of the issuer from 1, also across a removal. */
  readonly version: bigint;
  readonly etag: string;
  /** SHA-256 of the list, hexadecimal. */
  readonly listSha256: string;
  readonly json: JsonObject;
}

/** A change of trust anchors, revocation lists or inventory. */
export interface EndorsementChange {
  /** Version of the endorsements that it led to. */
  readonly endorsementVersion: bigint;
  /** Resource name of what changed. */
  readonly resource: string;
  /** Version of the resource that it made, or ended; 0 where it has none. */
  readonly version: bigint;
  /** As the audit log names it. */
  readonly action: string;
  readonly actor: string;
  readonly detail: string;
  readonly createTime: Date | undefined;
  readonly auditSequence: bigint;
  readonly json: JsonObject;
}

export interface InventoryEntry {
  /** `inventory/{fingerprint}` */
  readonly name: string;
  readonly group: string;
  readonly comment: string;
  readonly createTime: Date | undefined;
  readonly json: JsonObject;
}

/** Which hosts an identity sees: every one, or those that have all of these labels. */
export type Scope = 'EVERY_HOST' | { readonly matchLabels: Readonly<Record<string, string>> };

export interface Identity {
  /** `identities/{identity}` */
  readonly name: string;
  readonly roles: readonly RoleName[];
  readonly createTime: Date | undefined;
  readonly expireTime: Date | undefined;
  readonly revoked: boolean;
  readonly scope: Scope;
  readonly json: JsonObject;
}

/** What a token shall be good for. */
export interface TokenRequest {
  /** Who will check it; absent for whoever it may be. */
  readonly audience?: string;
  /** 8 to 64 bytes that come back in it. */
  readonly nonce?: Uint8Array;
}

export interface Token {
  /** JSON Web Token in its compact form. */
  readonly jwt: string;
  readonly expireTime: Date | undefined;
}

/** A key that signs tokens, or did. */
export interface TokenKey {
  /** `kid` of its tokens. */
  readonly keyId: string;
  readonly version: bigint;
  readonly createTime: Date | undefined;
  /** When the next key took its place; undefined for the one that signs. */
  readonly retireTime: Date | undefined;
  readonly publishEndTime: Date | undefined;
  readonly json: JsonObject;
}

/** One event of a watch. */
export type WatchEvent =
  | { readonly kind: 'change'; readonly result: AttestationResult; readonly initial: boolean }
  | { readonly kind: 'removal'; readonly host: string; readonly reason: string }
  | {
      readonly kind: 'validity';
      readonly host: string;
      readonly revision: bigint;
      readonly validUntil: Date | undefined;
      readonly confirmations: bigint;
    }
  | { readonly kind: 'bookmark'; readonly synced: boolean };

export interface ResultFilter {
  /** `hosts/{host}`; any one of them. */
  readonly hosts?: readonly string[];
  readonly statuses?: readonly TrustStatus[];
  readonly matchLabels?: Readonly<Record<string, string>>;
  /** `trustPolicies/{policy}`; any one of them made the verdict. */
  readonly trustPolicies?: readonly string[];
}

export type PlacementTier = 'AFFIRMING' | 'WARNING';
export type PlacementOrder = 'FRESHEST' | 'LONGEST_VALID';

/** What a host must be to be selected; all given parts must hold. */
export interface PlacementRequirements {
  /** Default AFFIRMING. */
  readonly minimumTier?: PlacementTier;
  /** `trustPolicies/{policy}` */
  readonly trustPolicy?: string;
  readonly minimumPolicyVersion?: bigint;
  /** How long ago the challenge may be, milliseconds. */
  readonly maximumAgeMillis?: number;
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly exclude?: {
    /** `hosts/{host}` */
    readonly hosts?: readonly string[];
    readonly nodeNames?: readonly string[];
    readonly labels?: readonly { readonly key: string; readonly value: string }[];
  };
}

export interface PlacementHost {
  /** `hosts/{host}` */
  readonly host: string;
  readonly nodeName: string;
  readonly revision: bigint;
  readonly status: TrustStatus;
  readonly trustPolicy: string;
  readonly trustPolicyVersion: bigint;
  readonly challengeTime: Date | undefined;
  /** Place nothing on the strength of the answer from then on. */
  readonly validUntil: Date | undefined;
  readonly connectivity: Connectivity;
  readonly labels: Readonly<Record<string, string>>;
  /** Its result, signed; where that was asked for and the host is selectable. */
  readonly token?: Token;
}

export interface RefusedHost {
  readonly host: PlacementHost;
  readonly reasons: readonly string[];
  /** Reasons of the checks that did not pass. */
  readonly checkReasons: readonly string[];
}

export interface Selection {
  /** In order; fewer than asked for where there are no more. */
  readonly hosts: readonly PlacementHost[];
  readonly selectableCount: number;
  readonly refused: readonly RefusedHost[];
  readonly refusalCounts: readonly { readonly reason: string; readonly count: number }[];
  readonly answerTime: Date | undefined;
  readonly json: JsonObject;
}

export interface CheckedHost extends RefusedHost {
  readonly selectable: boolean;
  readonly answerTime: Date | undefined;
  readonly json: JsonObject;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}
