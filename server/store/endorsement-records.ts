/** What is kept of who vouches for TPMs, in the form of ./records.ts. */

export interface TrustAnchorRecord {
  /** SHA-256 of the certificate. */
  readonly fingerprint: string;
  readonly subject: string;
  readonly anchor: boolean;
  readonly notAfter: number;
  /** DER. */
  readonly certificate: string;
  readonly createTime: number;
  /** Counts from 1 with every change, also across a removal. */
  readonly version: number;
}

/** One that is to be kept; the store gives it a version and a time. */
export type GivenTrustAnchor = Omit<TrustAnchorRecord, 'createTime' | 'version'>;

/** A certificate revocation list, without its bytes. */
export interface RevocationListSummary {
  /** Names the issuer (by name and key): the SHA-256 of the first list of it that was kept. */
  readonly id: string;
  /** Counts the lists of the issuer from 1, also across a removal. */
  readonly version: number;
  /** SHA-256 of the list. */
  readonly fingerprint: string;
  /** Name of the issuer, for people. */
  readonly issuer: string;
  /** SHA-256 of the SubjectPublicKeyInfo of the key that signed it, as was proven before it was kept. */
  readonly issuerKey: string;
  /** CRL number, hex without leading zeros; '' when it has none. */
  readonly number: string;
  readonly thisUpdate: number;
  /** null where it does not say when the next one comes. */
  readonly nextUpdate: number | null;
  /** How many certificates it revokes. */
  readonly entries: number;
  readonly createTime: number;
}

export interface RevocationListRecord extends RevocationListSummary {
  /** DER. */
  readonly list: string;
}

/** One that is to be kept; the store gives it an id, a version and a time. */
export type GivenRevocationList = Omit<RevocationListRecord, 'id' | 'createTime' | 'version'>;

export interface InventoryRecord {
  /** SHA-256 of the EK's SubjectPublicKeyInfo. */
  readonly fingerprint: string;
  readonly group: string;
  readonly comment: string;
  readonly createTime: number;
}

/** One change of anchors, revocation lists or inventory, by its record in the audit log. */
export interface EndorsementChange {
  readonly auditSequence: number;
  readonly time: number;
  readonly actor: string;
  readonly action: string;
  /** Resource name of what changed. */
  readonly resource: string;
  readonly detail: string;
  /** Endorsement epoch that it led to; changes of one transaction share it. */
  readonly epoch: number;
  /** Version of the resource that it made, or ended; 0 where the resource has none. */
  readonly version: number;
}
