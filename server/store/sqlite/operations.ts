import type { Actor, Store } from '../store.ts';
import type { Database } from './database.ts';
import { listEndorsementChanges } from './endorsement-changes.ts';
import { enroll } from './enrollment.ts';
import { readEpochs } from './epochs.ts';
import { approveHost, deleteHost, lapsePending, replaceHost, revokeHost, updateHost } from './host-changes.ts';
import { dropFormerBoots, formerBoots, readFormerLog } from './former-boots.ts';
import { findByEks, findHost, getHost, listHosts } from './hosts.ts';
import { getIdentity, listAudit, listIdentities, putIdentity, revokeIdentity } from './identities.ts';
import { addKey, listKeys, withdrawKey } from './keys.ts';
import { getBoot, logStates, readLog } from './logs.ts';
import { platform } from './platform.ts';
import { findInventory, listInventory, putInventory, removeInventory } from './inventory.ts';
import { deleteKeyring, getKeyring, listKeyrings, putKeyring, removeKeyringKey } from './keyrings.ts';
import { placementsSince, resultTimes } from './placements.ts';
import { allPolicies, deletePolicy, getPolicy, judgeBy, listPolicies, putPolicy } from './policies.ts';
import { commitReappraisals, dueReappraisals, reappraisalBases } from './reappraisals.ts';
import {
  addReferenceEntries,
  commitReferenceDraft,
  copyReferenceEntries,
  dropReferenceDraft,
  openReferenceDraft,
  sweepReferenceEntries,
} from './reference-drafts.ts';
import {
  getReferenceSet,
  hasReferenceDigest,
  listReferenceEntries,
  listReferenceSets,
  readReferenceDigests,
} from './reference-sets.ts';
import { deleteReferenceSet, withdrawReferenceDigests } from './reference-versions.ts';
import {
  changesSince,
  compact,
  confirmationsSince,
  findResult,
  getResult,
  heads,
  listHistory,
  listResults,
  snapshot,
} from './results.ts';
import { getRuntime } from './runtimes.ts';
import {
  addRevocationLists,
  allRevocationLists,
  getRevocationList,
  listRevocationLists,
  removeRevocationList,
} from './revocation-lists.ts';
import {
  addTrustAnchors,
  allTrustAnchors,
  getTrustAnchor,
  listTrustAnchors,
  removeTrustAnchor,
} from './trust-anchors.ts';
import { countTorn, expireAll, expireResults, streamLost } from './rounds.ts';
import { commitRounds, type RoundBatch } from './commit-rounds.ts';
import { TAKE_COUNTER_SET_CLOCK, write } from './transaction.ts';

type StoreMethods = Omit<
  Store,
  'incarnation' | 'deployment' | 'now' | 'clockBehind' | 'close' | 'commitRounds' | 'placementsSince'
>;

/** What the worker carries out: methods of a store, steps of them, and rounds in a form of their own. */
export type OperationMethods = StoreMethods & {
  commitRounds(batch: RoundBatch): Promise<string>;
  /** As JSON, for the same reason: each confirmation is in it. */
  placementsSince(...args: Parameters<Store['placementsSince']>): Promise<string>;
  /** Returns how many were copied; 0 at the end. */
  copyReferenceEntries(draft: number): Promise<number>;
  /** Returns 0 when nothing is left. */
  sweepReferenceEntries(): Promise<number>;
  /** Returns 0 when none ended before the time. */
  dropFormerBoots(before: number): Promise<number>;
};

export type OperationName = keyof OperationMethods;

type Operations = {
  readonly [Name in OperationName]: (
    database: Database,
    now: number,
    ...args: Parameters<OperationMethods[Name]>
  ) => Awaited<ReturnType<OperationMethods[Name]>>;
};

const TABLE: Operations = {
  getHost: (database, _now, id) => getHost(database, id),
  findHost: (database, _now, id, scope) => findHost(database, id, scope),
  listHosts: (database, _now, page, filter) => listHosts(database, page, filter),
  findByEks: (database, _now, fingerprints) => findByEks(database, fingerprints),
  enroll,
  updateHost,
  approveHost,
  revokeHost,
  replaceHost,
  deleteHost,
  lapsePending,

  commitRounds,
  countTorn,
  streamLost,
  getResult,
  findResult,
  listResults,
  listHistory: (database, _now, hostId, page, scope) => listHistory(database, hostId, page, scope),
  expireResults,
  changesSince: (database, _now, revision, limit) => changesSince(database, revision, limit),
  confirmationsSince: (database, _now, sequence, limit) => confirmationsSince(database, sequence, limit),
  heads: (database) => heads(database),
  snapshot,
  platform,
  compact,
  placementsSince: (database, _now, position, limit) => JSON.stringify(placementsSince(database, position, limit)),
  resultTimes: (database, _now, hostIds) => resultTimes(database, hostIds),
  logStates: (database, _now, hostId) => logStates(database, hostId),
  getBoot: (database, _now, hostId) => getBoot(database, hostId),
  getRuntime: (database, _now, hostId) => getRuntime(database, hostId),
  dropFormerBoots,
  formerBoots: (database, _now, hostId) => formerBoots(database, hostId),
  readFormerLog: (database, _now, boot, kind, offset, limit) => readFormerLog(database, boot, kind, offset, limit),
  dueReappraisals: (database, _now, limit, connectedBefore) => dueReappraisals(database, limit, connectedBefore),
  reappraisalBases: (database, _now, hostIds) => reappraisalBases(database, hostIds),
  commitReappraisals,
  readLog: (database, _now, hostId, kind, offset, limit) => readLog(database, hostId, kind, offset, limit),

  epochs: (database) => readEpochs(database),
  allPolicies: (database) => allPolicies(database),
  getPolicy: (database, _now, id, version) => getPolicy(database, id, version),
  listPolicies: (database, _now, page) => listPolicies(database, page),
  putPolicy,
  deletePolicy,
  judgeBy,

  getReferenceSet: (database, _now, id, version) => getReferenceSet(database, id, version),
  listReferenceSets: (database, _now, page) => listReferenceSets(database, page),
  openReferenceDraft,
  copyReferenceEntries,
  addReferenceEntries,
  withdrawReferenceDigests,
  commitReferenceDraft,
  dropReferenceDraft,
  sweepReferenceEntries,
  deleteReferenceSet,
  listReferenceEntries: (database, _now, set, page, filter) => listReferenceEntries(database, set, page, filter),
  hasReferenceDigest: (database, _now, set, algorithm, digest) => hasReferenceDigest(database, set, algorithm, digest),
  readReferenceDigests: (database, _now, set, page) => readReferenceDigests(database, set, page),
  getKeyring: (database, _now, id, version) => getKeyring(database, id, version),
  listKeyrings: (database, _now, page) => listKeyrings(database, page),
  putKeyring,
  removeKeyringKey,
  deleteKeyring,

  allTrustAnchors: (database) => allTrustAnchors(database),
  listTrustAnchors: (database, _now, page) => listTrustAnchors(database, page),
  getTrustAnchor: (database, _now, fingerprint, version) => getTrustAnchor(database, fingerprint, version),
  addTrustAnchors,
  removeTrustAnchor,
  allRevocationLists: (database) => allRevocationLists(database),
  listRevocationLists: (database, _now, page) => listRevocationLists(database, page),
  getRevocationList: (database, _now, id, version) => getRevocationList(database, id, version),
  addRevocationLists,
  removeRevocationList,
  findInventory: (database, _now, fingerprints) => findInventory(database, fingerprints),
  listInventory: (database, _now, page) => listInventory(database, page),
  putInventory,
  removeInventory,
  listEndorsementChanges: (database, _now, page, resource) => listEndorsementChanges(database, page, resource),

  getIdentity: (database, _now, name) => getIdentity(database, name),
  listIdentities: (database, _now, page) => listIdentities(database, page),
  putIdentity,
  revokeIdentity,
  listKeys: (database, _now, purpose) => listKeys(database, purpose),
  addKey,
  withdrawKey,
  listAudit: (database, _now, after, limit) => listAudit(database, after, limit),

  acceptClock,
};

function acceptClock(database: Database, now: number, options: Actor): void {
  write(
    database,
    now,
    (tx) => {
      const expired = expireAll(tx);
      tx.audit(options.actor, 'clock.accept', 'clock', `${new Date(now).toISOString()}, ${expired} results expired`);
    },
    TAKE_COUNTER_SET_CLOCK,
  );
}

type Operation = (database: Database, now: number, args: readonly unknown[]) => unknown;

/** The same by name, for messages: the sender's types hold the arguments to the names. */
export const OPERATIONS: ReadonlyMap<string, Operation> = new Map(
  Object.entries(TABLE).map(([name, operation]) => {
    const untyped = operation as (database: Database, now: number, ...args: readonly unknown[]) => unknown;
    return [name, (database: Database, now: number, args: readonly unknown[]) => untyped(database, now, ...args)];
  }),
);
