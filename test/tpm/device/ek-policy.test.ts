import { describe, expect, it } from 'vitest';

import { ekPolicyA, ekPolicyB, ekPolicyC } from '../../../tpm/device/ek-policy.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512 } from '../../../tpm/structures/constants.ts';

/** The values that the TCG EK Credential Profile v2.6 §B.6 prints. */
const PUBLISHED = [
  {
    hash: TPM_ALG_SHA256,
    policyA: '837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa',
    policyB: 'ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0',
  },
  {
    hash: TPM_ALG_SHA384,
    policyA: '8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e143e8bb1133824ccb431053871c6db53',
    policyB: 'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12',
  },
  {
    hash: TPM_ALG_SHA512,
    policyA:
      '1e3b76502c8a1425aa0b7b3fc646a1b0fae063b03b5368f9c4cddecaff0891dd682bac1a85d4d832b781ea451915de5f' +
      'c5bf0dc4a1917cd42fa041e3f998e0ee',
    policyB:
      'b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a429c41a6b269571d57edb25fbdb183842' +
      '5608b413cd616a5f6db5b6071af99bea',
  },
];

describe('the policies of endorsement keys', () => {
  it.each(PUBLISHED)('are the published ones for hash $hash', ({ hash, policyA, policyB }) => {
    expect(ekPolicyA(hash).toString('hex')).toBe(policyA);
    expect(ekPolicyB(hash)?.toString('hex')).toBe(policyB);
  });

  it('have no PolicyC and so no PolicyB for other hashes', () => {
    expect(ekPolicyC(TPM_ALG_SHA1)).toBeUndefined();
    expect(ekPolicyB(TPM_ALG_SHA1)).toBeUndefined();
  });
});
