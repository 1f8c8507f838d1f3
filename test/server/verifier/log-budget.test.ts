import { describe, expect, it, vi } from 'vitest';

import { collectLogs, LOGS_TIME, withinTime } from '../../../server/verifier/collect-logs.ts';
import { LogBudget } from '../../../server/verifier/log-budget.ts';
import { announce } from '../../support/evidence-builder.ts';

const MEBIBYTE = 1024 * 1024;
const ofSize = (mebibytes: number) => [{ size: mebibytes * MEBIBYTE }];
const refusal = expect.objectContaining({ code: 'LOG_BUDGET' });

describe('the budget of logs', () => {
  it('is one full set of logs for each holder at a time', () => {
    const budget = new LogBudget();
    const held = budget.hold('a', [...ofSize(4), ...ofSize(4), ...ofSize(64)]);
    expect(() => budget.hold('a', ofSize(9))).toThrow(refusal);
    budget.hold('b', ofSize(72));
    held[Symbol.dispose]();
    budget.hold('a', ofSize(72));
  });

  it('bounds all holders together, and what is given back is there again', () => {
    const budget = new LogBudget();
    const held = Array.from({ length: 8 }, (_, holder) => budget.hold(String(holder), ofSize(64)));
    expect(() => budget.hold('another', ofSize(1))).toThrow(refusal);
    held[3]?.[Symbol.dispose]();
    budget.hold('another', ofSize(64));
    expect(() => budget.hold('yet another', ofSize(1))).toThrow(refusal);
  });

  it('lets a round without logs go on when it is spent', () => {
    const budget = new LogBudget();
    for (let holder = 0; holder < 8; holder += 1) budget.hold(String(holder), ofSize(64));
    budget.hold('0', []);
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
      const outcome = collectLogs([announce({ kind: 'ima', data })], chunks.next).catch((error: unknown) => error);
      await vi.advanceTimersByTimeAsync(LOGS_TIME);
      expect(await outcome).toMatchObject({ code: 'LOG_TOO_SLOW' });
    } finally {
      vi.useRealTimers();
    }
  });
});
