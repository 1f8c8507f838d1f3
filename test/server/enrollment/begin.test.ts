import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  TPM_ALG_AES,
  TPM_ALG_CBC,
  TPM_ALG_CFB,
  TPM_ALG_ECDAA,
  TPM_ALG_ECDSA,
  TPM_ALG_NULL,
  TPM_ALG_OAEP,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P384,
} from '../../../tpm/structures/constants.ts';
import { TPMA_OBJECT } from '../../../tpm/structures/object-attributes.ts';
import type { ObjectAttribute } from '../../../tpm/structures/object-attributes.ts';
import { makePublicArea } from '../../../tpm/structures/public-area.ts';
import type { EccPublic, PublicArea, RsaPublic, TPMT_PUBLIC } from '../../../tpm/structures/public-area.ts';
import type { BeginRequest } from '../../../server/enrollment/begin.ts';
import type { EnrollmentErrorCode } from '../../../server/enrollment/enrollment-error.ts';
import { ENROLLMENT_LIFETIME } from '../../../server/enrollment/begin.ts';
import { openState } from '../../../server/enrollment/token.ts';
import { beginRequest, makeTlsKey } from '../../support/evidence-builder.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { rocaModulus } from '../../support/test-ek-pki.ts';
import { beginEnrollment, dump, ekCertificate, openHouse } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { makeAk, makeEk } from '../../support/tpm-keys.ts';

const tpm = new SoftwareTpm({ eks: ['rsa2048', 'p384'] });
const ak = tpm.createAk();
const rsaAk = tpm.createAk('rsassa');
const tls = makeTlsKey();
let house: House;
beforeAll(async () => {
  house = await openHouse();
});
afterAll(() => house[Symbol.asyncDispose]());

const valid = (): BeginRequest =>
  beginRequest(tpm, ak, { tls, certificates: [ekCertificate(tpm, 0), ekCertificate(tpm, 1)] });

function areaOf<T extends TPMT_PUBLIC>(key: { readonly publicArea: PublicArea }, change: (area: T) => T): Buffer {
  return makePublicArea(change(key.publicArea as unknown as T)).raw;
}

const withAk = (akPublicArea: Buffer) => (): BeginRequest => ({ ...valid(), akPublicArea });
const eccAk = (change: (area: EccPublic) => EccPublic) => withAk(areaOf<EccPublic>(ak, change));
const rsaAkArea = (change: (area: RsaPublic) => RsaPublic) => withAk(areaOf<RsaPublic>(rsaAk, change));
/** The nearest odd multiple of three. */
const multipleOfThree = (modulus: Buffer): Buffer => {
  const value = BigInt(`0x${modulus.toString('hex')}`);
  return Buffer.from((value - (value % 6n) + 3n).toString(16), 'hex');
};
const attributes = (set: readonly ObjectAttribute[], clear: readonly ObjectAttribute[]) =>
  eccAk((area) => ({ ...area, objectAttributes: changed(area.objectAttributes, set, clear) }));

function changed(bits: number, set: readonly ObjectAttribute[], clear: readonly ObjectAttribute[]): number {
  const on = set.reduce((sum, name) => sum | TPMA_OBJECT[name], bits);
  return clear.reduce((sum, name) => sum & ~TPMA_OBJECT[name], on) >>> 0;
}

/** The request with another public area of the P-384 EK; certificates are left out, so that only the area is judged. */
const withEk = (change: (area: EccPublic) => EccPublic) => (): BeginRequest => ek(areaOf<EccPublic>(tpm.ek(1), change));
const withRsaEk = (change: (area: RsaPublic) => RsaPublic) => (): BeginRequest =>
  ek(areaOf<RsaPublic>(tpm.ek(0), change));
const ek = (publicArea: Buffer): BeginRequest => ({
  ...valid(),
  eks: [{ publicArea, certificate: Buffer.alloc(0), chain: [] }],
});
const ekAttributes = (set: readonly ObjectAttribute[], clear: readonly ObjectAttribute[]) =>
  withEk((area) => ({ ...area, objectAttributes: changed(area.objectAttributes, set, clear) }));

const second = valid().eks[1];
const others = Array.from({ length: 9 }, () => ({
  publicArea: makeEk({ curveID: TPM_ECC_NIST_P256 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 }).publicArea.raw,
  certificate: Buffer.alloc(0),
  chain: [],
}));
const certified = (certificate: Buffer) => (): BeginRequest =>
  second === undefined ? valid() : { ...valid(), eks: [{ ...second, certificate }] };

const REFUSALS: readonly (readonly [string, () => BeginRequest, EnrollmentErrorCode])[] = [
  ['no client certificate', () => ({ ...valid(), tlsKeySha256: null }), 'TLS_KEY_MISSING'],
  ['no EK', () => ({ ...valid(), eks: [] }), 'EK_MISSING'],
  ['nine EKs', () => ({ ...valid(), eks: others }), 'TOO_MANY_EKS'],
  ['an EK twice', () => ({ ...valid(), eks: second === undefined ? [] : [second, second] }), 'EK_DUPLICATE'],
  ['a parent that is none of the EKs', () => ({ ...valid(), parentIndex: 2 }), 'PARENT_INDEX_INVALID'],
  ['an EK of random bytes', () => ek(Buffer.alloc(90, 7)), 'EK_MALFORMED'],
  ['an EK that ends too early', () => ek(tpm.ek(1).publicArea.raw.subarray(0, -1)), 'EK_MALFORMED'],
  ['a byte after an EK', () => ek(Buffer.concat([tpm.ek(1).publicArea.raw, Buffer.from([0])])), 'EK_MALFORMED'],
  ['an EK that signs', ekAttributes(['sign'], []), 'EK_UNSUITABLE'],
  ['an EK that does not decrypt', ekAttributes([], ['decrypt']), 'EK_UNSUITABLE'],
  ['an EK that is not restricted', ekAttributes([], ['restricted']), 'EK_UNSUITABLE'],
  ['an EK that may leave its TPM', ekAttributes([], ['fixedTPM']), 'EK_UNSUITABLE'],
  ['an EK that came from outside', ekAttributes([], ['sensitiveDataOrigin']), 'EK_UNSUITABLE'],
  [
    'an EK named by SHA-1',
    withEk((area) => ({ ...area, nameAlg: TPM_ALG_SHA1, authPolicy: Buffer.alloc(20) })),
    'EK_UNSUITABLE',
  ],
  [
    'an EK without protection for its children',
    withEk((area) => ({ ...area, parameters: { ...area.parameters, symmetric: { algorithm: TPM_ALG_NULL } } })),
    'EK_UNSUITABLE',
  ],
  [
    'an EK that protects its children by AES in CBC mode',
    withEk((area) => ({
      ...area,
      parameters: { ...area.parameters, symmetric: { algorithm: TPM_ALG_AES, keyBits: 256, mode: TPM_ALG_CBC } },
    })),
    'EK_UNSUITABLE',
  ],
  [
    'an EK with a cipher of a key size that AES does not have',
    withEk((area) => ({
      ...area,
      parameters: { ...area.parameters, symmetric: { algorithm: TPM_ALG_AES, keyBits: 72, mode: TPM_ALG_CFB } },
    })),
    'EK_UNSUITABLE',
  ],
  [
    'an EK on an unknown curve',
    withEk((area) => ({ ...area, parameters: { ...area.parameters, curveID: 0x10 } })),
    'EK_MALFORMED',
  ],
  [
    'an EK whose point is not on its curve',
    withEk((area) => ({ ...area, unique: { ...area.unique, y: Buffer.alloc(48, 1) } })),
    'EK_MALFORMED',
  ],
  [
    'an RSA EK with the exponent 3',
    withRsaEk((area) => ({ ...area, parameters: { ...area.parameters, exponent: 3 } })),
    'EK_KEY_EXPONENT',
  ],
  [
    'an RSA EK of 1024 bits',
    () => ek(makeEk({ rsaBits: 1024 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 }).publicArea.raw),
    'EK_KEY_SIZE',
  ],
  ['an AK of random bytes', withAk(Buffer.alloc(90, 7)), 'AK_MALFORMED'],
  ['a byte after the AK', withAk(Buffer.concat([ak.publicArea.raw, Buffer.from([0])])), 'AK_MALFORMED'],
  ['an AK that is not restricted', attributes([], ['restricted']), 'AK_NOT_RESTRICTED'],
  ['an AK that does not sign', attributes([], ['sign']), 'AK_NOT_SIGNING'],
  ['an AK that decrypts', attributes(['decrypt'], []), 'AK_DECRYPTS'],
  ['an AK that may leave its TPM', attributes([], ['fixedTPM']), 'AK_NOT_FIXED_TPM'],
  ['an AK that may leave its parent', attributes([], ['fixedParent']), 'AK_NOT_FIXED_PARENT'],
  ['an AK that came from outside', attributes([], ['sensitiveDataOrigin']), 'AK_NOT_GENERATED_IN_TPM'],
  [
    'an AK with a NULL scheme',
    eccAk((area) => ({ ...area, parameters: { ...area.parameters, scheme: { scheme: TPM_ALG_NULL } } })),
    'AK_SCHEME_NULL',
  ],
  [
    'an AK that signs anonymously',
    eccAk((area) => ({
      ...area,
      parameters: { ...area.parameters, scheme: { scheme: TPM_ALG_ECDAA, hashAlg: TPM_ALG_SHA256, count: 1 } },
    })),
    'AK_SCHEME_UNSUPPORTED',
  ],
  [
    'an RSA AK with an encryption scheme',
    rsaAkArea((area) => ({
      ...area,
      parameters: { ...area.parameters, scheme: { scheme: TPM_ALG_OAEP, hashAlg: TPM_ALG_SHA256 } },
    })),
    'AK_SCHEME_UNSUPPORTED',
  ],
  [
    'an AK that signs with SHA-1',
    eccAk((area) => ({
      ...area,
      parameters: { ...area.parameters, scheme: { scheme: TPM_ALG_ECDSA, hashAlg: TPM_ALG_SHA1 } },
    })),
    'AK_HASH_WEAK',
  ],
  [
    'an RSA AK that signs with SHA-1',
    rsaAkArea((area) => ({
      ...area,
      parameters: { ...area.parameters, scheme: { scheme: TPM_ALG_RSASSA, hashAlg: TPM_ALG_SHA1 } },
    })),
    'AK_HASH_WEAK',
  ],
  ['an AK named by SHA-1', eccAk((area) => ({ ...area, nameAlg: TPM_ALG_SHA1 })), 'AK_HASH_WEAK'],
  [
    'an RSA AK of 1024 bits',
    withAk(makeAk({ rsaBits: 1024 }, { hashAlg: TPM_ALG_SHA256 }).publicArea.raw),
    'AK_KEY_WEAK',
  ],
  [
    'an RSA AK with the exponent 3',
    rsaAkArea((area) => ({ ...area, parameters: { ...area.parameters, exponent: 3 } })),
    'AK_KEY_WEAK',
  ],
  ['an RSA AK with the fingerprint of ROCA', rsaAkArea((area) => ({ ...area, unique: rocaModulus() })), 'AK_KEY_WEAK'],
  [
    'an RSA AK whose modulus has a small factor',
    rsaAkArea((area) => ({ ...area, unique: multipleOfThree(area.unique) })),
    'AK_KEY_WEAK',
  ],
  [
    'an AK on an unknown curve',
    eccAk((area) => ({ ...area, parameters: { ...area.parameters, curveID: 0x10 } })),
    'AK_KEY_WEAK',
  ],
  [
    'an AK whose point is not on its curve',
    eccAk((area) => ({ ...area, unique: { ...area.unique, x: Buffer.alloc(32, 1) } })),
    'AK_KEY_WEAK',
  ],
  ['the certificate of another key', certified(ekCertificate(tpm, 0)), 'EK_CERT_KEY_MISMATCH'],
  ['a certificate of random bytes', certified(Buffer.alloc(90, 7)), 'EK_CERT_MALFORMED'],
  [
    'an expired certificate',
    () => certified(ekCertificate(tpm, 1, { notAfter: new Date('2025-12-31T23:59:59Z') }))(),
    'EK_CERT_EXPIRED',
  ],
  [
    'a certificate that is not yet valid',
    () => certified(ekCertificate(tpm, 1, { notBefore: new Date('2026-06-01T00:00:00Z') }))(),
    'EK_CERT_NOT_YET_VALID',
  ],
];

describe('the begin of an enrolment', () => {
  it('gives each EK a credential, a token and a signed transcript, and stores nothing', async () => {
    const before = await dump(house.store);
    const { challenge, transcript } = await beginEnrollment(house, tpm, ak, { tls });
    expect(challenge.credentials).toHaveLength(2);
    expect(challenge.nonce).toHaveLength(32);
    expect(challenge.expireMillis).toBe(house.store.now() + ENROLLMENT_LIFETIME);
    expect(challenge.tlsKeySha256).toEqual(tls.sha256);
    const state = openState(challenge.token, house.keys.current.tokenMasters);
    expect(state.transcript).toEqual(transcript);
    expect(challenge.credentials.map((credential, index) => tpm.activate(ak, index, credential))).toEqual(
      state.secrets,
    );
    expect(await dump(house.store)).toEqual(before);
  });

  it('tells nothing of its secrets in the token', async () => {
    const { challenge } = await beginEnrollment(house, tpm, ak, { tls });
    const { secrets, nonce } = openState(challenge.token, house.keys.current.tokenMasters);
    for (const secret of [...secrets, nonce]) {
      expect(challenge.token.includes(secret)).toBe(false);
      expect(challenge.token.toString('latin1')).not.toContain(secret.toString('base64'));
    }
  });

  it('draws other secrets, nonces and ids each time', async () => {
    const [one, two] = await Promise.all([
      beginEnrollment(house, tpm, ak, { tls }),
      beginEnrollment(house, tpm, ak, { tls }),
    ]);
    expect(one.challenge.nonce).not.toEqual(two.challenge.nonce);
    expect(one.challenge.enrollmentId).not.toEqual(two.challenge.enrollmentId);
    expect(one.challenge.credentials).not.toEqual(two.challenge.credentials);
  });

  it('takes AKs of every strong kind', async () => {
    for (const key of [rsaAk, tpm.adopt(makeAk({ curveID: TPM_ECC_NIST_P384 }, { hashAlg: TPM_ALG_SHA256 }), 1)]) {
      await beginEnrollment(house, tpm, key, { tls });
    }
  });

  it.each(REFUSALS)('with %s is refused', async (_name, request, code) => {
    await expect(house.beginner.begin(request())).rejects.toMatchObject({ name: 'EnrollmentError', code });
  });

  it('is refused by any one EK that is not as it must be', async () => {
    const request = valid();
    const [bad] = ek(tpm.ek(1).publicArea.raw.subarray(0, -1)).eks;
    if (bad === undefined) throw new TypeError('no ek');
    await expect(house.beginner.begin({ ...request, eks: [...request.eks.slice(0, 1), bad] })).rejects.toMatchObject({
      code: 'EK_MALFORMED',
    });
  });

  it('is refused where too many hosts enrol at once, and served again afterwards', async () => {
    const small = new SoftwareTpm();
    const request = beginRequest(small, small.createAk(), { tls, certificates: [ekCertificate(small)] });
    const crowd = Array.from({ length: 270 }, () => house.beginner.begin(request));
    const outcomes = await Promise.allSettled(crowd);
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(270 - 258);
    for (const outcome of refused) expect(outcome).toMatchObject({ reason: { code: 'ENROLLMENT_BUSY' } });
    await house.beginner.begin(valid());
  });
});
