import { describe, expect, it } from 'vitest';

import { isNewerList } from '../../../server/store/revocation-rules.ts';

const list = (number: string, thisUpdate: number) => ({ number, thisUpdate });

describe('a revocation list', () => {
  it.each<[string, ReturnType<typeof list>, ReturnType<typeof list>, boolean]>([
    ['of a larger number', list('0b', 1), list('0a', 1), true],
    ['of a smaller number', list('0a', 1), list('0b', 1), false],
    ['of a longer number', list('0100', 1), list('ff', 1), true],
    ['of a shorter number', list('ff', 1), list('0100', 1), false],
    ['of a larger number that was issued before', list('0b', 1), list('0a', 2), true],
    ['of a smaller number that was issued later', list('0a', 2), list('0b', 1), false],
    ['of the same number, issued later', list('0a', 2), list('0a', 1), true],
    ['of the same number and time', list('0a', 1), list('0a', 1), false],
    ['without a number, issued later', list('', 2), list('0a', 1), true],
    ['after one without a number, issued before', list('0a', 1), list('', 2), false],
    ['without a number, of the same time as another one', list('', 1), list('', 1), false],
  ])('%s is newer, or is not', (_name, candidate, former, newer) => {
    expect(isNewerList(candidate, former)).toBe(newer);
  });
});
