import { setTimeout as delay } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { Turns } from '../../../server/placement/turns.ts';

describe('turns', () => {
  it('come one at a time, and leave the thread to others for as long as each took', async () => {
    let now = 0;
    const turns = new Turns(() => now);
    const times: number[] = [];
    const look = (answer: number) => (): number => {
      times.push(performance.now());
      now += 50;
      return answer;
    };
    expect(await Promise.all([1, 2, 3].map((answer) => turns.take(look(answer))))).toEqual([1, 2, 3]);
    const [first = 0, second = 0, third = 0] = times;
    // Timers of Node may be a millisecond early.
    expect(second - first).toBeGreaterThan(48);
    expect(third - second).toBeGreaterThan(48);
  });

  it('go on after one that failed', async () => {
    const turns = new Turns(() => 0);
    const failed = turns.take(() => {
      throw new Error('stale');
    });
    await expect(failed).rejects.toThrow('stale');
    expect(await turns.take(() => 'next')).toBe('next');
  });

  it('are not waited for by more than 32', async () => {
    const turns = new Turns(() => 0);
    const taken = Array.from({ length: 40 }, () => turns.take(() => 'told').catch((error: unknown) => error));
    const answers = await Promise.all(taken);
    expect(answers.filter((answer) => answer === 'told')).toHaveLength(32);
    expect(answers.at(-1)).toMatchObject({ code: 'PLACEMENT_BUSY' });
    await delay(5);
    expect(await turns.take(() => 'again')).toBe('again');
  });
});
