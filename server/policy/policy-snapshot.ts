import { resolvePolicy } from '../store/attachment.ts';
import type { HostRecord, PolicyRecord } from '../store/records.ts';
import type { ReferenceVersion } from '../store/reference-store.ts';
import { StoreError } from '../store/store.ts';
import type { Epochs, Store } from '../store/store.ts';
import type { ApplicablePolicy } from './appraise.ts';
import { attachmentOf } from './attachment.ts';
import { referencesOf } from './policy.ts';
import type { TrustPolicy } from './policy.ts';

/** The newest version of every policy, as they stood together. */
export interface PolicySnapshot {
  readonly epochs: Epochs;
  readonly records: readonly PolicyRecord[];
  readonly parsed: ReadonlyMap<string, TrustPolicy>;
  readonly references: readonly ReferenceVersion[];
}

export async function readPolicies(store: Pick<Store, 'allPolicies'>): Promise<PolicySnapshot> {
  const { epochs, policies, references } = await store.allPolicies();
  // The body was written from this very shape; the store gives back what it was given.
  const parsed = new Map(policies.map(({ id, body }) => [id, JSON.parse(body) as TrustPolicy]));
  return { epochs, records: policies, parsed, references };
}

/** Which policy of a snapshot judges a host. */
export function judgeOf(
  { records, parsed, references }: PolicySnapshot,
  host: Pick<HostRecord, 'labels' | 'trustPolicy'>,
): ApplicablePolicy {
  const resolved = resolvePolicy(host, records);
  if (resolved.kind !== 'policy') return resolved;
  const policy = parsed.get(resolved.policy.id);
  if (policy === undefined) throw new TypeError('a policy of the snapshot was not parsed');
  const { version, references: named } = resolved.policy;
  return { kind: 'policy', policy, version, references: references.filter(({ name }) => named.includes(name)) };
}

/** What would be done to the policies. */
export type PolicyChange =
  | { readonly kind: 'apply'; readonly policy: TrustPolicy }
  | { readonly kind: 'delete'; readonly id: string }
  | { readonly kind: 'none' };

/** The snapshot as it would be after a change: what is applied is the next version of its name. */
export async function changedPolicies(
  store: Pick<Store, 'getReferenceSet' | 'getKeyring'>,
  snapshot: PolicySnapshot,
  change: PolicyChange,
): Promise<PolicySnapshot> {
  if (change.kind === 'none') return snapshot;
  const id = change.kind === 'apply' ? change.policy.id : change.id;
  const records = snapshot.records.filter((record) => record.id !== id);
  if (change.kind === 'delete') return { ...snapshot, records };
  const { policy } = change;
  const references = referencesOf(policy);
  const former = snapshot.records.find((record) => record.id === id);
  const candidate: PolicyRecord = {
    id,
    version: (former?.version ?? 0) + 1,
    attachment: attachmentOf(policy),
    references,
    body: '',
    createTime: 0,
  };
  return {
    ...snapshot,
    records: [...records, candidate],
    parsed: new Map(snapshot.parsed).set(id, policy),
    references: await withReferences(store, snapshot.references, references),
  };
}

/** With the newest versions of those that no policy names yet. Throws unknown_reference, as applying does. */
export async function withReferences(
  store: Pick<Store, 'getReferenceSet' | 'getKeyring'>,
  known: readonly ReferenceVersion[],
  names: readonly string[],
): Promise<readonly ReferenceVersion[]> {
  const others = names.filter((name) => !known.some((reference) => reference.name === name));
  const found = await Promise.all(
    others.map(async (name) => {
      const [collection, id = ''] = name.split('/');
      const record =
        collection === 'keyrings' ? await store.getKeyring(id, null) : await store.getReferenceSet(id, null);
      if (record === null) throw new StoreError('unknown_reference', `${name} is not known`);
      return { name, version: record.version };
    }),
  );
  return [...known, ...found].toSorted((left, right) => (left.name < right.name ? -1 : 1));
}
