import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Beats } from '../../../server/attestation/beats.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Who waits, and when each wait has ended. */
class Sleepers {
  readonly beats = new Beats(() => performance.now());
  readonly risen: [name: string, at: number][] = [];
  readonly #began = performance.now();

  join(name: string, millis: number): () => void {
    const sleeper = { rise: () => void this.risen.push([name, performance.now() - this.#began]) };
    const beat = this.beats.join(sleeper, millis);
    return () => this.beats.leave(sleeper, beat);
  }

  get names(): readonly string[] {
    return this.risen.map(([name]) => name);
  }
}

describe('waits that end at beats', () => {
  it('end together, and none of them before its time', () => {
    const sleepers = new Sleepers();
    for (const millis of [0, 3, 41, 45, 1_000]) sleepers.join(String(millis), millis);
    vi.advanceTimersByTime(2_000);
    expect(sleepers.names).toEqual(['0', '3', '41', '45', '1000']);
    for (const [millis, at] of sleepers.risen) {
      expect(at).toBeGreaterThanOrEqual(Number(millis));
      expect(at).toBeLessThanOrEqual(Number(millis) + 20);
    }
    const at = new Map(sleepers.risen);
    expect(at.get('41')).toBe(at.get('45'));
  });

  it('are over for whoever leaves, whether the time is to come or has come', () => {
    const sleepers = new Sleepers();
    const early = sleepers.join('early', 100);
    for (let index = 0; index < 40; index += 1) sleepers.join(String(index), 50);
    const late = sleepers.join('late', 50);
    early();
    vi.advanceTimersByTime(60);
    expect(sleepers.names).not.toContain('late');
    late();
    vi.advanceTimersByTime(1_000);
    expect(sleepers.names).toEqual(Array.from({ length: 40 }, (_, index) => String(index)));
  });

  it('let others have their turn when they are many, and keep their order', () => {
    const sleepers = new Sleepers();
    const seen: number[] = [];
    const look = (): void => {
      seen.push(sleepers.risen.length);
      if (sleepers.risen.length < 100) setImmediate(look);
    };
    sleepers.beats.join({ rise: () => void setImmediate(look) }, 5);
    for (let index = 0; index < 100; index += 1) sleepers.join(String(index), 5);
    vi.advanceTimersByTime(100);
    expect(sleepers.names).toEqual(Array.from({ length: 100 }, (_, index) => String(index)));
    expect(seen).toEqual([31, 63, 95, 100]);
  });

  it('begin anew after a time when nobody waited', () => {
    const sleepers = new Sleepers();
    sleepers.join('first', 30);
    vi.advanceTimersByTime(100);
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(12_345);
    sleepers.join('second', 30);
    vi.advanceTimersByTime(50);
    expect(sleepers.names).toEqual(['first', 'second']);
    expect(sleepers.risen[1]?.[1]).toBeGreaterThanOrEqual(12_475);
  });

  it('are caught up with after the thread was busy', () => {
    let now = 0;
    const beats = new Beats(() => now);
    const risen: string[] = [];
    for (const millis of [10, 30, 500, 5_000]) beats.join({ rise: () => void risen.push(String(millis)) }, millis);
    now = 1_000;
    vi.advanceTimersByTime(20);
    expect(risen).toEqual(['10', '30', '500']);
  });
});
