import { isSelfIssued } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import type { Deviation } from './deviation.ts';
import { compareNames } from './distinguished-name.ts';
import { EXTENSION } from './extensions.ts';
import { checkKeySanity } from './key-sanity.ts';
import { PathSignatures } from './path-signatures.ts';
import { findRevocation } from './revocation.ts';
import type { ProvenRevocationList } from './revocation.ts';
import type { EcSubjectKey, RsaSubjectKey } from './subject-key.ts';
import type { SignatureRefusalCode } from './verify-signature.ts';

/**
 * Path validation from a certificate to a trust anchor (RFC 5280 §6.1), without policies and name constraints: a
 * certificate that demands either (critical extensions 2.5.29.30, .36, .54) is refused.
 *
 * A path is built upwards by what certificates say. Its signatures are verified downwards, from a key that is trusted: none is
 * verified under a key that only its bringer vouches for.
 */

export type PathRefusalCode =
  | SignatureRefusalCode
  | 'EK_CERT_UNKNOWN_CA'
  | 'EK_CERT_EXPIRED'
  | 'EK_CERT_NOT_YET_VALID'
  | 'EK_CERT_CRITICAL_EXTENSION'
  | 'EK_CERT_REVOKED'
  | 'EK_CERT_CHAIN_EXPIRED'
  | 'EK_CERT_CHAIN_NOT_YET_VALID'
  | 'EK_CERT_CHAIN_TOO_LONG'
  | 'EK_CERT_CHAIN_TOO_COMPLEX'
  | 'EK_CERT_ISSUER_NOT_CA'
  | 'EK_CERT_ISSUER_PATH_LENGTH'
  | 'EK_CERT_ISSUER_KEY_USAGE'
  | 'EK_CERT_ISSUER_EKU'
  | 'EK_CERT_ISSUER_KEY';

export interface PathRefusal {
  readonly status: 'refused';
  readonly code: PathRefusalCode;
  readonly detail: string;
}

/** A certificate that was proven to chain to an anchor; only {@link verifyCertificatePath} makes one. */
export interface VerifiedPath {
  readonly status: 'verified';
  /** From the certificate itself up to the anchor. */
  readonly path: readonly Certificate[];
  readonly anchor: Certificate;
  readonly deviations: readonly Deviation[];
}

export interface PathDemand {
  /** Certificates that are trusted as given, self-signed or not. */
  readonly trustAnchors: readonly Certificate[];
  /** Certificates that may stand between; nothing in them is trusted. */
  readonly intermediates: readonly Certificate[];
  readonly now: Date;
  /** The purpose that the path is for; an issuer that names purposes must name it. */
  readonly extendedKeyUsage: string;
  readonly revocationLists?: readonly ProvenRevocationList[];
  /**
   * EKs outlive the intermediates that certified them. `at-issue` (the default) accepts an issuer that has expired if
   * it was valid when it issued the certificate below it, as the deviation ISSUER_EXPIRED; `now` refuses it.
   */
  readonly issuerValidity?: 'at-issue' | 'now';
  /** Shared by the certificates that are judged together; default: of this path alone. */
  readonly signatures?: PathSignatures;
}

const MAX_INTERMEDIATES = 8;
/** Bounds the work that certificates which all bear one name can cause. */
const MAX_LINKS = 64;
const ANY_EXTENDED_KEY_USAGE = '2.5.29.37.0';

/** Critical extensions that are judged here. Of the alternative name, see {@link checkCriticalExtensions}. */
const UNDERSTOOD: readonly string[] = [
  EXTENSION.basicConstraints,
  EXTENSION.keyUsage,
  EXTENSION.extendedKeyUsage,
  EXTENSION.subjectKeyIdentifier,
  EXTENSION.authorityKeyIdentifier,
  // With no policy asked for, every policy will do (RFC 5280 §6.1.1 (c): any-policy).
  EXTENSION.certificatePolicies,
];

/** A certificate and one that was entitled to issue it, by all but the signature. */
interface Link {
  readonly status: 'linked';
  readonly child: Certificate;
  readonly issuer: Certificate;
  readonly key: RsaSubjectKey | EcSubjectKey;
  /** A list that this very key signed revokes the child, should it be of this issuer. */
  readonly revoked: boolean;
  readonly deviations: readonly Deviation[];
}

/** From the leaf upwards. */
type Links = readonly Link[];

/** A refusal, and how many certificates stand below the one that it is about. */
interface Obstacle {
  readonly refusal: PathRefusal;
  readonly depth: number;
}

/** Finds and proves a path; where none holds, answers the refusal that came nearest to an anchor. */
export function verifyCertificatePath(leaf: Certificate, demand: PathDemand): VerifiedPath | PathRefusal {
  const leafRefusal = checkLeaf(leaf, demand.now);
  if (leafRefusal !== undefined) return leafRefusal;
  const signatures = demand.signatures ?? new PathSignatures();
  let nearest: Obstacle | undefined;
  let count = 0;
  const open: Links[] = [[]];
  for (let below = open.pop(); below !== undefined; below = open.pop()) {
    for (const { issuer, anchor } of candidateIssuers(leaf, below, demand)) {
      count += 1;
      if (count > MAX_LINKS) return refuse('EK_CERT_CHAIN_TOO_COMPLEX', 'too many certificates bear one name');
      const link = checkLink(leaf, below, issuer, { demand, anchor });
      if (link.status === 'refused') {
        nearest = nearer(nearest, { refusal: link, depth: below.length });
        continue;
      }
      const links = [...below, link];
      // Only here is a key at the top that is trusted: of an anchor, or of the issuer of an imported list.
      if (!anchor && !link.revoked) {
        open.push(links);
        continue;
      }
      const proven = proveDownwards(links, signatures);
      if (proven === undefined) return refuse('EK_CERT_CHAIN_TOO_COMPLEX', 'too many signatures would be verified');
      if (!('refusal' in proven)) return { status: 'verified', anchor: issuer, ...proven };
      // Its own issuer says so: no other path makes that good.
      if (proven.refusal.code === 'EK_CERT_REVOKED' && proven.depth === 0) return proven.refusal;
      nearest = nearer(nearest, proven);
    }
  }
  return nearest?.refusal ?? refuse('EK_CERT_UNKNOWN_CA', `no trust anchor for issuer ${leaf.issuer.text}`);
}

/** Of a revoked CA an operator must hear, however near the other ways came. */
function nearer(nearest: Obstacle | undefined, next: Obstacle): Obstacle {
  if (nearest === undefined || next.refusal.code === 'EK_CERT_REVOKED') return next;
  return nearest.refusal.code !== 'EK_CERT_REVOKED' && next.depth > nearest.depth ? next : nearest;
}

/** Verifies the signatures of links, the topmost first, for its key is the trusted one. Undefined when no more may be verified. */
function proveDownwards(
  links: Links,
  signatures: PathSignatures,
): Pick<VerifiedPath, 'path' | 'deviations'> | Obstacle | undefined {
  const odd: (readonly Deviation[])[] = [];
  for (const [depth, { child, issuer, key }] of [...links.entries()].toReversed()) {
    const signature = signatures.verify(child, issuer, key);
    if (signature === undefined) return undefined;
    if (signature.status === 'refused') {
      const detail = `${child.subject.text} under ${issuer.subject.text}: ${signature.detail}`;
      return { refusal: refuse(signature.code, detail), depth };
    }
    odd.unshift(signature.deviations);
  }
  const depth = links.findIndex(({ revoked }) => revoked);
  const revoked = links[depth]?.child;
  if (revoked !== undefined) {
    return { refusal: refuse('EK_CERT_REVOKED', `${revoked.subject.text}, serial ${revoked.serial.hex}`), depth };
  }
  return {
    path: [...links.slice(0, 1).map(({ child }) => child), ...links.map(({ issuer }) => issuer)],
    deviations: links.flatMap(({ deviations }, index) => [...deviations, ...(odd[index] ?? [])]),
  };
}

function checkLeaf(leaf: Certificate, now: Date): PathRefusal | undefined {
  if (!(now >= leaf.notBefore)) return refuse('EK_CERT_NOT_YET_VALID', `valid from ${leaf.notBefore.toISOString()}`);
  if (!(now <= leaf.notAfter)) return refuse('EK_CERT_EXPIRED', `valid until ${leaf.notAfter.toISOString()}`);
  return checkCriticalExtensions(leaf);
}

/** Certificates whose name and key identifier say that they issued the topmost of the path; anchors first. */
function candidateIssuers(
  leaf: Certificate,
  below: Links,
  demand: PathDemand,
): { readonly issuer: Certificate; readonly anchor: boolean }[] {
  const child = below.at(-1)?.issuer ?? leaf;
  const anchors = demand.trustAnchors.filter((issuer) => mayHaveIssued(issuer, child));
  const known = new Set([leaf, ...below.map(({ issuer }) => issuer), ...anchors].map(({ fingerprint }) => fingerprint));
  const between = demand.intermediates.filter(
    (issuer) => mayHaveIssued(issuer, child) && !known.has(issuer.fingerprint),
  );
  return [
    ...anchors.map((issuer) => ({ issuer, anchor: true })),
    ...between.map((issuer) => ({ issuer, anchor: false })),
  ];
}

/** By name (RFC 5280 §7.1) and, where both give one, by key identifier. */
function mayHaveIssued(issuer: Certificate, child: Certificate): boolean {
  if (compareNames(issuer.subject, child.issuer) === 'different') return false;
  const wanted = child.extensions.authorityKeyIdentifier;
  const { subjectKeyIdentifier } = issuer.extensions;
  if (wanted?.keyIdentifier !== undefined) {
    return subjectKeyIdentifier === undefined || wanted.keyIdentifier.equals(subjectKeyIdentifier);
  }
  return wanted?.serial === undefined || wanted.serial.toString('hex') === issuer.serial.hex;
}

/** Whether `issuer` was entitled to issue the topmost certificate of the path. Whether it did, the signature tells. */
function checkLink(
  leaf: Certificate,
  below: Links,
  issuer: Certificate,
  { demand, anchor }: { readonly demand: PathDemand; readonly anchor: boolean },
): Link | PathRefusal {
  const child = below.at(-1)?.issuer ?? leaf;
  const sanity = checkKeySanity(issuer.subjectKey);
  if (sanity.status === 'refused') return refuse('EK_CERT_ISSUER_KEY', `${issuer.subject.text}: ${sanity.detail}`);
  const { key } = sanity;
  const refusal = checkIssuer(below, issuer, demand, anchor);
  if (refusal !== undefined) return refusal;
  const validity = checkIssuerValidity(child, issuer, demand);
  if (validity.status === 'refused') return validity;
  const revocation = findRevocation(child, issuer, key, demand.revocationLists ?? [], demand.now);
  const revoked = revocation.status === 'revoked';
  const own = issuer.deviations.map(({ code, detail }) => ({ code, detail: `${detail} of ${issuer.subject.text}` }));
  const name: Deviation[] =
    compareNames(issuer.subject, child.issuer) === 'identical'
      ? []
      : [{ code: 'NAME_ENCODING', detail: issuer.subject.text }];
  const aged = revoked ? [] : revocation.deviations;
  const deviations = [...name, ...validity.deviations, ...aged, ...own];
  return { status: 'linked', child, issuer, key, revoked, deviations };
}

function checkIssuer(below: Links, issuer: Certificate, demand: PathDemand, anchor: boolean): PathRefusal | undefined {
  const { basicConstraints, keyUsage, extendedKeyUsage } = issuer.extensions;
  const name = issuer.subject.text;
  if (!anchor && below.length >= MAX_INTERMEDIATES) {
    return refuse('EK_CERT_CHAIN_TOO_LONG', `more than ${MAX_INTERMEDIATES} intermediate certificates`);
  }
  if (issuer.version !== 3 || basicConstraints?.ca !== true) return refuse('EK_CERT_ISSUER_NOT_CA', name);
  // RFC 5280 §4.2.1.9: only intermediates that are not self-issued count, and the end of the path does not.
  const between = below.filter((link) => !isSelfIssued(link.issuer)).length;
  if (basicConstraints.pathLength !== undefined && between > basicConstraints.pathLength) {
    return refuse('EK_CERT_ISSUER_PATH_LENGTH', `${name} allows ${basicConstraints.pathLength} intermediates below it`);
  }
  if (keyUsage !== undefined && !keyUsage.has('keyCertSign')) return refuse('EK_CERT_ISSUER_KEY_USAGE', name);
  const purposes = [demand.extendedKeyUsage, ANY_EXTENDED_KEY_USAGE];
  if (extendedKeyUsage !== undefined && !extendedKeyUsage.some((usage) => purposes.includes(usage))) {
    return refuse('EK_CERT_ISSUER_EKU', name);
  }
  return checkCriticalExtensions(issuer);
}

function checkIssuerValidity(
  child: Certificate,
  issuer: Certificate,
  demand: PathDemand,
): { readonly status: 'sound'; readonly deviations: readonly Deviation[] } | PathRefusal {
  const name = issuer.subject.text;
  if (!(demand.now >= issuer.notBefore)) return refuse('EK_CERT_CHAIN_NOT_YET_VALID', name);
  if (demand.now <= issuer.notAfter) return { status: 'sound', deviations: [] };
  const validAtIssue = child.notBefore >= issuer.notBefore && child.notBefore <= issuer.notAfter;
  const ended = `${name} expired on ${issuer.notAfter.toISOString()}`;
  if (demand.issuerValidity === 'now' || !validAtIssue) return refuse('EK_CERT_CHAIN_EXPIRED', ended);
  return { status: 'sound', deviations: [{ code: 'ISSUER_EXPIRED', detail: ended }] };
}

/**
 * Unknown critical extensions refuse (RFC 5280 §4.2). A critical alternative name is understood where it consists of
 * directory names, as in EK certificates with an empty subject.
 */
function checkCriticalExtensions(certificate: Certificate): PathRefusal | undefined {
  const names = certificate.extensions.subjectAlternativeName ?? [];
  for (const [oid, { critical }] of certificate.extensions.all) {
    const understood =
      UNDERSTOOD.includes(oid) ||
      (oid === EXTENSION.subjectAlternativeName &&
        names.length > 0 &&
        names.every((name) => name.kind === 'directory'));
    if (critical && !understood) return refuse('EK_CERT_CRITICAL_EXTENSION', `${oid} in ${certificate.subject.text}`);
  }
  return undefined;
}

function refuse(code: PathRefusalCode, detail: string): PathRefusal {
  return { status: 'refused', code, detail };
}
