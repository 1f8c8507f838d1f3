import { createHash } from 'node:crypto';
import type { Certificate } from '../../tpm/endorsement/certificate.ts';
import type { SubjectKey } from '../../tpm/endorsement/subject-key.ts';

/** A certificate in the shape that `--output json` prints. Names have control characters escaped as `\u{…}`. */
export interface CertificateReport {
  readonly subject: string;
  readonly issuer: string;
  /** Hexadecimal without leading zeros. */
  readonly serial: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** SHA-256 of the certificate. */
  readonly sha256: string;
}

/** What is to be said of the certificate in question beyond that. */
export interface CertificateDetails extends CertificateReport {
  readonly version: number;
  readonly signatureAlgorithm: NamedOid;
  readonly key: KeyReport;
  readonly keyUsage: readonly string[] | null;
  readonly extendedKeyUsage: readonly NamedOid[] | null;
  readonly extensions: readonly (NamedOid & { readonly critical: boolean; readonly value: string })[];
}

interface NamedOid {
  readonly oid: string;
  readonly name: string | null;
}

export interface KeyReport {
  readonly algorithm: 'rsa' | 'ec' | null;
  readonly bits: number | null;
  readonly curve: string | null;
  /** Of an RSA key. */
  readonly exponent: number | null;
  /** SHA-256 of the canonical SubjectPublicKeyInfo: of an EK, its fingerprint. Null for a key that cannot be used. */
  readonly sha256: string | null;
}

/** Of extensions, purposes and algorithms that EK certificates and their CAs have. */
const OID_NAMES: Readonly<Record<string, string>> = {
  '1.2.840.10045.4.1': 'ecdsa-with-SHA1',
  '1.2.840.10045.4.3.2': 'ecdsa-with-SHA256',
  '1.2.840.10045.4.3.3': 'ecdsa-with-SHA384',
  '1.2.840.10045.4.3.4': 'ecdsa-with-SHA512',
  '1.2.840.113549.1.1.5': 'sha1WithRSAEncryption',
  '1.2.840.113549.1.1.10': 'RSASSA-PSS',
  '1.2.840.113549.1.1.11': 'sha256WithRSAEncryption',
  '1.2.840.113549.1.1.12': 'sha384WithRSAEncryption',
  '1.2.840.113549.1.1.13': 'sha512WithRSAEncryption',
  '1.3.6.1.5.5.7.1.1': 'authorityInfoAccess',
  '2.5.29.9': 'subjectDirectoryAttributes',
  '2.5.29.14': 'subjectKeyIdentifier',
  '2.5.29.15': 'keyUsage',
  '2.5.29.17': 'subjectAltName',
  '2.5.29.19': 'basicConstraints',
  '2.5.29.30': 'nameConstraints',
  '2.5.29.31': 'cRLDistributionPoints',
  '2.5.29.32': 'certificatePolicies',
  '2.5.29.35': 'authorityKeyIdentifier',
  '2.5.29.37': 'extKeyUsage',
  '2.5.29.37.0': 'anyExtendedKeyUsage',
  '2.23.133.8.1': 'tcg-kp-EKCertificate',
  '2.23.133.8.3': 'tcg-kp-AIKCertificate',
};

const CURVE_BITS: Readonly<Record<string, number>> = { 'P-256': 256, 'P-384': 384, 'P-521': 521 };

export function reportCertificate(certificate: Certificate): CertificateReport {
  return {
    subject: certificate.subject.text,
    issuer: certificate.issuer.text,
    serial: certificate.serial.hex,
    notBefore: certificate.notBefore.toISOString(),
    notAfter: certificate.notAfter.toISOString(),
    sha256: certificate.fingerprint,
  };
}

export function detailCertificate(certificate: Certificate): CertificateDetails {
  const { all, keyUsage, extendedKeyUsage } = certificate.extensions;
  return {
    ...reportCertificate(certificate),
    version: certificate.version,
    signatureAlgorithm: named(certificate.signatureAlgorithm.oid),
    key: reportKey(certificate.subjectKey),
    keyUsage: keyUsage === undefined ? null : [...keyUsage],
    extendedKeyUsage: extendedKeyUsage?.map(named) ?? null,
    extensions: [...all].map(([oid, { critical, value }]) => {
      return { ...named(oid), critical, value: value.toString('hex') };
    }),
  };
}

function reportKey(key: SubjectKey): KeyReport {
  if (key.kind === 'unusable') return { algorithm: null, bits: null, curve: null, exponent: null, sha256: null };
  const sha256 = createHash('sha256').update(key.spki).digest('hex');
  if (key.kind === 'ec') {
    return { algorithm: 'ec', bits: CURVE_BITS[key.curve] ?? null, curve: key.curve, exponent: null, sha256 };
  }
  const bits = key.modulus.length * 8 - Math.clz32(key.modulus[0] ?? 0) + 24;
  const exponent = key.exponent.length > 6 ? null : key.exponent.readUIntBE(0, key.exponent.length);
  return { algorithm: 'rsa', bits, curve: null, exponent, sha256 };
}

function named(oid: string): NamedOid {
  return { oid, name: OID_NAMES[oid] ?? null };
}
