import { createHash } from 'node:crypto';

import type { Certificate } from './certificate.ts';
import { compareNames } from './distinguished-name.ts';
import { splitBundle } from './encoded-bundle.ts';
import type { BundleKind } from './encoded-bundle.ts';
import { EndorsementError } from './endorsement-error.ts';
import { checkKeySanity } from './key-sanity.ts';
import { issuerKeyFingerprint, MAX_REVOCATION_LIST_BYTES, parseRevocationList } from './revocation.ts';
import type { RevocationList } from './revocation.ts';
import { verifySignature } from './verify-signature.ts';

/** A revocation list of a file that an operator imports, whose issuer is known and signed it. */
export interface ImportedRevocationList {
  /** DER. */
  readonly raw: Buffer;
  /** SHA-256 of `raw`, hexadecimal. */
  readonly fingerprint: string;
  readonly list: RevocationList;
  /** Fingerprint of the key that signed it. */
  readonly issuerKey: string;
}

/** Most lists in one file. */
export const MAX_REVOCATION_LISTS = 100;

const LISTS: BundleKind = {
  label: 'X509 CRL',
  noun: 'revocation list',
  file: 'file of revocation lists',
  maxBytes: MAX_REVOCATION_LIST_BYTES,
  maxCount: MAX_REVOCATION_LISTS,
};

/**
 * Reads revocation lists, PEM or DER one after another, each once, and proves each under one of the CA certificates. One that
 * does not hold refuses them all. Throws {@link EndorsementError} with a `list_…` code and the place of the list, from 1.
 */
export function readRevocationLists(
  file: Buffer,
  context: { readonly issuers: readonly Certificate[]; readonly now: Date },
): readonly ImportedRevocationList[] {
  const encoded = attempt('', () => splitBundle(file, LISTS));
  const found = new Map<string, ImportedRevocationList>();
  for (const [index, raw] of encoded.entries()) {
    const fingerprint = createHash('sha256').update(raw).digest('hex');
    if (found.has(fingerprint)) continue;
    const place = encoded.length === 1 ? '' : `list ${index + 1}: `;
    found.set(
      fingerprint,
      attempt(place, () => {
        const list = parseRevocationList(raw);
        return { raw, fingerprint, list, issuerKey: verifyRevocationList(list, context) };
      }),
    );
  }
  return [...found.values()];
}

/**
 * Proves that one of the CA certificates signed a list and was entitled to (RFC 5280 §6.3.3 (f), (g)). Returns the fingerprint
 * of the key. Throws {@link EndorsementError}.
 */
export function verifyRevocationList(
  list: RevocationList,
  { issuers, now }: { readonly issuers: readonly Certificate[]; readonly now: Date },
): string {
  // It would take the place of one that holds now, and revoke nothing until then.
  if (list.thisUpdate > now) {
    throw new EndorsementError('list_not_yet_valid', `revocation list is issued at ${list.thisUpdate.toISOString()}`);
  }
  const name = list.issuer.text;
  const candidates = issuers.filter((issuer) => mayHaveSigned(issuer, list));
  if (candidates.length === 0) {
    throw new EndorsementError('list_issuer_unknown', `no CA certificate of issuer ${name} is known: import it first`);
  }
  let refusal = '';
  for (const issuer of candidates) {
    const verdict = verifyUnder(list, issuer);
    if (verdict.status === 'proven') return verdict.issuerKey;
    refusal = verdict.detail;
  }
  throw new EndorsementError('list_invalid', `revocation list of ${name}: ${refusal}`);
}

/** By name (RFC 5280 §7.1) and, where both give one, by key identifier. */
function mayHaveSigned(issuer: Certificate, list: RevocationList): boolean {
  if (compareNames(issuer.subject, list.issuer) === 'different') return false;
  const wanted = list.authorityKeyIdentifier;
  const { subjectKeyIdentifier } = issuer.extensions;
  return wanted === undefined || subjectKeyIdentifier === undefined || wanted.equals(subjectKeyIdentifier);
}

type IssuerVerdict =
  | { readonly status: 'proven'; readonly issuerKey: string }
  | { readonly status: 'refused'; readonly detail: string };

function verifyUnder(list: RevocationList, issuer: Certificate): IssuerVerdict {
  const { basicConstraints, keyUsage } = issuer.extensions;
  if (basicConstraints?.ca !== true) return { status: 'refused', detail: 'the issuer is no CA' };
  if (keyUsage !== undefined && !keyUsage.has('cRLSign')) {
    return { status: 'refused', detail: "the issuer's certificate does not let it sign revocation lists (cRLSign)" };
  }
  const key = checkKeySanity(issuer.subjectKey);
  if (key.status === 'refused') return { status: 'refused', detail: key.detail };
  const signature = verifySignature(list, key.key);
  if (signature.status === 'refused') return { status: 'refused', detail: signature.detail };
  return { status: 'proven', issuerKey: issuerKeyFingerprint(key.key) };
}

function attempt<Value>(place: string, act: () => Value): Value {
  try {
    return act();
  } catch (cause) {
    if (!(cause instanceof EndorsementError)) throw cause;
    const { code } = cause;
    const known = code.startsWith('list_') ? code : code === 'unsupported' ? 'list_unsupported' : 'list_invalid';
    throw new EndorsementError(known, `${place}${cause.message}`, { cause });
  }
}
