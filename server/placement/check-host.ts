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
  /** By the store's clock, before the reading: what came later is in the answer or behind it, never before it and missing. */
  readonly time: number;
}

/** Asks the store about one host, for the moment of binding; null when there is none in the scope. */
export async function checkHost(
  store: Pick<Store, 'now' | 'clockBehind' | 'findResult'>,
  host: HostNamed,
  { requirements, scope }: { readonly requirements: PlacementRequirements; readonly scope: Labels },
): Promise<CheckedHost | null> {
  needClock(store);
  const time = store.now();
  const result = await store.findResult(host, scope);
  if (result === null) return null;
  needClock(store);
  return { result, refusals: refusalsOf(refusalBits(result, requirements, store.now())), time };
}
