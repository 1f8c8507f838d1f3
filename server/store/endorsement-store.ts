import type {
  EndorsementChange,
  GivenRevocationList,
  GivenTrustAnchor,
  InventoryRecord,
  RevocationListRecord,
  RevocationListSummary,
  TrustAnchorRecord,
} from './endorsement-records.ts';
import type { Actor, Page, PageRequest } from './page.ts';

/** `expected`: the version that must be the present one (etag_mismatch); 'any': whatever is there. */
type RemoveOptions = Actor & { readonly expected: number | 'any' };

/**
 * Who vouches for TPMs. Anchors and lists have versions, of which the newest KEPT_VERSIONS stay readable, also when the resource
 * was removed; every change is told of by `listEndorsementChanges`.
 */
export interface EndorsementStore {
  allTrustAnchors(): Promise<readonly TrustAnchorRecord[]>;
  listTrustAnchors(page: PageRequest): Promise<Page<TrustAnchorRecord>>;
  /** `version` null: the newest of one that is there. Null where there is none, or it is not kept. */
  getTrustAnchor(fingerprint: string, version: number | null): Promise<TrustAnchorRecord | null>;
  /** Returns those that were added, and intermediates that became anchors; what was there already changes nothing. */
  addTrustAnchors(anchors: readonly GivenTrustAnchor[], options: Actor): Promise<readonly TrustAnchorRecord[]>;
  removeTrustAnchor(fingerprint: string, options: RemoveOptions): Promise<void>;
  allRevocationLists(): Promise<readonly RevocationListRecord[]>;
  listRevocationLists(page: PageRequest): Promise<Page<RevocationListSummary>>;
  /** As `getTrustAnchor`. */
  getRevocationList(id: string, version: number | null): Promise<RevocationListRecord | null>;
  /**
   * Each is a new version of what its issuer (name and key) revokes; returns those that were added. One that is there already
   * changes nothing. Throws outdated when a list is not newer than the one it would replace: none is taken then.
   */
  addRevocationLists(lists: readonly GivenRevocationList[], options: Actor): Promise<readonly RevocationListSummary[]>;
  removeRevocationList(id: string, options: RemoveOptions): Promise<void>;
  findInventory(fingerprints: readonly string[]): Promise<readonly InventoryRecord[]>;
  listInventory(page: PageRequest): Promise<Page<InventoryRecord>>;
  putInventory(
    entries: readonly Omit<InventoryRecord, 'createTime'>[],
    options: Actor,
  ): Promise<{ readonly added: number; readonly updated: number }>;
  removeInventory(fingerprint: string, options: Actor): Promise<void>;
  /**
   * Newest first, with the endorsement epoch that is current; `after` is an audit sequence in decimal.
   * @param resource only of this one; '' for all
   */
  listEndorsementChanges(
    page: PageRequest,
    resource: string,
  ): Promise<{ readonly epoch: number; readonly changes: Page<EndorsementChange> }>;
}
