import { describe, expect, it } from 'vitest';

import { SharedParts } from '../../../server/policy/shared-parts.ts';
import { failed, passed } from '../../../server/verifier/finding.ts';
import type { ProvenPcrValues } from '../../../tpm/crypto/pcr.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';

/** Values as a message brings them: slices of one buffer. */
function pcrs(bank: number, size: number, { fill = 1, first = 0 } = {}): ProvenPcrValues {
  const message = Buffer.alloc(1_000, fill);
  const values = [0, 1, 2].map((at) => [first + at, message.subarray(at * size, (at + 1) * size)] as const);
  return new Map([[bank, new Map(values)]]) as unknown as ProvenPcrValues;
}

const check = (observed: string) =>
  failed('pcr', { reason: 'PCR_MISMATCH', observed, expected: 'b', message: 'differs' });

describe('shared parts', () => {
  it('gives equal checks of many verdicts as one, and others as they are', () => {
    const parts = new SharedParts();
    const [one, two] = [
      [check('a'), passed('quote', 'signed')],
      [check('a'), check('c')],
    ];
    const [first, second] = [parts.checks(one), parts.checks(two)];
    expect(first).toEqual(one);
    expect(second).toEqual(two);
    expect(second[0]).toBe(first[0]);
  });

  it('holds no check for many that speaks at length of one host', () => {
    const parts = new SharedParts();
    const long = 'x'.repeat(2_000);
    expect(parts.checks([check(long)])[0]).not.toBe(parts.checks([check(long)])[0]);
  });

  it('keeps no room for clocks, of which each round brings another', () => {
    const parts = new SharedParts();
    const [kept] = parts.checks([check('kept')]);
    for (let at = 0; at < 6_000; at += 1) parts.checks([passed('clock', 'went forward', `${at}`)]);
    expect(parts.checks([check('kept')])[0]).toBe(kept);
  });

  it('gives equal data of hosts as one, and others as they are', () => {
    const parts = new SharedParts();
    const banks = (...indexes: number[]) => [{ algorithm: TPM_ALG_SHA256, pcrs: indexes }];
    const first = parts.data(banks(0, 7));
    expect(first).toEqual(banks(0, 7));
    expect(parts.data(banks(0, 7))).toBe(first);
    expect(parts.data(banks(0))).toEqual(banks(0));
    const long = { text: 'x'.repeat(2_000) };
    expect(parts.data({ ...long })).not.toBe(parts.data({ ...long }));
    const active = parts.algorithms(new Set([TPM_ALG_SHA1, TPM_ALG_SHA256]));
    expect(parts.algorithms(new Set([TPM_ALG_SHA1, TPM_ALG_SHA256]))).toBe(active);
    expect(parts.algorithms(new Set([TPM_ALG_SHA256]))).toEqual(new Set([TPM_ALG_SHA256]));
  });

  it('gives equal pcr values as one, in a buffer that nothing else is in', () => {
    const parts = new SharedParts();
    const given = pcrs(TPM_ALG_SHA256, 32);
    const held = parts.pcrs(given);
    expect(held).toEqual(given);
    expect(held.get(TPM_ALG_SHA256)?.get(0)?.buffer.byteLength).toBe(96);
    expect(parts.pcrs(pcrs(TPM_ALG_SHA256, 32))).toBe(held);
  });

  it.each([
    ['value', pcrs(TPM_ALG_SHA256, 32, { fill: 2 })],
    ['index', pcrs(TPM_ALG_SHA256, 32, { first: 1 })],
    ['bank', pcrs(TPM_ALG_SHA1, 20)],
    ['count', new Map([[TPM_ALG_SHA256, new Map([[0, Buffer.alloc(32, 1)]])]]) as unknown as ProvenPcrValues],
  ])('gives values of another %s as what they are', (_what, other) => {
    const parts = new SharedParts();
    parts.pcrs(pcrs(TPM_ALG_SHA256, 32));
    expect(parts.pcrs(other)).toEqual(other);
  });

  it('lets go of what was not asked for longest', () => {
    const parts = new SharedParts();
    const [kept] = parts.checks([check('kept')]);
    const [gone] = parts.checks([check('gone')]);
    for (let at = 0; at < 3_000; at += 1) parts.checks([check(`${at}`)]);
    parts.checks([check('kept')]);
    for (let at = 3_000; at < 6_000; at += 1) parts.checks([check(`${at}`)]);
    expect(parts.checks([check('kept')])[0]).toBe(kept);
    expect(parts.checks([check('gone')])[0]).not.toBe(gone);
  });
});
