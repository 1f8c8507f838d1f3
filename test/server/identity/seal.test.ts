import { randomBytes } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import {
  deriveKey,
  MAX_SEALED_PLAINTEXT,
  open,
  openWithMasters,
  seal,
  sealedVersion,
  SealError,
} from '../../../server/identity/seal.ts';
import type { SealErrorCode } from '../../../server/identity/seal.ts';

const master = { version: 7, secret: Buffer.alloc(32, 0x11) };
const use = { purpose: 'enrollment token', context: 'e-1' };
const key = deriveKey(master, use);
const associatedData = Buffer.from('transcript');
const plaintext = Buffer.from('the state of an enrolment');
const token = seal(key, { plaintext, associatedData, random: randomBytes });

function codeOf(act: () => unknown): SealErrorCode | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof SealError) return error.code;
    throw error;
  }
  return undefined;
}

describe('sealing', () => {
  it('opens what it sealed, and an empty plaintext too', () => {
    expect(open(key, token, { associatedData })).toEqual(plaintext);
    const empty = seal(key, { plaintext: Buffer.alloc(0), associatedData, random: randomBytes });
    expect(open(key, empty, { associatedData })).toHaveLength(0);
  });

  it('lays the token out as documented', () => {
    const fixed = seal(key, { plaintext, associatedData, random: (size) => Buffer.alloc(size, 0x22) });
    expect(fixed.subarray(0, 17).toString('hex')).toBe(`0100000007${'22'.repeat(12)}`);
    expect(fixed).toHaveLength(5 + 12 + plaintext.length + 16);
  });

  it('derives another key for every purpose, context and master', () => {
    const keys = [
      deriveKey(master, use),
      deriveKey(master, { ...use, purpose: 'private key' }),
      deriveKey(master, { ...use, context: 'e-2' }),
      deriveKey(master, { purpose: 'enrollment tokene-1', context: '' }),
      deriveKey({ version: 7, secret: Buffer.alloc(32, 0x12) }, use),
    ];
    expect(new Set(keys.map((each) => each.key.toString('hex'))).size).toBe(keys.length);
  });

  it('never opens a token with any one bit turned', () => {
    for (let bit = 0; bit < token.length * 8; bit += 1) {
      const turned = Buffer.from(token);
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(codeOf(() => open(key, turned, { associatedData }))).toBeDefined();
    }
  });

  it.each<[string, () => unknown, SealErrorCode]>([
    [
      'a token of other associated data',
      () => open(key, token, { associatedData: Buffer.from('other') }),
      'not_authentic',
    ],
    [
      'a token under another context',
      () => open(deriveKey(master, { ...use, context: 'e-2' }), token, { associatedData }),
      'not_authentic',
    ],
    [
      'a token under a key relabelled to another purpose',
      () => open({ ...key, purpose: 'x' }, token, { associatedData }),
      'not_authentic',
    ],
    ['a token of another version', () => open({ ...key, version: 8 }, token, { associatedData }), 'unknown_version'],
    [
      'a token of a version that no master has',
      () => openWithMasters([{ ...master, version: 1 }], token, { ...use, associatedData }),
      'unknown_version',
    ],
    ['a token that is cut short', () => open(key, token.subarray(0, 32), { associatedData }), 'malformed'],
    [
      'a token of another format',
      () => open(key, Buffer.concat([Buffer.from([2]), token.subarray(1)]), { associatedData }),
      'malformed',
    ],
    [
      'a token that is too large',
      () => open(key, Buffer.alloc(MAX_SEALED_PLAINTEXT + 34, 1), { associatedData }),
      'too_large',
    ],
    [
      'a plaintext that is too large',
      () => seal(key, { plaintext: Buffer.alloc(MAX_SEALED_PLAINTEXT + 1), associatedData, random: randomBytes }),
      'too_large',
    ],
  ])('refuses %s', (_name, act, code) => {
    expect(codeOf(act)).toBe(code);
  });

  it('finds the master by the version of the token while a rotation overlaps', () => {
    const newer = { version: 8, secret: Buffer.alloc(32, 0x99) };
    expect(sealedVersion(token)).toBe(7);
    expect(openWithMasters([newer, master], token, { ...use, associatedData })).toEqual(plaintext);
  });

  it('takes a master of 32 bytes and a positive version only', () => {
    expect(() => deriveKey({ version: 1, secret: Buffer.alloc(16) }, use)).toThrow(TypeError);
    expect(() => deriveKey({ version: 0, secret: Buffer.alloc(32) }, use)).toThrow(TypeError);
  });
});
