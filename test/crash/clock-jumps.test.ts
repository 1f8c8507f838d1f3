import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { openSqliteStore } from '../../server/store/sqlite.ts';
import type { Store } from '../../server/store/store.ts';
import { commit, enrolled, MINUTE, round } from '../server/store/fixtures.ts';
import { SeededRandom } from '../support/seeded-random.ts';

const VALIDITY = 10 * MINUTE;
/** Until the mark is written while nothing else is; what a crash may take back of the store's clock. */
const MARK_AGE = 5_000;
/** How often the store is asked to expire results while time passes; the service asks twice a second. */
const LOOK = 4_000;
const STEPS = 50;

/** A machine whose wall clock jumps while time passes, and a store that is closed and opened on it. */
class JumpingMachine {
  readonly directory = mkdtempSync(join(tmpdir(), 'assay-clock-'));
  /** Time that has passed, milliseconds. */
  passed = 0;
  /** Of it, how much the store was open. */
  open = 0;
  wallAhead = Date.UTC(2026, 0, 1);
  #startedAt = 0;

  start(): Promise<Store> {
    this.#startedAt = this.passed;
    return openSqliteStore({
      directory: this.directory,
      wallClock: () => this.wallAhead + this.passed,
      monotonic: () => this.passed - this.#startedAt,
      random: (size) => new Uint8Array(size),
    });
  }

  pass(milliseconds: number, isOpen: boolean): void {
    this.passed += milliseconds;
    if (isOpen) this.open += milliseconds;
  }
}

async function live(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const machine = new JumpingMachine();
  let store = await machine.start();
  const { id } = await enrolled(store, 'a');
  /** When the newest verdict was challenged, and what happened to the clock since. */
  let challenged = { open: 0, behindStarts: 0 };
  let latest = store.now();
  try {
    for (let step = 0; step < STEPS; step++) {
      switch (random.below(6)) {
        case 0:
          machine.wallAhead += (random.below(2) === 0 ? 1 : -1) * random.below(30 * MINUTE);
          break;
        case 1: {
          await store.close();
          machine.pass(random.below(2 * MINUTE), false);
          store = await machine.start();
          const behind = store.clockBehind() > 0;
          challenged = { ...challenged, behindStarts: challenged.behindStarts + (behind ? 1 : 0) };
          expect(store.now()).toBeGreaterThanOrEqual(latest - MARK_AGE - LOOK);
          latest = store.now();
          break;
        }
        case 2:
          if ((await commit(store, await round(store, id, { validity: VALIDITY }))).outcome !== 'fenced')
            challenged = { open: machine.open, behindStarts: 0 };
          break;
        default:
          for (let left = random.below(4 * MINUTE); left > 0; left -= LOOK) {
            machine.pass(Math.min(left, LOOK), true);
            await store.expireResults(10);
          }
      }
      // As the service does twice a second.
      await store.expireResults(10);
      expect(store.now()).toBeGreaterThanOrEqual(latest);
      latest = store.now();
      const result = await store.getResult(id);
      if (result?.status !== 'affirming') continue;
      expect(result.validUntil).toBeGreaterThan(latest);
      expect(result.validUntil).toBeLessThanOrEqual(result.challengeTime + VALIDITY);
      // Of the time that the service ran, no verdict got more than its validity and what crashes took back of the clock.
      expect(machine.open - challenged.open).toBeLessThan(VALIDITY + challenged.behindStarts * (MARK_AGE + LOOK));
    }
  } finally {
    await store.close();
    rmSync(machine.directory, { recursive: true, force: true });
  }
}

describe('the clock of a store, with a wall clock that jumps both ways, over restarts', () => {
  it.each(Array.from({ length: 5 }, (_, index) => index + 1))(
    'never prolongs a verdict while the service runs (seed %i)',
    async (seed) => {
      await live(seed);
    },
  );
});
