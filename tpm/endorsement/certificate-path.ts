import { isSelfIssued } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import type { Deviation } from './deviation.ts';
import { compareNames } from './distinguished-name.ts';
import { EXTENSION } from './extensions.ts';
import { checkKeySanity } from './key-sanity.ts';
import { findRevocation } from './revocation.ts';
import type { ProvenRevocationList } from './revocation.ts';
import { verifySignature } from './verify-signature.ts';
import type { SignatureRefusalCode } from './verify-signature.ts';

/**
 * Path validation from a certificate to a trust anchor (RFC 5280 §6.1), without policies and name constraints: a
 * certificate that demands either (critical extensions 2.5.29.30, .36, .54) is refused.
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
}

const MAX_INTERMEDIATES = 8;
/** Bounds the work that certificates which all bear one name can cause. */
const MAX_SIGNATURES = 24;
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

interface Step {
  readonly path: readonly Certificate[];
  readonly deviations: readonly Deviation[];
}

/** Finds and proves a path; where none holds, answers the refusal that came nearest to an anchor. */
export function verifyCertificatePath(leaf: Certificate, demand: PathDemand): VerifiedPath | PathRefusal {
  const leafRefusal = checkLeaf(leaf, demand.now);
  if (leafRefusal !== undefined) return leafRefusal;
  let nearest: { readonly refusal: PathRefusal; readonly depth: number } | undefined;
  let signatures = 0;
  const open: Step[] = [{ path: [leaf], deviations: [] }];
  for (let step = open.pop(); step !== undefined; step = open.pop()) {
    for (const { issuer, anchor } of candidateIssuers(step, demand)) {
      signatures += 1;
      if (signatures > MAX_SIGNATURES)
        return refuse('EK_CERT_CHAIN_TOO_COMPLEX', 'too many certificates bear one name');
      const link = checkLink(step.path, issuer, demand, anchor);
      if (link.status === 'refused') {
        const revoked = link.code === 'EK_CERT_REVOKED';
        // Its own issuer says so: no other path makes that good.
        if (revoked && step.path.length === 1) return link;
        const nearer = nearest === undefined || step.path.length > nearest.depth;
        // Of a revoked CA an operator must hear, however near the other ways came.
        if (revoked || (nearer && nearest?.refusal.code !== 'EK_CERT_REVOKED'))
          nearest = { refusal: link, depth: step.path.length };
        continue;
      }
      const path = [...step.path, issuer];
      const deviations = [...step.deviations, ...link.deviations];
      if (anchor) return { status: 'verified', path, anchor: issuer, deviations };
      open.push({ path, deviations });
    }
  }
  return nearest?.refusal ?? refuse('EK_CERT_UNKNOWN_CA', `no trust anchor for issuer ${leaf.issuer.text}`);
}

function checkLeaf(leaf: Certificate, now: Date): PathRefusal | undefined {
  if (!(now >= leaf.notBefore)) return refuse('EK_CERT_NOT_YET_VALID', `valid from ${leaf.notBefore.toISOString()}`);
  if (!(now <= leaf.notAfter)) return refuse('EK_CERT_EXPIRED', `valid until ${leaf.notAfter.toISOString()}`);
  return checkCriticalExtensions(leaf);
}

/** Certificates whose name and key identifier say that they issued the last one of the path; anchors first. */
function candidateIssuers(
  step: Step,
  demand: PathDemand,
): { readonly issuer: Certificate; readonly anchor: boolean }[] {
  const child = step.path.at(-1);
  if (child === undefined) return [];
  const anchors = demand.trustAnchors.filter((issuer) => mayHaveIssued(issuer, child));
  const between = demand.intermediates.filter(
    (issuer) =>
      mayHaveIssued(issuer, child) &&
      [...step.path, ...anchors].every((known) => known.fingerprint !== issuer.fingerprint),
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

type Link = { readonly status: 'linked'; readonly deviations: readonly Deviation[] } | PathRefusal;

/** Whether `issuer` was entitled to issue the last certificate of the path, and did. */
function checkLink(path: readonly Certificate[], issuer: Certificate, demand: PathDemand, anchor: boolean): Link {
  const child = path.at(-1);
  if (child === undefined) throw new TypeError('a path begins with a certificate');
  const key = checkKeySanity(issuer.subjectKey);
  if (key.status === 'refused') return refuse('EK_CERT_ISSUER_KEY', `${issuer.subject.text}: ${key.detail}`);
  const refusal = checkIssuer(path, issuer, demand, anchor);
  if (refusal !== undefined) return refusal;
  const validity = checkIssuerValidity(child, issuer, demand);
  if (validity.status === 'refused') return validity;
  const signature = verifySignature(child, key.key);
  if (signature.status === 'refused') {
    return refuse(signature.code, `${child.subject.text} under ${issuer.subject.text}: ${signature.detail}`);
  }
  const revocation = findRevocation(child, issuer, key.key, demand.revocationLists ?? [], demand.now);
  if (revocation.status === 'revoked')
    return refuse('EK_CERT_REVOKED', `${child.subject.text}, serial ${child.serial.hex}`);
  const own = issuer.deviations.map(({ code, detail }) => ({ code, detail: `${detail} of ${issuer.subject.text}` }));
  const name: Deviation[] =
    compareNames(issuer.subject, child.issuer) === 'identical'
      ? []
      : [{ code: 'NAME_ENCODING', detail: issuer.subject.text }];
  const deviations = [...name, ...validity.deviations, ...signature.deviations, ...revocation.deviations, ...own];
  return { status: 'linked', deviations };
}

function checkIssuer(
  path: readonly Certificate[],
  issuer: Certificate,
  demand: PathDemand,
  anchor: boolean,
): PathRefusal | undefined {
  const { basicConstraints, keyUsage, extendedKeyUsage } = issuer.extensions;
  const name = issuer.subject.text;
  if (!anchor && path.length > MAX_INTERMEDIATES) {
    return refuse('EK_CERT_CHAIN_TOO_LONG', `more than ${MAX_INTERMEDIATES} intermediate certificates`);
  }
  if (issuer.version !== 3 || basicConstraints?.ca !== true) return refuse('EK_CERT_ISSUER_NOT_CA', name);
  // RFC 5280 §4.2.1.9: only intermediates that are not self-issued count, and the end of the path does not.
  const below = path.slice(1).filter((certificate) => !isSelfIssued(certificate)).length;
  if (basicConstraints.pathLength !== undefined && below > basicConstraints.pathLength) {
    return refuse('EK_CERT_ISSUER_PATH_LENGTH', `${name} allows ${basicConstraints.pathLength} intermediates below it`);
  }
  if (keyUsage !== undefined && !keyUsage.has('keyCertSign')) return refuse('EK_CERT_ISSUER_KEY_USAGE', name);
  const purposes = [demand.extendedKeyUsage, ANY_EXTENDED_KEY_USAGE];
  if (extendedKeyUsage !== undefined && !extendedKeyUsage.some((usage) => purposes.includes(usage))) {
    return refuse('EK_CERT_ISSUER_EKU', name);
  }
  return checkCriticalExtensions(issuer);
}

function checkIssuerValidity(child: Certificate, issuer: Certificate, demand: PathDemand): Link {
  const name = issuer.subject.text;
  if (!(demand.now >= issuer.notBefore)) return refuse('EK_CERT_CHAIN_NOT_YET_VALID', name);
  if (demand.now <= issuer.notAfter) return { status: 'linked', deviations: [] };
  const validAtIssue = child.notBefore >= issuer.notBefore && child.notBefore <= issuer.notAfter;
  const ended = `${name} expired on ${issuer.notAfter.toISOString()}`;
  if (demand.issuerValidity === 'now' || !validAtIssue) return refuse('EK_CERT_CHAIN_EXPIRED', ended);
  return { status: 'linked', deviations: [{ code: 'ISSUER_EXPIRED', detail: ended }] };
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
