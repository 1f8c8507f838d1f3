import { describe, expect, it } from 'vitest';

import { ReportTurns } from '../../../server/result/report-turns.ts';

describe('reports', () => {
  it('are made one at a time, each after a pause as long as the one before took', async () => {
    const turns = new ReportTurns(() => performance.now());
    const spans: (readonly [began: number, ended: number])[] = [];
    const make = async (): Promise<void> => {
      const began = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 50));
      spans.push([began, performance.now()]);
    };
    await Promise.all([turns.take(make), turns.take(make), turns.take(make)]);
    const [first, second, third] = spans;
    // Timers of Node may be a millisecond early.
    expect((second?.[0] ?? 0) - (first?.[1] ?? 0)).toBeGreaterThan(48);
    expect((third?.[0] ?? 0) - (second?.[1] ?? 0)).toBeGreaterThan(48);
  });

  it('go on after one that failed, and whatever the clock does meanwhile', async () => {
    let now = 0;
    const turns = new ReportTurns(() => (now -= 3_600_000));
    await expect(turns.take(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await turns.take(() => Promise.resolve('next'))).toBe('next');
  });
});
