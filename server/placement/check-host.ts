import type { HostNamed } from '../store/filters.ts';
import type { Labels, ResultRecord } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { needClock } from './need-clock.ts';
import { refusalBits, refusalsOf } from './requirements.ts';
import type { PlacementRequirements, Refusal } from './requirements.ts';

export interface CheckedHost {
  readonly result: ResultRecord;
  /** Empty when it is selectable. */
  readonly refusals: readonly Refusal[];
  /** Of the answer, by the store's clock. */
  readonly time: number;
}

/** Asks the store about one host, for the moment of binding; null when there is none in the scope. */
export async function checkHost(
  store: Pick<Store, 'now' | 'clockBehind' | 'findResult'>,
  host: HostNamed,
  { requirements, scope }: { readonly requirements: PlacementRequirements; readonly scope: Labels },
): Promise<CheckedHost | null> {
  needClock(store);
  const result = await store.findResult(host, scope);
  if (result === null) return null;
  needClock(store);
  const time = store.now();
  return { result, refusals: refusalsOf(refusalBits(result, requirements, time)), time };
}
