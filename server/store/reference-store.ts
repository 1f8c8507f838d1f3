import type { Actor, Page, PageRequest } from './page.ts';

/** A version of a reference set, without its entries. */
export interface ReferenceSetRecord {
  readonly id: string;
  readonly version: number;
  readonly kind: 'files';
  /** How many entries it holds. */
  readonly entries: number;
  readonly createTime: number;
}

/** Algorithms of file digests with the length of a digest in bytes, no two alike. */
export const REFERENCE_ALGORITHMS = { sha1: 20, sha224: 28, sha256: 32, sha384: 48, sha512: 64 } as const;
export type ReferenceAlgorithm = keyof typeof REFERENCE_ALGORITHMS;

/** A file that may be there: an entry is the pair of digest and path. */
export interface ReferenceEntryRecord {
  readonly algorithm: ReferenceAlgorithm;
  readonly digest: string;
  readonly path: string;
}

/** With the key after which a page may start. */
export interface ListedEntry extends ReferenceEntryRecord {
  readonly key: string;
}

/** The different digests of one algorithm, one behind the other, ascending. */
export type PackedDigests = Readonly<Partial<Record<ReferenceAlgorithm, Uint8Array>>>;

/** A key that signs files. */
export interface KeyringKeyRecord {
  /** SHA-256 of the SubjectPublicKeyInfo. */
  readonly fingerprint: string;
  /** By which file signatures may name it, 8 digits each. */
  readonly keyIds: readonly string[];
  /** Such as "RSA-2048". */
  readonly algorithm: string;
  /** Subject of its certificate; '' for a bare key. */
  readonly subject: string;
  /** null for a bare key. */
  readonly notBefore: number | null;
  readonly notAfter: number | null;
  /** Certificate, or SubjectPublicKeyInfo of a bare key. */
  readonly der: string;
}

/** A version of a keyring, without its keys. */
export interface KeyringSummary {
  readonly id: string;
  readonly version: number;
  readonly keyCount: number;
  readonly createTime: number;
}

export interface KeyringRecord extends KeyringSummary {
  /** In the order of fingerprints. */
  readonly keys: readonly KeyringKeyRecord[];
}

/** A version of something that policies name, by its resource name. */
export interface ReferenceVersion {
  /** `referenceSets/{id}` or `keyrings/{id}`. */
  readonly name: string;
  readonly version: number;
}

/** So many versions of a set or keyring stay readable, the newest included. */
export const KEPT_VERSIONS = 3;
/** Entries of one version of a set. */
export const MAX_REFERENCE_ENTRIES = 500_000;
export const MAX_REFERENCE_SETS = 1000;
export const MAX_KEYRINGS = 1000;
export const MAX_KEYRING_KEYS = 1000;
/** All keys of a keyring together, bytes of DER: they are read in one message. */
export const MAX_KEYRING_DER = 2 * 1024 * 1024;
/** A draft that is not committed within this is dropped, milliseconds. */
export const DRAFT_LIFETIME = 3_600_000;

/** The version that a change expects to be the newest; 'any': whatever is there. */
export interface Expected {
  readonly expected: number | 'any';
}

/**
 * Sets and keyrings. Each change makes a version; where a policy names what changed, the same transaction counts the policy epoch
 * and drops the verdicts of the hosts of that policy.
 */
export interface ReferenceStore {
  getReferenceSet(id: string, version: number | null): Promise<ReferenceSetRecord | null>;
  /** Newest versions, in the order of ids. */
  listReferenceSets(page: PageRequest): Promise<Page<ReferenceSetRecord>>;
  /**
   * Opens a draft of a set's next version, which nobody sees until it is committed; returns its number. From 'newest': it begins
   * with the entries of the newest version, if there is one, and is committed only where that is still the newest. Throws
   * etag_mismatch.
   */
  openReferenceDraft(id: string, options: Expected & { readonly from: 'nothing' | 'newest' }): Promise<number>;
  /** Adds what is not there. Throws too_large above {@link MAX_REFERENCE_ENTRIES}. */
  addReferenceEntries(draft: number, entries: readonly ReferenceEntryRecord[]): Promise<void>;
  /** Makes the draft the newest version; a draft that equals it makes none. The draft is gone afterwards. */
  commitReferenceDraft(
    draft: number,
    options: Actor & { readonly detail: string },
  ): Promise<{ readonly set: ReferenceSetRecord; readonly changed: boolean }>;
  dropReferenceDraft(draft: number): Promise<void>;
  /**
   * Makes a version without any entry of each digest (hex), at once, however large the set; `removed` counts entries. Throws
   * not_found, and takes none, when the set lacks one.
   */
  withdrawReferenceDigests(
    id: string,
    digests: readonly string[],
    options: Actor & Expected,
  ): Promise<{ readonly set: ReferenceSetRecord; readonly removed: number }>;
  /** Throws in_use while a policy names it. */
  deleteReferenceSet(id: string, options: Actor & Expected): Promise<void>;
  /**
   * Entries of a version: of one digest (hex), or whose path begins so, or all. In the order of digests, with a prefix in that
   * of paths. Throws not_found when the version is not kept (any more).
   */
  listReferenceEntries(
    set: { readonly id: string; readonly version: number },
    page: PageRequest,
    filter: { readonly digest: string } | { readonly pathPrefix: string },
  ): Promise<Page<ListedEntry>>;
  /** Whether a version holds a digest (hex). Throws not_found. */
  hasReferenceDigest(
    set: { readonly id: string; readonly version: number },
    algorithm: ReferenceAlgorithm,
    digest: string,
  ): Promise<boolean>;
  /** The digests of a version, page by page, ascending. Throws not_found. */
  readReferenceDigests(
    set: { readonly id: string; readonly version: number },
    page: PageRequest,
  ): Promise<{ readonly digests: PackedDigests; readonly next: string | null }>;

  getKeyring(id: string, version: number | null): Promise<KeyringRecord | null>;
  listKeyrings(page: PageRequest): Promise<Page<KeyringSummary>>;
  /** Keys of one fingerprint count once, the last one. Throws too_large above {@link MAX_KEYRING_KEYS} and {@link MAX_KEYRING_DER}. */
  putKeyring(
    id: string,
    keys: readonly KeyringKeyRecord[],
    options: Actor & Expected & { readonly add: boolean },
  ): Promise<{ readonly keyring: KeyringRecord; readonly changed: boolean }>;
  /** Throws not_found for a keyring or key that is not there. */
  removeKeyringKey(id: string, fingerprint: string, options: Actor & Expected): Promise<KeyringRecord>;
  /** Throws in_use while a policy names it. */
  deleteKeyring(id: string, options: Actor & Expected): Promise<void>;
}
