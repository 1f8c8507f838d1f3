import { describe, expect, it, vi } from 'vitest';

import { collectLogs, LOGS_TIME, withinTime } from '../../../server/verifier/collect-logs.ts';
import { LOG_POTS, LogBudget } from '../../../server/verifier/log-budget.ts';
import { announce } from '../../support/evidence-builder.ts';

const MEBIBYTE = 1024 * 1024;
const ofSize = (mebibytes: number) => [{ size: mebibytes * MEBIBYTE }];
const refusal = expect.objectContaining({ code: 'LOG_BUDGET' });

describe('the budget of logs', () => {
  const pot = { total: 300 * MEBIBYTE, forSmall: 10 * MEBIBYTE };

  it('takes one full set of logs of each holder at a time, by whichever of its keys', () => {
    const budget = new LogBudget(pot);
    const held = budget.hold(['a', 'b'], [...ofSize(4), ...ofSize(4), ...ofSize(64)]);
    expect(() => budget.hold(['b'], ofSize(9))).toThrow(refusal);
    expect(() => budget.hold(['c', 'a'], ofSize(9))).toThrow(refusal);
    budget.hold(['c'], ofSize(72));
    held[Symbol.dispose]();
    budget.hold(['a'], ofSize(72));
  });

  it('gives nothing for what is only announced: any number of silent holders leaves room', () => {
    const budget = new LogBudget(pot);
    for (let holder = 0; holder < 1000; holder += 1) budget.hold([String(holder)], ofSize(72));
    budget.hold(['another'], ofSize(64)).take(64 * MEBIBYTE);
  });

  it('bounds what all holders have sent, and what is given back is there again', () => {
    const budget = new LogBudget(pot);
    const held = Array.from({ length: 4 }, (_, holder) => budget.hold([String(holder)], ofSize(72)));
    for (const each of held) each.take(72 * MEBIBYTE);
    const another = budget.hold(['another'], ofSize(64));
    expect(() => another.take(3 * MEBIBYTE)).toThrow(refusal);
    another.take(2 * MEBIBYTE);
    expect(() => budget.hold(['yet another'], ofSize(2))).toThrow(refusal);
    held[3]?.[Symbol.dispose]();
    another.take(62 * MEBIBYTE);
  });

  it('keeps something back for small answers', () => {
    const budget = new LogBudget(pot);
    for (let holder = 0; holder < 5; holder += 1) budget.hold([String(holder)], ofSize(58)).take(58 * MEBIBYTE);
    expect(() => budget.hold(['large'], ofSize(2))).toThrow(refusal);
    for (let holder = 0; holder < 10; holder += 1) budget.hold(['small'], ofSize(1)).take(MEBIBYTE);
    expect(() => budget.hold(['small'], ofSize(1))).toThrow(refusal);
  });

  it('lets a round without logs go on when it is spent', () => {
    const budget = new LogBudget({ total: MEBIBYTE, forSmall: 0 });
    budget.hold(['0'], ofSize(1)).take(MEBIBYTE);
    budget.hold(['0'], []);
  });

  it('is 512 MiB for all that the service takes', () => {
    const total = Object.values(LOG_POTS).reduce((sum, each) => sum + each.total, 0);
    expect(total).toBe(512 * MEBIBYTE);
  });
});

describe('logs that trickle', () => {
  it('are let go when their time is over', async () => {
    vi.useFakeTimers();
    try {
      const data = Buffer.alloc(1000);
      let offset = 0;
      const trickle = async () => {
        await new Promise((resolve) => {
          setTimeout(resolve, 10_000);
        });
        offset += 1;
        return { kind: 'ima' as const, offset: offset - 1, data: data.subarray(0, 1) };
      };
      using chunks = withinTime(trickle);
      const outcome = collectLogs([announce({ kind: 'ima', data })], chunks.next, { take: () => undefined }).catch(
        (error: unknown) => error,
      );
      await vi.advanceTimersByTimeAsync(LOGS_TIME);
      expect(await outcome).toMatchObject({ code: 'LOG_TOO_SLOW' });
    } finally {
      vi.useRealTimers();
    }
  });
});
