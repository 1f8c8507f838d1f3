import { describe, expect, it } from 'vitest';

import { revokedBy } from '../../../server/policy/revoked-by.ts';
import { makeSignatureList, sha256, SHA256_TYPE, X509_TYPE } from '../../tpm/eventlog/make-log.ts';

const X509_SHA256_TYPE = '3bd2a492-96c0-4079-b420-fcf98ef103ed';
const RSA_TYPE = '3c5766e8-269c-4e34-aa14-ed776e85b3b6';
const hexOf = (byte: number): string => Buffer.alloc(32, byte).toString('hex');

describe('a list of revoked signatures', () => {
  it('names images by digest, certificates by theirs or that of their signed part, and each once', () => {
    const certificate = Buffer.from('30820000', 'hex');
    const withTime = Buffer.concat([Buffer.alloc(32, 3), Buffer.alloc(16, 9)]);
    const dbx = Buffer.concat([
      makeSignatureList(SHA256_TYPE, [Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.alloc(32, 1)]),
      makeSignatureList(X509_TYPE, [certificate]),
      makeSignatureList(X509_SHA256_TYPE, [withTime]),
      makeSignatureList(RSA_TYPE, [Buffer.alloc(256, 4)]),
    ]);
    expect(revokedBy(dbx)).toEqual([hexOf(1), hexOf(2), sha256(certificate).toString('hex'), hexOf(3)]);
    expect(revokedBy(Buffer.alloc(0))).toEqual([]);
  });
});
