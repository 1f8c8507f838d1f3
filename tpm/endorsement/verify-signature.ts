import { constants, verify } from 'node:crypto';

import type { AlgorithmIdentifier } from './certificate.ts';
import { DER_TAG, DerReader, decodeOid, decodeSmallInteger } from './der.ts';
import type { Deviation } from './deviation.ts';
import type { EcSubjectKey, RsaSubjectKey } from './subject-key.ts';

export type SignatureRefusalCode = 'EK_CERT_SIGNATURE' | 'EK_CERT_SIGNATURE_ALGORITHM' | 'EK_CERT_SIGNATURE_SHA1';

export type SignatureVerdict =
  | { readonly status: 'verified'; readonly deviations: readonly Deviation[] }
  | { readonly status: 'refused'; readonly code: SignatureRefusalCode; readonly detail: string };

/** What an issuer signed: a certificate or a revocation list. */
export interface SignedObject {
  readonly tbs: Buffer;
  readonly signatureAlgorithm: AlgorithmIdentifier;
  readonly signature: Buffer;
}

type Hash = 'sha256' | 'sha384' | 'sha512';
type Scheme = { readonly key: 'rsa' | 'ec'; readonly hash: Hash } | { readonly key: 'rsa'; readonly hash: 'pss' };

/** RFC 4055 §5, RFC 5758 §3.2, RFC 4055 §3.1. */
const ALGORITHMS: Readonly<Record<string, Scheme>> = {
  '1.2.840.113549.1.1.11': { key: 'rsa', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { key: 'rsa', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { key: 'rsa', hash: 'sha512' },
  '1.2.840.113549.1.1.10': { key: 'rsa', hash: 'pss' },
  '1.2.840.10045.4.3.2': { key: 'ec', hash: 'sha256' },
  '1.2.840.10045.4.3.3': { key: 'ec', hash: 'sha384' },
  '1.2.840.10045.4.3.4': { key: 'ec', hash: 'sha512' },
};
/** sha1WithRSAEncryption, sha1WithRSASignature (OIW), ecdsa-with-SHA1. */
const SHA1_ALGORITHMS: readonly string[] = ['1.2.840.113549.1.1.5', '1.3.14.3.2.29', '1.2.840.10045.4.1'];
const HASHES: Readonly<Record<string, Hash>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};
const OID_MGF1 = '1.2.840.113549.1.1.8';
const NULL_PARAMETERS = '0500';
const MAX_SIGNATURE_BYTES = 1024;

/** Verifies what an issuer's key signed, over the received bytes. SHA-1 and unknown algorithms are refused. */
export function verifySignature(signed: SignedObject, issuerKey: RsaSubjectKey | EcSubjectKey): SignatureVerdict {
  const { signatureAlgorithm, signature, tbs } = signed;
  const scheme = ALGORITHMS[signatureAlgorithm.oid];
  if (SHA1_ALGORITHMS.includes(signatureAlgorithm.oid)) return refused('EK_CERT_SIGNATURE_SHA1', 'signed with SHA-1');
  if (scheme === undefined) return refused('EK_CERT_SIGNATURE_ALGORITHM', `signed with ${signatureAlgorithm.oid}`);
  if (scheme.key !== issuerKey.kind) return refused('EK_CERT_SIGNATURE', 'the issuer has a key of another kind');
  if (signature.length > MAX_SIGNATURE_BYTES) return refused('EK_CERT_SIGNATURE', 'signature is too long');
  const pss = scheme.hash === 'pss' ? parsePss(signatureAlgorithm.parameters) : undefined;
  if (scheme.hash === 'pss' && pss === undefined) {
    return refused('EK_CERT_SIGNATURE_ALGORITHM', 'signed with RSASSA-PSS under parameters that are not accepted');
  }
  const hash = scheme.hash === 'pss' ? pss?.hash : scheme.hash;
  const key =
    pss === undefined
      ? issuerKey.publicKey
      : { key: issuerKey.publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: pss.saltLength };
  if (!holds(hash, tbs, key, signature)) return refused('EK_CERT_SIGNATURE', 'signature does not verify');
  return { status: 'verified', deviations: parameterDeviations(scheme, signatureAlgorithm) };
}

function holds(hash: Hash | undefined, tbs: Buffer, key: Parameters<typeof verify>[2], signature: Buffer): boolean {
  try {
    return verify(hash, tbs, key, signature);
  } catch {
    return false;
  }
}

/** PKCS#1 v1.5 has NULL parameters (RFC 4055 §5), ECDSA has none (RFC 5758 §3.2). */
function parameterDeviations(scheme: Scheme, algorithm: AlgorithmIdentifier): readonly Deviation[] {
  if (scheme.hash === 'pss') return [];
  const expected = scheme.key === 'rsa' ? NULL_PARAMETERS : undefined;
  return algorithm.parameters?.toString('hex') === expected
    ? []
    : [{ code: 'ALGORITHM_PARAMETERS', detail: `signature algorithm ${algorithm.oid}` }];
}

interface PssParameters {
  readonly hash: Hash;
  readonly saltLength: number;
}

/** RSASSA-PSS-params (RFC 4055 §3.1): hash and MGF1 hash must be the same and named; the defaults are SHA-1. */
function parsePss(parameters: Buffer | undefined): PssParameters | undefined {
  if (parameters === undefined) return undefined;
  try {
    const fields = new DerReader(parameters, 'PSS parameters', 4).enter(DER_TAG.sequence, 'PSS parameters');
    const hash = readHash(fields.enter(0xa0, 'hash'));
    const mask = fields.enter(0xa1, 'mask generation').enter(DER_TAG.sequence, 'mask generation');
    const generator = decodeOid(mask.read(DER_TAG.objectIdentifier, 'function').contents, 'mask generation');
    if (hash === undefined || generator !== OID_MGF1 || readHash(mask) !== hash) return undefined;
    const salt = fields.enter(0xa2, 'salt length');
    const saltLength = decodeSmallInteger(salt.read(DER_TAG.integer, 'salt length').contents, 'salt length');
    const trailer = fields.optional(0xa3);
    const trailerIsDefault = trailer === undefined || trailer.contents.toString('hex') === '020101';
    return fields.done && trailerIsDefault && saltLength <= 64 ? { hash, saltLength } : undefined;
  } catch {
    return undefined;
  }
}

function readHash(parent: DerReader): Hash | undefined {
  const fields = parent.enter(DER_TAG.sequence, 'hash');
  return HASHES[decodeOid(fields.read(DER_TAG.objectIdentifier, 'hash').contents, 'hash')];
}

function refused(code: SignatureRefusalCode, detail: string): SignatureVerdict {
  return { status: 'refused', code, detail };
}
