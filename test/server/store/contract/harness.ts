import { afterEach, beforeEach } from 'vitest';
import type { Store } from '../../../../server/store/store.ts';

/** Clocks that a test sets. */
export class FakeClock {
  /** Milliseconds since 1970. */
  wall = Date.UTC(2026, 0, 1);
  elapsed = 0;

  /** Time passes, on both clocks. */
  advance(milliseconds: number): void {
    this.wall += milliseconds;
    this.elapsed += milliseconds;
  }
}

/** A place where a store is, empty at first. */
export interface StorePlace {
  readonly open: (clock: FakeClock) => Promise<Store>;
  readonly remove: () => Promise<void>;
}

/** The store of the present test. */
export interface Given {
  readonly store: Store;
  readonly clock: FakeClock;
  /** Closes the store and opens it again, as a restart does. */
  readonly reopen: () => Promise<void>;
}

/** Gives each test of the block a new store. */
export function givenStore(makePlace: () => Promise<StorePlace>): Given {
  let place: StorePlace;
  let store: Store;
  let clock: FakeClock;
  beforeEach(async () => {
    clock = new FakeClock();
    place = await makePlace();
    store = await place.open(clock);
  });
  afterEach(async () => {
    await store.close();
    await place.remove();
  });
  return {
    get store() {
      return store;
    },
    get clock() {
      return clock;
    },
    reopen: async () => {
      await store.close();
      clock.elapsed = 0;
      store = await place.open(clock);
    },
  };
}
