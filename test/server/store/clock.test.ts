import { describe, expect, it } from 'vitest';
import { StoreClock } from '../../../server/store/clock.ts';

function clockAt(mark: number, wall: number) {
  const time = { wall, monotonic: 500 };
  const clock = new StoreClock({ wallClock: () => time.wall, monotonic: () => time.monotonic }, mark);
  return { clock, time };
}

describe('StoreClock', () => {
  it('follows the wall clock while that is ahead of the mark', () => {
    const { clock, time } = clockAt(1000, 2000);
    expect(clock.now()).toBe(2000);
    time.wall = 2750.9;
    expect(clock.now()).toBe(2750);
    expect(clock.behind()).toBe(0);
  });

  it('runs on from the mark by the monotonic clock while the wall clock is behind', () => {
    const { clock, time } = clockAt(10_000, 4000);
    expect(clock.now()).toBe(10_000);
    expect(clock.behind()).toBe(6000);
    time.monotonic += 250.5;
    time.wall += 250.5;
    expect(clock.now()).toBe(10_250);
    expect(clock.behind()).toBe(6000);
  });

  it('follows the wall clock again once that has caught up', () => {
    const { clock, time } = clockAt(10_000, 4000);
    time.monotonic += 100;
    expect(clock.now()).toBe(10_100);
    time.wall = 10_101;
    expect(clock.now()).toBe(10_101);
    expect(clock.behind()).toBe(0);
    time.wall = 10_050;
    time.monotonic += 10;
    expect(clock.now()).toBe(10_111);
    expect(clock.behind()).toBe(61);
  });

  it('never goes back, whatever either clock does', () => {
    const { clock, time } = clockAt(1000, 1000);
    let last = 0;
    for (const [wall, monotonic] of [
      [1500, 510],
      [200, 520],
      [0, 519],
      [5000, 520],
      [4999, 521],
      [-9, 9000],
      [13_479, 9001],
    ]) {
      time.wall = wall ?? 0;
      time.monotonic = monotonic ?? 0;
      const now = clock.now();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
    expect(last).toBe(13_481);
  });

  it('takes the wall clock as it is when asked to, and can take that back', () => {
    const { clock, time } = clockAt(10_000, 4000);
    const undo = clock.acceptWallClock();
    expect([clock.now(), clock.behind()]).toEqual([4000, 0]);
    time.monotonic += 5;
    undo();
    expect([clock.now(), clock.behind()]).toEqual([10_005, 6005]);
  });
});
