import { describe, expect, test } from 'vitest';

import { benchmarks } from '../../bench/benchmarks.ts';
import { relation } from '../../bench/figure.ts';

/** Each benchmark in its smallest size: that it works, and nothing about how fast. */
describe('the smallest run of a benchmark', () => {
  test.for(benchmarks)('$name comes to an end with figures', async ({ run }) => {
    const lines: string[] = [];
    const figures = await run({ tiny: true, say: (line) => lines.push(line) });
    expect(figures.length).toBeGreaterThan(0);
    for (const figure of figures) {
      expect(figure.name).not.toBe('');
      expect(figure.value, figure.name).not.toBeNaN();
      expect(figure.goal === undefined || relation(figure) !== null, figure.name).toBe(true);
    }
  });
});

describe('a figure', () => {
  test.each([
    ['a ratio', { value: 3 }, 1.5],
    ['a difference', { value: 3, over: 'difference' as const }, 1],
  ])('stands to its floor as %s', (_, change, expected) => {
    expect(relation({ name: 'x', unit: 'us', floor: { name: 'floor', value: 2 }, ...change })).toBe(expected);
  });

  test('without a floor stands alone', () => {
    expect(relation({ name: 'x', value: 1, unit: 'us' })).toBeNull();
  });
});
