import type { Store } from '../store/store.ts';
import { withReferences } from './policy-snapshot.ts';
import type { PolicySnapshot } from './policy-snapshot.ts';
import { referencesOf } from './policy.ts';
import type { TrustPolicy } from './policy.ts';

/** A set or keyring in the place of another; resource names, both of one collection. */
export interface ReferenceSubstitute {
  readonly name: string;
  readonly candidate: string;
}

/**
 * A changed snapshot as it would be if its policies named the candidates: each policy that names another by them is its next version,
 * as after an import of the other. Throws unknown_reference where a candidate is not there.
 */
export async function substituteReferences(
  store: Pick<Store, 'getReferenceSet' | 'getKeyring'>,
  { before, changed }: { readonly before: PolicySnapshot; readonly changed: PolicySnapshot },
  substitutes: readonly ReferenceSubstitute[],
): Promise<PolicySnapshot> {
  if (substitutes.length === 0) return changed;
  const candidates = new Map(substitutes.map(({ name, candidate }) => [name, candidate]));
  const parsed = new Map(changed.parsed);
  const records = changed.records.map((record) => {
    const policy = parsed.get(record.id);
    if (policy === undefined || !record.references.some((name) => candidates.has(name))) return record;
    const other = withCandidates(policy, candidates);
    parsed.set(record.id, other);
    const former = before.records.find(({ id }) => id === record.id);
    return { ...record, version: (former?.version ?? 0) + 1, references: referencesOf(other) };
  });
  const named = records.flatMap(({ references }) => references);
  const references = await withReferences(store, changed.references, [...new Set(named)]);
  return { ...changed, records, parsed, references };
}

function withCandidates(policy: TrustPolicy, candidates: ReadonlyMap<string, string>): TrustPolicy {
  const { runtime } = policy;
  if (!runtime?.files) return policy;
  const other = (names: readonly string[]): readonly string[] => [
    ...new Set(names.map((name) => candidates.get(name) ?? name)),
  ];
  const { referenceSets, keyrings } = runtime.files;
  const files = { ...runtime.files, referenceSets: other(referenceSets), keyrings: other(keyrings) };
  return { ...policy, runtime: { ...runtime, files } };
}
