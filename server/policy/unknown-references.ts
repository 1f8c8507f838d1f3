import type { Store } from '../store/store.ts';
import type { PolicyProblem } from './policy-problem.ts';
import type { TrustPolicy } from './policy.ts';

/** The sets and keyrings that a policy names and that are not there, each at the place where it is named. */
export async function unknownReferences(
  store: Pick<Store, 'getReferenceSet' | 'getKeyring'>,
  { runtime }: Pick<TrustPolicy, 'runtime'>,
): Promise<readonly PolicyProblem[]> {
  const { referenceSets = [], keyrings = [] } = runtime?.files ?? {};
  const sets = await Promise.all(referenceSets.map((name) => store.getReferenceSet(idOf(name), null)));
  const keys = await Promise.all(keyrings.map((name) => store.getKeyring(idOf(name), null)));
  return [...problemsOf('reference_sets', referenceSets, sets), ...problemsOf('keyrings', keyrings, keys)];
}

function problemsOf(field: string, names: readonly string[], found: readonly unknown[]): readonly PolicyProblem[] {
  return names.flatMap((name, index) =>
    found[index] === null
      ? [{ field: `runtime.files.${field}[${index}]`, message: `${name} is not known: import it first` }]
      : [],
  );
}

function idOf(name: string): string {
  return name.slice(name.indexOf('/') + 1);
}
