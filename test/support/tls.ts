import 'reflect-metadata';
import { createHash, KeyObject, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { EXTENDED_KEY_USAGE, formatIdentity } from '../../proto/certificate-profile.ts';
import type { CertificateProfile, Identity } from '../../proto/certificate-profile.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR = 3_600_000;

export const TEST_DEPLOYMENT = 'd-aaaaaaaaaaaaaaaa';

export interface TestLeaf extends TlsIdentity {
  /** Leaf, X.509 DER. */
  readonly certificate: Buffer;
  /** SHA-256 of the leaf's SubjectPublicKeyInfo. */
  readonly tlsKeySha256: Buffer;
}

export interface TestAuthority {
  readonly certificate: Buffer;
  issue(options: {
    readonly profile: CertificateProfile;
    readonly identity: Identity;
    readonly dns?: readonly string[];
    readonly ip?: readonly string[];
    /** What stands in the place of the profile's extended key usage; none when empty. */
    readonly extendedKeyUsages?: readonly string[];
    /** When it expires, in milliseconds from now; default an hour. */
    readonly lifeMillis?: number;
  }): Promise<TestLeaf>;
}

/** A CA of its own for a test, P-256, valid for an hour. */
export async function makeTestAuthority(name = 'test authority'): Promise<TestAuthority> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    serialNumber: serial(),
    ...validity(HOUR),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return {
    certificate: Buffer.from(certificate.rawData),
    async issue({ profile, identity, dns = [], ip = [], lifeMillis = HOUR, extendedKeyUsages }) {
      const usages = [...(extendedKeyUsages ?? [EXTENDED_KEY_USAGE[profile]])];
      const leafKeys = await generateKeys();
      const names: x509.JsonGeneralName[] = [
        { type: 'url', value: formatIdentity(identity) },
        ...dns.map((value) => ({ type: 'dns', value }) as const),
        ...ip.map((value) => ({ type: 'ip', value }) as const),
      ];
      const leaf = await x509.X509CertificateGenerator.create({
        subject: `CN=${profile}`,
        issuer: certificate.subject,
        serialNumber: serial(),
        ...validity(lifeMillis),
        signingAlgorithm: ALGORITHM,
        publicKey: leafKeys.publicKey,
        signingKey: keys.privateKey,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          ...(usages.length > 0 ? [new x509.ExtendedKeyUsageExtension(usages)] : []),
          new x509.SubjectAlternativeNameExtension(names),
          await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
        ],
      });
      const der = Buffer.from(leaf.rawData);
      const pem = KeyObject.from(leafKeys.privateKey).export({ type: 'pkcs8', format: 'pem' });
      return {
        certificate: der,
        certificateChain: [der, Buffer.from(certificate.rawData)],
        privateKey: pem.toString(),
        tlsKeySha256: createHash('sha256').update(Buffer.from(leaf.publicKey.rawData)).digest(),
      };
    },
  };
}

/** The server's leaf as the service's CA issues it, for loopback. */
export function issueServer(authority: TestAuthority): Promise<TestLeaf> {
  const identity = { kind: 'server', deployment: TEST_DEPLOYMENT } as const;
  return authority.issue({ profile: 'server', identity, dns: ['localhost'], ip: ['127.0.0.1', '::1'] });
}

/** The leaf of a caller, an operator or an engine. */
export function issueClient(authority: TestAuthority, name: string): Promise<TestLeaf> {
  return authority.issue({ profile: 'client', identity: { kind: 'identity', deployment: TEST_DEPLOYMENT, name } });
}

function validity(lifeMillis: number): { readonly notBefore: Date; readonly notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(Math.min(now, now + lifeMillis) - HOUR), notAfter: new Date(now + lifeMillis) };
}

function serial(): string {
  return `01${randomBytes(8).toString('hex')}`;
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}
