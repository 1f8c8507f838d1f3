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
}

/** A certificate revocation list, without its bytes. */
export interface RevocationListSummary {
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

export interface InventoryRecord {
  /** SHA-256 of the EK's SubjectPublicKeyInfo. */
  readonly fingerprint: string;
  readonly group: string;
  readonly comment: string;
  readonly createTime: number;
}
