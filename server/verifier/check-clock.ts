import { failed, passed } from './finding.ts';
import type { Finding } from './finding.ts';

/** TPMS_CLOCK_INFO (TPM 2.0 Part 2 §10.11.1); the clock in milliseconds. */
export interface TpmClock {
  readonly clock: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
}

/**
 * The counters never go back while the TPM is the same: (resetCount, restartCount) is compared as a pair, and the clock only
 * where both are equal, since after a power cut it restarts from its last saved value. Going back means a clone or a rollback.
 */
export function checkClock(now: TpmClock, last: TpmClock | null): Finding {
  if (last === null) return passed('clock', 'The first signed clock of this AK.', describe(now));
  const order =
    now.resetCount - last.resetCount || now.restartCount - last.restartCount || compare(now.clock, last.clock);
  if (order >= 0) return passed('clock', 'The TPM went forward since its last quote.', describe(now));
  return failed('clock', {
    reason: 'CLOCK_REGRESSED',
    observed: describe(now),
    expected: `at least ${describe(last)}`,
    message:
      "The TPM's counters went back: its state was rolled back or cloned. Only a new enrolment with a new AK ends this.",
  });
}

function compare(left: bigint, right: bigint): number {
  return left === right ? 0 : left < right ? -1 : 1;
}

function describe({ clock, resetCount, restartCount }: TpmClock): string {
  return `reset ${resetCount}, restart ${restartCount}, clock ${clock} ms`;
}
