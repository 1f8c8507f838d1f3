import { describe, expect, it } from 'vitest';

import { readEar } from '../../../client/sdk/ear-claims.ts';
import type { EarClaims } from '../../../client/sdk/ear-claims.ts';
import type { JsonObject } from '../../../client/sdk/resources.ts';
import { appraisal, earClaims, TOKEN_TIME } from '../../support/tokens.ts';
import type { Json } from '../../support/tokens.ts';

const read = (change: Json, others: Json = {}): EarClaims =>
  readEar(earClaims({ submods: { 'tpm20-host': appraisal(change), ...others } }) as JsonObject);

describe('the claims of a host', () => {
  it.each([
    ['text', { 'new-claim': 'fine' }],
    ['a list', { 'new-claim': [1] }],
    ['beyond 8 bits', { 'new-claim': 300 }],
  ])('may have a vector claim of a later release that is %s, which says nothing', (_name, change) => {
    const vector = { 'instance-identity': 2, executables: 3 };
    const claims = read({ ear_trustworthiness_vector: { ...vector, ...change } });
    expect(claims).toMatchObject({ status: 'affirming', vector });
    expect(claims).not.toHaveProperty('vector.new-claim');
  });

  it.each([
    ['without a vector', { ear_status: 'affirming' }],
    ['that is a token of its own', 'eyJ.eyJ.sig'],
    ['that is no appraisal', { measurements: [1] }],
  ])('may have another submodule %s', (_name, other) => {
    expect(read({}, { other })).toMatchObject({ status: 'affirming' });
  });

  it('may be in a token that lives as long as its verdict', () => {
    const until = TOKEN_TIME.getTime() / 1000 + 240;
    const claims = { assay_appraisal_input_digest: '33'.repeat(32), assay_valid_until: until };
    expect(read({ ear_verifier_claims: claims })).toMatchObject({ status: 'affirming' });
  });
});
