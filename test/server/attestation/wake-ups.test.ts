import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { WakeUps } from '../../../server/attestation/wake-ups.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Lets a number of streams stand in line; the result fills as they are woken. */
function line(wakeUps: WakeUps, count: number): { readonly woken: number[]; readonly leave: readonly (() => void)[] } {
  const woken: number[] = [];
  const leave = Array.from({ length: count }, (_, index) => wakeUps.soon(() => woken.push(index)));
  return { woken, leave };
}

describe('streams that are to be judged anew', () => {
  it('are woken at once as long as they are few', () => {
    expect(line(new WakeUps(), 25).woken).toHaveLength(25);
  });

  it('are woken at a bounded rate, in their order, and all of them', () => {
    const { woken } = line(new WakeUps(), 10_000);
    expect(woken).toHaveLength(25);
    vi.advanceTimersByTime(1_000);
    expect(woken).toHaveLength(275);
    vi.advanceTimersByTime(39_000);
    expect(woken).toEqual(Array.from({ length: 10_000 }, (_, index) => index));
  });

  it('have the whole rate again after a pause', () => {
    const wakeUps = new WakeUps();
    expect(line(wakeUps, 25).woken).toHaveLength(25);
    vi.advanceTimersByTime(100);
    expect(line(wakeUps, 25).woken).toHaveLength(25);
  });

  it('are not woken when they have left, and make room for the next', () => {
    const { woken, leave } = line(new WakeUps(), 60);
    for (const go of leave.slice(25, 50)) go();
    vi.advanceTimersByTime(100);
    expect(woken.slice(25)).toEqual([50, 51, 52, 53, 54, 55, 56, 57, 58, 59]);
  });
});
