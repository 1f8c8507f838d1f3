import { describe, expect, it } from 'vitest';

import { EnrollmentError } from '../../../server/enrollment/enrollment-error.ts';
import { EnrollmentLimits } from '../../../server/enrollment/enrollment-limits.ts';
import { RateLimit } from '../../../proto/rate-limit.ts';

/** How many calls go on before the first is refused, and after how long that may come again. */
function untilRefused(call: () => void): { readonly passed: number; readonly error: EnrollmentError } {
  for (let passed = 0; passed < 10_000; passed += 1) {
    try {
      call();
    } catch (error) {
      if (error instanceof EnrollmentError) return { passed, error };
      throw error;
    }
  }
  throw new Error('nothing was refused');
}

describe('a rate limit', () => {
  it('lets a burst go, then one for each interval, and says how long to wait', () => {
    const limit = new RateLimit({ rate: 2, burst: 3 });
    expect([1, 2, 3, 4].map(() => limit.take('a', 0))).toEqual([0, 0, 0, 500]);
    expect(limit.take('a', 250)).toBe(250);
    expect(limit.take('a', 500)).toBe(0);
    expect(limit.take('a', 60_000)).toBe(0);
  });

  it('never saves up more than the burst', () => {
    const limit = new RateLimit({ rate: 10, burst: 2 });
    limit.take('a', 0);
    expect([1, 2, 3].map(() => limit.take('a', 3_600_000))).toEqual([0, 0, 100]);
  });

  it('counts each key by itself', () => {
    const limit = new RateLimit({ rate: 1, burst: 1 });
    expect([limit.take('a', 0), limit.take('b', 0), limit.take('a', 0)]).toEqual([0, 0, 1000]);
  });

  it('remembers a bounded number of keys, the ones used last', () => {
    const limit = new RateLimit({ rate: 0.001, burst: 1 });
    for (let key = 0; key <= 10_000; key += 1) limit.take(String(key), 0);
    expect(limit.take('10000', 0)).toBeGreaterThan(0);
    expect(limit.take('0', 0)).toBe(0);
  });
});

describe('the limits of enrolment', () => {
  it('refuse one address that begins too often, and not another', () => {
    const limits = new EnrollmentLimits(() => 0);
    const { passed, error } = untilRefused(() => limits.checkBegin('192.0.2.1'));
    expect(passed).toBe(100);
    expect(error).toMatchObject({ code: 'ENROLLMENT_RATE', retryAfter: 100 });
    limits.checkBegin('192.0.2.2');
  });

  it('refuse a crowd of addresses together', () => {
    const limits = new EnrollmentLimits(() => 0);
    let address = 0;
    const { passed } = untilRefused(() => limits.checkBegin(String((address += 1))));
    expect(passed).toBe(500);
  });

  it('refuse a proven TPM that enrols in circles until a token has grown', () => {
    let now = 0;
    const limits = new EnrollmentLimits(() => now);
    const { passed, error } = untilRefused(() => limits.checkProven('ek'));
    expect(passed).toBe(20);
    expect(error.retryAfter).toBe(5000);
    now = 5000;
    limits.checkProven('ek');
  });
});
