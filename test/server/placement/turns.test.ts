import { setTimeout as delay } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { Turns } from '../../../server/placement/turns.ts';

/** A look of one step. */
const saying = (answer: string) => (): Iterator<void, string> => ({ next: () => ({ done: true, value: answer }) });

describe('turns', () => {
  it('come one at a time, and leave the thread to others for as long as each took', async () => {
    let now = 0;
    const turns = new Turns(() => now);
    const times: number[] = [];
    const look = (answer: number) => (): Iterator<void, number> => ({
      next: () => {
        times.push(performance.now());
        now += 50;
        return { done: true, value: answer };
      },
    });
    expect(await Promise.all([1, 2, 3].map((answer) => turns.take(look(answer))))).toEqual([1, 2, 3]);
    const [first = 0, second = 0, third = 0] = times;
    // Timers of Node may be a millisecond early.
    expect(second - first).toBeGreaterThan(48);
    expect(third - second).toBeGreaterThan(48);
  });

  it('leave the thread to others for as long after each step as it took', async () => {
    let now = 0;
    const turns = new Turns(() => now);
    const others: number[] = [];
    const timer = setInterval(() => others.push(performance.now()), 2);
    const times: number[] = [];
    const steps = function* (): Generator<void, string> {
      for (let step = 0; step < 4; step += 1) {
        times.push(performance.now());
        now += 20;
        yield;
      }
      return 'told';
    };
    expect(await turns.take(steps)).toBe('told');
    clearInterval(timer);
    for (const [index, time] of times.slice(1).entries()) {
      expect(time - (times[index] ?? 0)).toBeGreaterThan(18);
      expect(others.some((other) => other > (times[index] ?? 0) && other < time)).toBe(true);
    }
  });

  it('go on after one that failed', async () => {
    const turns = new Turns(() => 0);
    const failed = turns.take(() => {
      throw new Error('stale');
    });
    await expect(failed).rejects.toThrow('stale');
    expect(await turns.take(saying('next'))).toBe('next');
  });

  it('are not waited for by more than 32', async () => {
    const turns = new Turns(() => 0);
    const taken = Array.from({ length: 40 }, () => turns.take(saying('told')).catch((error: unknown) => error));
    const answers = await Promise.all(taken);
    expect(answers.filter((answer) => answer === 'told')).toHaveLength(32);
    expect(answers.at(-1)).toMatchObject({ code: 'PLACEMENT_BUSY' });
    await delay(5);
    expect(await turns.take(saying('again'))).toBe('again');
  });
});
