import 'reflect-metadata';
import { generateKeyPairSync, randomBytes, webcrypto, X509Certificate as NodeCertificate } from 'node:crypto';

import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Extension, JsonGeneralNames } from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';

import {
  authorityFingerprint,
  CertificateError,
  checkAuthorityFingerprint,
  EXTENDED_KEY_USAGE,
  formatDeploymentId,
  formatHostId,
  formatIdentity,
  parseFingerprint,
  parseIdentity,
  verifyLeaf,
} from '../../proto/certificate-profile.ts';
import type { CertificateErrorCode, CertificateProfile, Identity } from '../../proto/certificate-profile.ts';
import {
  createAuthority,
  issueAkCertificate,
  issueClientCertificate,
  issueServerCertificate,
  issueServiceIdentityCertificate,
} from '../../server/identity/ca.ts';
import type { CertificateAuthority } from '../../server/identity/ca.ts';

const now = new Date('2027-01-02T03:04:05Z');
const deployment = 'd-abcdefghijklmnop';
const host = `h-${'b'.repeat(26)}`;
const publicKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' });
const request = { now, random: randomBytes, lifetimeSeconds: 3600, publicKey };

function codeOf(act: () => unknown): CertificateErrorCode | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof CertificateError) return error.code;
    throw error;
  }
  return undefined;
}

let authority: CertificateAuthority;
let other: CertificateAuthority;
let leaves: Record<CertificateProfile, Buffer>;

/** A certificate that the authority's key signs, outside what the authority itself would issue. */
async function forge(
  usages: readonly string[],
  names: JsonGeneralNames,
  extra: readonly Extension[] = [],
): Promise<Buffer> {
  const subjectKey = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const certificate = await X509CertificateGenerator.create({
    subject: 'CN=forged',
    issuer: new X509Certificate(authority.certificate).subjectName,
    serialNumber: '41',
    notBefore: new Date(now.getTime() - 60_000),
    notAfter: new Date(now.getTime() + 60_000),
    publicKey: subjectKey.publicKey,
    signingKey: authority.signingKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      ...(usages.length > 0 ? [new ExtendedKeyUsageExtension([...usages])] : []),
      ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
      ...extra,
    ],
  });
  return Buffer.from(certificate.rawData);
}

beforeAll(async () => {
  authority = await createAuthority(request, { deployment });
  other = await createAuthority(request, { deployment });
  leaves = {
    server: await issueServerCertificate(authority, { ...request, names: ['assay.example', '127.0.0.1'] }),
    client: await issueClientCertificate(authority, { ...request, subject: { host } }),
    ak: await issueAkCertificate(authority, { ...request, host }),
    'service-identity': await issueServiceIdentityCertificate(authority, request),
  };
});

describe('identities', () => {
  it.each<[string, Identity]>([
    [`assay://${deployment}/hosts/${host}`, { kind: 'host', deployment, host }],
    [`assay://${deployment}/identities/alice`, { kind: 'identity', deployment, name: 'alice' }],
    [`assay://${deployment}/identities/ci-runner_1.eu`, { kind: 'identity', deployment, name: 'ci-runner_1.eu' }],
    [`assay://${deployment}/service`, { kind: 'service', deployment }],
    [`assay://${deployment}/server`, { kind: 'server', deployment }],
  ])('read and print %s', (uri, identity) => {
    expect(parseIdentity(uri)).toEqual(identity);
    expect(formatIdentity(identity)).toBe(uri);
  });

  it.each([
    '',
    'assay://',
    `https://${deployment}/service`,
    `ASSAY://${deployment}/service`,
    `assay://${deployment}`,
    `assay://${deployment}/`,
    `assay://${deployment}/service/`,
    `assay://${deployment}/service?x`,
    `assay://${deployment}/hosts`,
    `assay://${deployment}/hosts/${host}/`,
    `assay://${deployment}/hosts/${host}\n`,
    `assay://${deployment}/hosts/${host.toUpperCase()}`,
    `assay://${deployment}/hosts/../identities/alice`,
    `assay://${deployment}/identities/`,
    `assay://${deployment}/identities/-alice`,
    `assay://${deployment}/identities/${'a'.repeat(65)}`,
    `assay://d-short/service`,
    `assay://${deployment}@evil/service`,
    `assay://${deployment}/${'x'.repeat(4096)}`,
  ])('refuse %j', (uri) => {
    expect(codeOf(() => parseIdentity(uri))).toBe('wrong_san');
  });

  it('cannot be printed with parts that would not be read back', () => {
    expect(codeOf(() => formatIdentity({ kind: 'identity', deployment, name: 'a/b' }))).toBe('wrong_san');
  });

  it('are encoded as RFC 4648 says, lower-case and without padding', () => {
    expect(formatDeploymentId(Buffer.from('foobarfoob'))).toBe('d-mzxw6ytbojtg633c');
    expect(formatHostId(Buffer.alloc(32, 0xff))).toBe(`h-${'7'.repeat(26)}`);
    expect(formatHostId(Buffer.concat([Buffer.from('foobarfoobar'), Buffer.alloc(20)]))).toBe(
      'h-mzxw6ytbojtg633cmfzaaaaaaa',
    );
  });
});

describe('a leaf', () => {
  it('of each profile verifies as that profile and as no other', () => {
    const profiles = Object.keys(EXTENDED_KEY_USAGE) as CertificateProfile[];
    for (const issued of profiles) {
      for (const profile of profiles) {
        const verify = () => verifyLeaf(leaves[issued], { authority: authority.certificate, profile, now });
        expect(codeOf(verify)).toBe(issued === profile ? undefined : 'wrong_eku');
      }
    }
  });

  it('yields identity, key, end and serial', () => {
    const leaf = verifyLeaf(leaves.client, { authority: authority.certificate, profile: 'client', now, deployment });
    expect(leaf.identity).toEqual({ kind: 'host', deployment, host });
    expect(leaf.publicKey.export({ type: 'spki', format: 'der' })).toEqual(publicKey);
    expect(leaf.notAfter).toEqual(new Date('2027-01-02T04:04:05Z'));
    expect(leaf.serial).toBe(new NodeCertificate(leaves.client).serialNumber.toLowerCase());
    expect(leaf.spkiSha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it('verifies under any authority of an overlapping rotation', () => {
    const both = [other.certificate, authority.certificate];
    expect(verifyLeaf(leaves.ak, { authority: both, profile: 'ak', now }).identity.kind).toBe('host');
  });

  it('is refused with any one bit turned', () => {
    for (let bit = 0; bit < leaves.client.length * 8; bit += 3) {
      const turned = Buffer.from(leaves.client);
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(
        codeOf(() => verifyLeaf(turned, { authority: authority.certificate, profile: 'client', now })),
      ).toBeDefined();
    }
  });

  const client = (der: Uint8Array, change: object = {}) =>
    verifyLeaf(der, { authority: authority.certificate, profile: 'client', now, ...change });
  const uri = (value: string) => ({ type: 'url' as const, value: `assay://${deployment}/${value}` });
  const usage = EXTENDED_KEY_USAGE.client;
  it.each<[string, () => unknown, CertificateErrorCode]>([
    ['trailing bytes', () => client(Buffer.concat([leaves.client, Buffer.from([0])])), 'malformed'],
    ['a PEM text', () => client(Buffer.from(new NodeCertificate(leaves.client).toString())), 'malformed'],
    ['no bytes', () => client(Buffer.alloc(0)), 'malformed'],
    ['random bytes', () => client(randomBytes(500)), 'malformed'],
    ['too many bytes', () => client(Buffer.alloc(10_000, 0x30)), 'malformed'],
    [
      'an authority of the same name with another key',
      () => client(leaves.client, { authority: other.certificate }),
      'unknown_authority',
    ],
    ['no authority at all', () => client(leaves.client, { authority: [] }), 'unknown_authority'],
    [
      'a clock before its validity',
      () => client(leaves.client, { now: new Date('2027-01-02T02:59:04Z') }),
      'not_yet_valid',
    ],
    ['a clock after its validity', () => client(leaves.client, { now: new Date('2027-01-02T04:04:06Z') }), 'expired'],
    ['another deployment', () => client(leaves.client, { deployment: 'd-ponmlkjihgfedcba' }), 'wrong_deployment'],
    ['the certificate of the authority itself', () => client(authority.certificate), 'not_a_leaf'],
  ])('is refused for %s', (_name, act, code) => {
    expect(codeOf(act)).toBe(code);
  });

  it.each<[string, readonly string[], JsonGeneralNames, readonly Extension[], CertificateErrorCode | undefined]>([
    ['nothing wrong', [usage], [uri('identities/alice')], [], undefined],
    ['no usage', [], [uri('identities/alice')], [], 'wrong_eku'],
    ['a second usage', [usage, EXTENDED_KEY_USAGE.server], [uri('identities/alice')], [], 'wrong_eku'],
    ['the usage twice', [usage, usage], [uri('identities/alice')], [], 'wrong_eku'],
    ['the usage anyExtendedKeyUsage', ['2.5.29.37.0'], [uri('identities/alice')], [], 'wrong_eku'],
    ['no name', [usage], [], [], 'wrong_san'],
    ['two identities', [usage], [uri('identities/alice'), uri('identities/bob')], [], 'wrong_san'],
    [
      'a DNS name beside its identity',
      [usage],
      [uri('identities/alice'), { type: 'dns', value: 'a.example' }],
      [],
      'wrong_san',
    ],
    [
      'a DNS name that pretends to be a URI',
      [usage],
      [{ type: 'dns', value: `x, URI:assay://${deployment}/identities/alice` }],
      [],
      'wrong_san',
    ],
    ['a URI of the service', [usage], [uri('service')], [], 'wrong_san'],
    ['a URI outside the grammar', [usage], [uri('identities/Alice')], [], 'wrong_san'],
    ['the CA flag', [usage], [uri('identities/alice')], [new BasicConstraintsExtension(true)], 'not_a_leaf'],
  ])('that the authority signed with %s is judged by the profile', async (_name, usages, names, extra, code) => {
    const der = await forge(usages, names, extra);
    expect(codeOf(() => client(der))).toBe(code);
  });
});

describe('the pin of an authority', () => {
  it('is the SHA-256 of its public key and prints and reads back', () => {
    const pin = authorityFingerprint(authority.certificate);
    expect(pin).toBe(authority.fingerprint);
    expect(pin).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(parseFingerprint(pin.toUpperCase().replace('SHA256', 'sha256')).toString('hex')).toBe(pin.slice(7));
    expect(codeOf(() => checkAuthorityFingerprint(authority.certificate, pin))).toBeUndefined();
  });

  it('does not hold for another authority', () => {
    expect(codeOf(() => checkAuthorityFingerprint(other.certificate, authority.fingerprint))).toBe('unknown_authority');
  });

  it.each([
    '',
    'sha256:',
    `sha1:${'0'.repeat(40)}`,
    `sha256:${'0'.repeat(63)}`,
    `sha256:${'0'.repeat(65)}`,
    '0'.repeat(64),
  ])('does not parse from %j', (text) => {
    expect(codeOf(() => parseFingerprint(text))).toBe('bad_fingerprint');
  });
});
