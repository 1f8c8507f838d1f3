import { describe, expect, test } from 'vitest';

import { ConnectionRate } from '../../proto/connection-rate.ts';

const KIBIBYTE = 1024;

/** How many connections in a row are taken now. */
function taken(rate: ConnectionRate, address = 'a'): number {
  let count = 0;
  while (count < 10_000 && rate.admit(address)) count += 1;
  return count;
}

describe('the rate of new connections', () => {
  test('is a twentieth of what an address may have open, each second, and half of that at once', () => {
    let now = 0;
    const rate = new ConnectionRate(1000, () => now);
    expect(taken(rate)).toBe(25);
    now = 100;
    expect(taken(rate)).toBe(5);
    expect(taken(rate, 'b')).toBe(25);
    expect(taken(new ConnectionRate(20_000, () => 0))).toBe(500);
  });

  test('is ten at once where an address may have few open', () => {
    expect(taken(new ConnectionRate(1, () => 0))).toBe(10);
  });

  test('counts a handshake that failed ten times, and a probe for the port as any', () => {
    const rate = new ConnectionRate(1000, () => 0);
    rate.admit('a');
    expect(rate.failed('a', 0)).toBe(false);
    rate.admit('a');
    expect(rate.failed('a', 500)).toBe(false);
    expect(taken(rate)).toBe(13);
  });

  test('takes nothing for a minute after a handshake that brought more than others do', () => {
    let now = 0;
    const rate = new ConnectionRate(1000, () => now);
    for (let count = 0; count < 3; count += 1) expect(rate.failed('a', 4 * KIBIBYTE + 1)).toBe(true);
    now = 59_000;
    expect(taken(rate)).toBe(0);
    expect(taken(rate, 'b')).toBe(25);
    now = 61_000;
    expect(taken(rate)).toBeGreaterThan(0);
  });

  test('is not stopped by a clock that is set back', () => {
    let now = 3_600_000;
    const rate = new ConnectionRate(1000, () => now);
    taken(rate);
    now = 0;
    expect(taken(rate)).toBe(0);
    now = 1_000;
    expect(taken(rate)).toBe(25);
  });
});
