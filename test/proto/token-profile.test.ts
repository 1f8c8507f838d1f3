import { describe, expect, it } from 'vitest';

import { isBetterThanClaims, isTrustTier, tierOfClaim } from '../../proto/token-profile.ts';

describe('tiers', () => {
  it('are those of AR4SI, for every code point', () => {
    const edges = [-128, -97, -96, -33, -32, -2, -1, 0, 1, 2, 31, 32, 95, 96, 127].map(tierOfClaim);
    expect(edges).toEqual([
      ...['contraindicated', 'contraindicated', 'warning', 'warning', 'affirming', 'affirming'],
      ...['none', 'none', 'none', 'affirming', 'affirming', 'warning', 'warning', 'contraindicated', 'contraindicated'],
    ]);
  });

  it.each([-129, 128, 1.5, Number.NaN])('have no %s', (value) => {
    expect(() => tierOfClaim(value)).toThrow(RangeError);
  });

  it('have no other names', () => {
    expect(['none', 'affirming', 'warning', 'contraindicated'].every(isTrustTier)).toBe(true);
    expect(['', 'Affirming', 'toString', null, 2].some(isTrustTier)).toBe(false);
  });
});

describe('a status is better than its claims', () => {
  it.each([
    ['affirming', [2, 3, 0], false],
    ['affirming', [2, 32], true],
    ['affirming', [2, -97], true],
    ['affirming', [0, 1, -1], true],
    ['affirming', [], true],
    ['warning', [2, 33], false],
    ['warning', [96], true],
    ['none', [96], false],
    ['none', [2], false],
    ['contraindicated', [2], false],
  ] as const)('%s of %j: %s', (status, claims, better) => {
    expect(isBetterThanClaims(status, claims)).toBe(better);
  });
});
