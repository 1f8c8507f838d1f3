/**
 * Signatures appended to a file (`modsig`): PKCS #7 SignedData without content (RFC 2315, RFC 5652 §5), over `d-modsig`, the digest
 * of the file without its signature. `d-ng` is of the whole file and proves nothing here.
 * Only keys of the keyring count; certificates inside the message are not looked at.
 */
import { hash as oneShotHash } from 'node:crypto';

import { DER, DerError, DerReader } from './der.ts';
import type { DerValue } from './der.ts';
import type { ImaDigest } from './fields.ts';
import { imaHashByOid } from './hash-names.ts';
import type { ImaHash } from './hash-names.ts';
import type { ImaKey, ImaKeyring } from './keyring.ts';
import { combineResults } from './signature-result.ts';
import type { ImaSignatureResult } from './signature-result.ts';
import { verifyDigest } from './verify-digest.ts';

/** Object identifiers, their content in hexadecimal. */
const OID = {
  signedData: '2a864886f70d010702',
  messageDigest: '2a864886f70d010904',
  rsaPss: '2a864886f70d01010a',
} as const;

const MAX_SIGNERS = 4;
const MAX_ATTRIBUTES = 32;
const MAX_PARTS = 8;

interface Signer {
  /** How the signer's key is named, in words and hexadecimal. */
  readonly keyId: string;
  readonly find: (keyring: ImaKeyring) => readonly ImaKey[];
  readonly hash: ImaHash | undefined;
  readonly signatureOid: string;
  readonly attributes: DerValue | undefined;
  readonly signature: Buffer;
}

/** Checks the `modsig` field of an entry against `d-modsig`. */
export function checkModsig(
  bytes: Buffer | undefined,
  digest: ImaDigest | undefined,
  keyring: ImaKeyring,
): ImaSignatureResult {
  const source = 'modsig';
  if (bytes === undefined || bytes.length === 0) return { kind: 'none' };
  let signers: readonly Signer[];
  try {
    signers = readSigners(bytes);
  } catch (error) {
    if (error instanceof DerError) return { kind: 'invalid', source, fault: 'PKCS7_MALFORMED' };
    throw error;
  }
  if (signers.length === 0) return { kind: 'invalid', source, fault: 'PKCS7_MALFORMED' };
  if (digest === undefined) return { kind: 'invalid', source, fault: 'DIGEST_MISSING' };
  return combineResults(signers.map((signer) => checkSigner(signer, digest, keyring)));
}

function checkSigner(signer: Signer, digest: ImaDigest, keyring: ImaKeyring): ImaSignatureResult {
  const source = 'modsig';
  const { hash, keyId, signature, attributes } = signer;
  if (signer.signatureOid === OID.rsaPss) return { kind: 'unsupported', source, what: 'RSASSA-PSS' };
  if (hash === undefined) return { kind: 'invalid', source, fault: 'HASH_UNKNOWN', keyId };
  if (digest.hash !== hash) return { kind: 'invalid', source, fault: 'HASH_MISMATCH', keyId };
  const signed = signedDigest(hash, attributes, digest.value);
  if (signed === undefined) return { kind: 'invalid', source, fault: 'VALUE_WRONG', keyId };
  const keys = signer.find(keyring);
  if (keys.length === 0) return { kind: 'unknownKey', source, keyId };
  const trySignature = keyring.try;
  if (trySignature === null) return { kind: 'invalid', source, fault: 'UNTRIED', keyId };
  const key = keys.find((candidate) =>
    trySignature({ key: candidate, hash: hash.name, signed, signature }, () =>
      verifyDigest(candidate, hash, signed, signature),
    ),
  );
  return key === undefined ? { kind: 'invalid', source, fault: 'VALUE_WRONG', keyId } : { kind: 'valid', source, key };
}

/**
 * What the signature is over: the content's digest, or that of the signed attributes, which name the content's. Of a message with
 * attributes kernels record the attributes' digest; a list that records the content's is as good.
 */
function signedDigest(hash: ImaHash, attributes: DerValue | undefined, measured: Buffer): Buffer | undefined {
  if (attributes === undefined) return measured;
  if (hash.node === undefined) return undefined;
  // RFC 5652 §5.4: signed as the SET that they are, not under the tag that they stand with.
  const set = Buffer.from(attributes.raw);
  set[0] = DER.set;
  const digest = oneShotHash(hash.node, set, 'buffer');
  return digest.equals(measured) || messageDigestOf(attributes)?.equals(measured) === true ? digest : undefined;
}

function messageDigestOf(attributes: DerValue): Buffer | undefined {
  for (const { content } of new DerReader(attributes.content).rest(MAX_ATTRIBUTES)) {
    const reader = new DerReader(content);
    if (reader.read(DER.oid).content.toString('hex') === OID.messageDigest) {
      return reader.open(DER.set).read(DER.octetString).content;
    }
  }
  return undefined;
}

function readSigners(bytes: Buffer): readonly Signer[] {
  const outer = new DerReader(bytes);
  const info = outer.open(DER.sequence);
  if (!outer.isAtEnd) throw new DerError('trailing bytes');
  if (info.read(DER.oid).content.toString('hex') !== OID.signedData) throw new DerError('no signed data');
  const parts = info.open(DER.context0).open(DER.sequence).rest(MAX_PARTS);
  const last = parts.at(-1);
  if (last === undefined || last.tag !== DER.set || parts.length < 4) throw new DerError('no signers');
  return new DerReader(last.content).rest(MAX_SIGNERS).map(readSigner);
}

/** SignerInfo (RFC 5652 §5.3). */
function readSigner({ content }: DerValue): Signer {
  const reader = new DerReader(content);
  reader.read(DER.integer);
  const sid = reader.read();
  const hash = imaHashByOid(reader.open(DER.sequence).read(DER.oid).content.toString('hex'));
  const attributes = reader.tag === DER.context0 ? reader.read() : undefined;
  const signatureOid = reader.open(DER.sequence).read(DER.oid).content.toString('hex');
  const signature = reader.read(DER.octetString).content;
  // Found here, where malformed DER is told as such.
  if (attributes !== undefined) messageDigestOf(attributes);
  return { ...readSignerName(sid), hash, attributes, signatureOid, signature };
}

function readSignerName(sid: DerValue): Pick<Signer, 'keyId' | 'find'> {
  if (sid.tag === DER.contextPrimitive0) {
    const identifier = sid.content.toString('hex');
    return { keyId: identifier, find: (keyring) => keyring.byIdentifier(identifier) };
  }
  if (sid.tag !== DER.sequence) throw new DerError('signer is not named');
  const [issuer, serial] = new DerReader(sid.content).rest(2);
  if (issuer === undefined || serial === undefined) throw new DerError('signer is not named');
  const name = Buffer.concat([issuer.raw, serial.raw]).toString('hex');
  return { keyId: `serial ${serial.content.toString('hex')}`, find: (keyring) => keyring.byIssuerAndSerial(name) };
}
