import { createPublicKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';

import { beforeAll, describe, expect, it } from 'vitest';

import { EXTENDED_KEY_USAGE, verifyLeaf } from '../../../proto/certificate-profile.ts';
import {
  CaError,
  createAuthority,
  exportAuthority,
  importAuthority,
  issueAkCertificate,
  issueClientCertificate,
  issueServerCertificate,
  issueServiceIdentityCertificate,
} from '../../../server/identity/ca.ts';
import type { CaErrorCode, CertificateAuthority } from '../../../server/identity/ca.ts';

const now = new Date('2027-01-02T03:04:05Z');
const host = `h-${'a'.repeat(26)}`;
const day = 86_400;
const context = { now, random: randomBytes, lifetimeSeconds: day };

function spki(type: 'ec' | 'rsa', size: string | number = type === 'ec' ? 'P-256' : 2048): Buffer {
  const { publicKey } =
    type === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: String(size) })
      : generateKeyPairSync('rsa', { modulusLength: Number(size) });
  return publicKey.export({ type: 'spki', format: 'der' });
}

async function codeOf(act: Promise<unknown>): Promise<CaErrorCode | undefined> {
  return act.then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof CaError) return error.code;
      throw error;
    },
  );
}

let authority: CertificateAuthority;
const key = spki('ec');
beforeAll(async () => {
  authority = await createAuthority({ now, random: randomBytes });
});

describe('the authority', () => {
  it('is a self-signed CA for leaves only, backdated by five minutes, for ten years', () => {
    const certificate = new X509Certificate(authority.certificate);
    expect(certificate.ca).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.validFromDate).toEqual(new Date('2027-01-02T02:59:05Z'));
    expect(certificate.validToDate).toEqual(new Date('2037-01-02T03:04:05Z'));
    expect(authority.deployment).toMatch(/^d-[a-z2-7]{16}$/);
    expect(certificate.subject).toContain(authority.deployment);
    // basicConstraints critical, CA, pathLen 0; keyUsage critical, keyCertSign and cRLSign (RFC 5280 §4.2.1.9, §4.2.1.3).
    expect(certificate.raw.includes(Buffer.from('0603551d130101ff040830060101ff020100', 'hex'))).toBe(true);
    expect(certificate.raw.includes(Buffer.from('0603551d0f0101ff040403020106', 'hex'))).toBe(true);
  });

  it('lives on through export and import', async () => {
    const again = await importAuthority(await exportAuthority(authority));
    expect(again.fingerprint).toBe(authority.fingerprint);
    const der = await issueClientCertificate(again, { ...context, publicKey: key, subject: { host } });
    expect(verifyLeaf(der, { authority: authority.certificate, profile: 'client', now }).identity).toEqual({
      kind: 'host',
      host,
      deployment: authority.deployment,
    });
  });

  it('does not load with the key of another authority', async () => {
    const other = await exportAuthority(await createAuthority({ now, random: randomBytes }));
    const stored = await exportAuthority(authority);
    expect(await codeOf(importAuthority({ ...stored, privateKey: other.privateKey }))).toBe('bad_authority');
    expect(await codeOf(importAuthority({ ...stored, privateKey: Buffer.from('junk') }))).toBe('bad_authority');
    expect(await codeOf(importAuthority({ ...stored, deployment: 'd-other' }))).toBe('bad_authority');
  });

  it('keeps its deployment when its key is rotated', async () => {
    const next = await createAuthority({ now, random: randomBytes }, { deployment: authority.deployment });
    expect(next.deployment).toBe(authority.deployment);
    expect(next.fingerprint).not.toBe(authority.fingerprint);
  });
});

describe('issued certificates', () => {
  it('are leaves with one usage, one identity and a random positive serial of 16 bytes', async () => {
    const der = await issueServiceIdentityCertificate(authority, { ...context, publicKey: key });
    const leaf = new X509Certificate(der);
    expect(leaf.keyUsage).toEqual([EXTENDED_KEY_USAGE['service-identity']]);
    expect(leaf.subjectAltName).toBe(`URI:assay://${authority.deployment}/service`);
    expect(leaf.ca).toBe(false);
    expect(leaf.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
    expect(leaf.validToDate).toEqual(new Date('2027-01-03T03:04:05Z'));
    const other = new X509Certificate(await issueServiceIdentityCertificate(authority, { ...context, publicKey: key }));
    expect(other.serialNumber).not.toBe(leaf.serialNumber);
    // keyUsage critical, digitalSignature alone.
    expect(der.includes(Buffer.from('0603551d0f0101ff040403020780', 'hex'))).toBe(true);
  });

  it('carry the key that was asked for, RSA or elliptic', async () => {
    for (const publicKey of [spki('rsa'), spki('rsa', 3072), spki('ec'), spki('ec', 'P-384'), spki('ec', 'P-521')]) {
      const der = await issueAkCertificate(authority, { ...context, publicKey, host });
      const leaf = verifyLeaf(der, { authority: authority.certificate, profile: 'ak', now });
      expect(leaf.publicKey.equals(createPublicKey({ key: publicKey, format: 'der', type: 'spki' }))).toBe(true);
    }
  });

  it('of a client of the channel are for elliptic keys alone', async () => {
    const issueTo = (publicKey: Buffer) =>
      issueClientCertificate(authority, { ...context, publicKey, subject: { host } });
    for (const publicKey of [spki('ec'), spki('ec', 'P-384'), spki('ec', 'P-521')]) await issueTo(publicKey);
    expect(await codeOf(issueTo(spki('rsa')))).toBe('bad_public_key');
  });

  it('name the server by DNS names and addresses beside its URI', async () => {
    const names = ['assay.example', 'localhost', '127.0.0.1', '::1'];
    const der = await issueServerCertificate(authority, { ...context, publicKey: key, names });
    const leaf = new X509Certificate(der);
    expect(leaf.checkHost('assay.example')).toBe('assay.example');
    expect(leaf.checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(leaf.checkIP('::1')).toBe('::1');
    expect(verifyLeaf(der, { authority: authority.certificate, profile: 'server', now }).identity.kind).toBe('server');
  });

  it('never outlive the authority', async () => {
    const der = await issueClientCertificate(authority, {
      ...context,
      lifetimeSeconds: 100 * 365 * day,
      publicKey: key,
      subject: { name: 'alice' },
    });
    expect(new X509Certificate(der).validToDate).toEqual(authority.notAfter);
  });

  it('are well formed through many signatures, whatever leading zeros they have', async () => {
    for (let round = 0; round < 100; round += 1) {
      const der = await issueClientCertificate(authority, { ...context, publicKey: key, subject: { name: 'alice' } });
      expect(verifyLeaf(der, { authority: authority.certificate, profile: 'client', now }).identity.kind).toBe(
        'identity',
      );
    }
  });

  const ask = (change: object) =>
    issueServerCertificate(authority, { ...context, publicKey: key, names: ['assay.example'], ...change });
  it.each<[string, object, CaErrorCode]>([
    ['a key that is none', { publicKey: Buffer.from('junk') }, 'bad_public_key'],
    ['a key of endless size', { publicKey: Buffer.alloc(5000) }, 'bad_public_key'],
    ['an RSA key of 1024 bits', { publicKey: spki('rsa', 1024) }, 'bad_public_key'],
    ['a key on another curve', { publicKey: spki('ec', 'secp256k1') }, 'bad_public_key'],
    [
      'an Ed25519 key',
      { publicKey: generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }) },
      'bad_public_key',
    ],
    ['no lifetime', { lifetimeSeconds: 0 }, 'bad_lifetime'],
    ['an endless lifetime', { lifetimeSeconds: Number.POSITIVE_INFINITY }, 'bad_lifetime'],
    ['a time after the end of the authority', { now: new Date('2038-01-01T00:00:00Z') }, 'bad_lifetime'],
    ['a name that is no DNS name', { names: ['assay example'] }, 'bad_server_name'],
    ['too many names', { names: Array.from({ length: 65 }, (_, index) => `n${index}.example`) }, 'bad_server_name'],
  ])('are refused for %s', async (_name, change, code) => {
    expect(await codeOf(ask(change))).toBe(code);
  });
});
