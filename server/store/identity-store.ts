import type { Actor, Page, PageRequest } from './page.ts';
import type { AuditRecord, IdentityRecord, IdentityRole, KeyRecord, Labels } from './records.ts';

/** Who may call, the keys of the service, and the record of changes. */
export interface IdentityStore {
  getIdentity(name: string): Promise<IdentityRecord | null>;
  listIdentities(page: PageRequest): Promise<Page<IdentityRecord>>;
  /** Makes or renews an identity; wrong_state when it was revoked. */
  putIdentity(
    identity: {
      readonly name: string;
      readonly roles: readonly IdentityRole[];
      readonly keySha256: string;
      readonly expireTime: number;
      /** Null: as it was; every host when the identity is new. */
      readonly scope: Labels | null;
    },
    options: Actor,
  ): Promise<IdentityRecord>;
  revokeIdentity(name: string, options: Actor): Promise<IdentityRecord>;
  /** Every version of a purpose, newest first. */
  listKeys(purpose: string): Promise<readonly KeyRecord[]>;
  /** Version = newest + 1; fails with already_exists when `expectedVersion` is taken, so that two replicas make one key. */
  addKey(key: Omit<KeyRecord, 'createTime' | 'withdrawTime'>, options: Actor): Promise<KeyRecord>;
  /** A former version counts for nothing any more; wrong_state for the newest. Idempotent. */
  withdrawKey(purpose: string, version: number, options: Actor): Promise<KeyRecord>;
  /** Audit records after a sequence number, ascending. */
  listAudit(after: number, limit: number): Promise<readonly AuditRecord[]>;
}
