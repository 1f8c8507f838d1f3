import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { kdfa, kdfe } from '../../../tpm/crypto/kdf.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { conformancePath } from '../../support/data.ts';

// google/go-tpm (Apache-2.0), validated there against the TCG reference code. Contexts and keys are hex.
interface Case {
  readonly Name: string;
  readonly HashAlg: number;
  readonly Label: string;
  readonly ContextU: string;
  readonly ContextV: string;
  readonly Bits: number;
  readonly Result: string;
}

function load<T extends Case>(file: string): readonly T[] {
  const path = conformancePath('google+go-tpm', 'tpm2', 'test', 'testvectors', file);
  return JSON.parse(readFileSync(path, 'utf8')) as readonly T[];
}

const context = ({ ContextU, ContextV }: Case) => ({
  contextU: Buffer.from(ContextU, 'hex'),
  contextV: Buffer.from(ContextV, 'hex'),
});

describe('kdfa', () => {
  const cases = load<Case & { readonly Key: string }>('kdfa.json');

  it('has a hundred vectors, some with bit lengths that are no multiple of 8', () => {
    expect(cases).toHaveLength(100);
    expect(cases.some(({ Bits }) => Bits % 8 !== 0)).toBe(true);
  });

  it.each(cases)('yields vector $Name', (vector) => {
    const key = Buffer.from(vector.Key, 'hex');
    const result = kdfa(vector.HashAlg, key, vector.Label, vector.Bits, context(vector));
    expect(result.toString('hex')).toBe(vector.Result);
  });

  it.each([-8, 0.5, 65536])('takes %s bits for a fault of the caller', (bits) => {
    expect(() => kdfa(TPM_ALG_SHA256, Buffer.alloc(32), 'STORAGE', bits)).toThrow(TypeError);
  });

  it('refuses an unknown hash', () => {
    expect(() => kdfa(0x0099, Buffer.alloc(32), 'STORAGE', 128)).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED_HASH' }),
    );
  });
});

describe('kdfe', () => {
  const cases = load<Case & { readonly Z: string }>('kdfe.json');

  it('has a hundred vectors', () => {
    expect(cases).toHaveLength(100);
  });

  it.each(cases)('yields vector $Name', (vector) => {
    const z = Buffer.from(vector.Z, 'hex');
    const result = kdfe(vector.HashAlg, z, vector.Label, vector.Bits, context(vector));
    expect(result.toString('hex')).toBe(vector.Result);
  });
});
