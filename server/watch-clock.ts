import { MAX_CLOCK_BEHIND } from './store/clock.ts';
import type { Store } from './store/store.ts';

/** How often the clocks are compared, milliseconds. */
const LOOK = 1_000;

/**
 * Tells when the wall clock is so far behind the store's that nothing is selected, at once where it is, and when it no longer is, until
 * disposed of.
 */
export function watchClock(
  store: Pick<Store, 'clockBehind'>,
  tell: (change: { readonly isBehind: boolean; readonly milliseconds: number }) => void,
): Disposable {
  let wasBehind = false;
  const look = (): void => {
    const milliseconds = store.clockBehind();
    const isBehind = milliseconds > MAX_CLOCK_BEHIND;
    if (isBehind !== wasBehind) tell({ isBehind, milliseconds });
    wasBehind = isBehind;
  };
  look();
  const timer = setInterval(look, LOOK);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
