import { describe, expect, it } from 'vitest';

import { resultMatcher } from '../../../server/result/match-results.ts';
import type { ResultFilter } from '../../../server/store/filters.ts';
import { NO_FILTER } from '../store/fixtures.ts';

describe('a filter', () => {
  it.each<[Partial<ResultFilter>, boolean]>([
    [{}, true],
    [{ hostIds: ['h-a', 'h-b'] }, true],
    [{ hostIds: ['h-b'] }, false],
    [{ statuses: ['none', 'affirming'] }, true],
    [{ statuses: ['warning'] }, false],
    [{ matchLabels: { zone: 'eu' } }, true],
    [{ matchLabels: { zone: 'eu', rack: '1' } }, false],
    [{ matchLabels: { toString: '' } }, false],
    [{ hostIds: ['h-a'], statuses: ['none'] }, false],
    [{ policyIds: ['edge', 'base'] }, true],
    [{ policyIds: ['edge'] }, false],
    [{ scope: { zone: 'eu' } }, true],
    [{ scope: { zone: 'us' } }, false],
    [{ scope: { zone: 'us' }, matchLabels: { zone: 'eu' } }, false],
    [{ scope: { constructor: '' } }, false],
  ])('with %j: %j', (filter, expected) => {
    const host = { hostId: 'h-a', labels: { zone: 'eu' }, status: 'affirming', policyId: 'base' } as const;
    expect(resultMatcher({ ...NO_FILTER, ...filter })(host)).toBe(expected);
  });
});
