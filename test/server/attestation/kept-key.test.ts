import { describe, expect, it } from 'vitest';

import { KeptKey } from '../../../server/attestation/kept-key.ts';
import { subjectPublicKeyInfo } from '../../../tpm/crypto/public-key.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';

describe('the kept key of a stream', () => {
  const ak = new SoftwareTpm().createAk();
  const record = { publicArea: ak.publicArea.raw.toString('hex'), qualifiedName: ak.qualifiedName.toString('hex') };

  it('is the AK, with its name in a buffer that nothing else is in', () => {
    const { signingKey, qualifiedName } = new KeptKey(record).key;
    expect(signingKey.key.export({ format: 'der', type: 'spki' })).toEqual(subjectPublicKeyInfo(ak.publicArea));
    expect(qualifiedName).toEqual(ak.qualifiedName);
    expect(qualifiedName.buffer.byteLength).toBe(qualifiedName.length);
  });

  it('is made once for rounds that follow soon, and anew after a rest', () => {
    const kept = new KeptKey(record);
    const { key } = kept;
    kept.rest(29_999);
    expect(kept.key).toBe(key);
    kept.rest(30_000);
    expect(kept.key).not.toBe(key);
    expect(kept.key.signingKey.key.equals(key.signingKey.key)).toBe(true);
  });
});
