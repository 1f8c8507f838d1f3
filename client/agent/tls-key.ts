// @peculiar/x509 resolves its parts through tsyringe, which throws without this polyfill.
import 'reflect-metadata';
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, webcrypto } from 'node:crypto';
import { X509CertificateGenerator } from '@peculiar/x509';

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;

/** A new TLS key: P-256, PKCS#8 PEM. */
export function makeTlsKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
}

/** SubjectPublicKeyInfo (DER) of a private key in PEM. */
export function publicKeyDer(privateKeyPem: string): Buffer {
  return createPublicKey(createPrivateKey(privateKeyPem)).export({ type: 'spki', format: 'der' });
}

/** SHA-256 of that SubjectPublicKeyInfo: what transcripts call the TLS key's hash. */
export function tlsKeySha256(privateKeyPem: string): Buffer {
  return createHash('sha256').update(publicKeyDer(privateKeyPem)).digest();
}

/**
 * A certificate under which a key can speak TLS before the service has issued one. It says nothing but the key.
 * @param options.serial 16 random bytes
 * @returns X.509 DER
 */
export async function makeBareCertificate(
  privateKeyPem: string,
  options: { readonly now: Date; readonly serial: Uint8Array },
): Promise<Buffer> {
  const key = createPrivateKey(privateKeyPem);
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const privateKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, KEY_ALGORITHM, false, ['sign']);
  const spki = publicKeyDer(privateKeyPem);
  const publicKey = await webcrypto.subtle.importKey('spki', spki, KEY_ALGORITHM, true, ['verify']);
  // A leading 01 keeps the serial number positive and free of leading zeros (RFC 5280 §4.1.2.2).
  const serialNumber = `01${Buffer.from(options.serial).toString('hex')}`;
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=assay agent',
    serialNumber,
    notBefore: new Date(options.now.getTime() - HOUR_MS),
    notAfter: new Date(options.now.getTime() + 24 * HOUR_MS),
    signingAlgorithm: SIGNING_ALGORITHM,
    keys: { privateKey, publicKey },
  });
  return Buffer.from(certificate.rawData);
}
