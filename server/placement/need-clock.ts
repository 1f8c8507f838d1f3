import { MAX_CLOCK_BEHIND } from '../store/clock.ts';
import type { Store } from '../store/store.ts';
import { PlacementError } from './placement-error.ts';

/** Throws CLOCK_BEHIND where the store's clock runs on alone for so long that nobody knows how old results are. */
export function needClock(store: Pick<Store, 'clockBehind'>): void {
  if (store.clockBehind() > MAX_CLOCK_BEHIND)
    throw new PlacementError('CLOCK_BEHIND', 'the wall clock of the service is too far behind to say what is valid');
}
