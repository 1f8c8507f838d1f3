import type { Certificate } from '../../tpm/endorsement/certificate.ts';
import { parseChain } from '../../tpm/endorsement/certificate-chain.ts';
import { verifyCertificatePath } from '../../tpm/endorsement/certificate-path.ts';
import type { Deviation } from '../../tpm/endorsement/deviation.ts';
import {
  checkEkProfile,
  EK_EXTENDED_KEY_USAGE,
  parseEkCertificate,
  readManufacturer,
  TPM_MANUFACTURER,
  TPM_MODEL,
  TPM_VERSION,
} from '../../tpm/endorsement/ek-certificate.ts';
import { EndorsementError } from '../../tpm/endorsement/endorsement-error.ts';
import { checkKeySanity } from '../../tpm/endorsement/key-sanity.ts';
import type { ProvenRevocationList } from '../../tpm/endorsement/revocation.ts';
import { readRevocationLists } from '../../tpm/endorsement/revocation-lists.ts';
import { tpmVendor } from '../../tpm/endorsement/vendors.ts';
import type { EkCertificateFile } from './certificate-input.ts';
import { detailCertificate, reportCertificate } from './certificate-report.ts';
import type { CertificateDetails, CertificateReport } from './certificate-report.ts';
import { offlineFinding } from './offline-finding.ts';
import type { OfflineFinding } from './offline-finding.ts';
import type { NamedFile, TrustAnchors } from './trust-anchors.ts';

/** What an EK certificate says, in the shape that `assay inspect ek-certificate --output json` prints. */
export interface EkCertificateReport {
  readonly form: EkCertificateFile['form'];
  readonly certificate: CertificateDetails;
  readonly tpm: TpmReport;
  /** Certificates that stand behind the first one in the file. */
  readonly chain: readonly CertificateReport[];
  readonly path: PathReport;
  readonly deviations: readonly Deviation[];
  readonly findings: readonly OfflineFinding[];
}

/** Each as it is written; null where the certificate does not say it. */
export interface TpmReport {
  readonly manufacturer: { readonly id: string; readonly vendor: string; readonly name: string | null } | null;
  readonly model: string | null;
  readonly firmwareVersion: string | null;
}

export type PathReport =
  /** From the EK certificate up to the trust anchor. */
  | { readonly status: 'valid'; readonly certificates: readonly CertificateReport[]; readonly anchor: string }
  | { readonly status: 'refused'; readonly code: string; readonly detail: string }
  /** No trust anchors were given. */
  | { readonly status: 'unchecked' };

export interface EkCertificateContext {
  /** Null where none were given: then there is no path to check. */
  readonly trustAnchors: TrustAnchors | null;
  readonly revocationLists: readonly NamedFile[];
  readonly now: Date;
}

/**
 * Makes every check of an EK certificate that the service makes at enrolment, but for the one against the EK's public area, and
 * goes on after one that fails. Throws `EndorsementError` for what is no certificate.
 */
export function inspectEkCertificate(file: EkCertificateFile, context: EkCertificateContext): EkCertificateReport {
  const certificate = parseEkCertificate(file.certificate);
  const chain = readChain(file.chain);
  const key = checkKeySanity(certificate.subjectKey);
  const profile = checkEkProfile(certificate);
  const path = checkPath(certificate, chain.certificates, context);
  const refusals = [key, profile].filter((verdict) => verdict.status === 'refused');
  return {
    form: file.form,
    certificate: detailCertificate(certificate),
    tpm: reportTpm(certificate),
    chain: chain.certificates.map(reportCertificate),
    path: path.report,
    deviations: [
      ...(profile.status === 'conforms' ? profile.deviations : certificate.deviations),
      ...chain.deviations,
      ...path.deviations,
    ],
    findings: [
      ...refusals.map(({ code, detail }) => offlineFinding(code, 'error', detail)),
      ...chain.findings,
      ...path.findings,
    ],
  };
}

interface Chain {
  readonly certificates: readonly Certificate[];
  readonly deviations: readonly Deviation[];
  readonly findings: readonly OfflineFinding[];
}

function readChain(encoded: readonly Buffer[]): Chain {
  try {
    return { ...parseChain(encoded), findings: [] };
  } catch (error) {
    if (!(error instanceof EndorsementError)) throw error;
    const finding = offlineFinding('EK_CERT_CHAIN_MALFORMED', 'error', error.message);
    return { certificates: [], deviations: [], findings: [finding] };
  }
}

interface Path {
  readonly report: PathReport;
  readonly deviations: readonly Deviation[];
  readonly findings: readonly OfflineFinding[];
}

function checkPath(certificate: Certificate, chain: readonly Certificate[], context: EkCertificateContext): Path {
  const { trustAnchors, now } = context;
  if (trustAnchors === null) {
    return { report: { status: 'unchecked' }, deviations: [], findings: checkValidity(certificate, now) };
  }
  const intermediates = [...chain, ...trustAnchors.intermediates];
  const lists = readLists(context.revocationLists, [...trustAnchors.anchors, ...intermediates], now);
  const verdict = verifyCertificatePath(certificate, {
    trustAnchors: trustAnchors.anchors,
    intermediates,
    now,
    extendedKeyUsage: EK_EXTENDED_KEY_USAGE,
    revocationLists: lists.proven,
  });
  const findings = [...trustAnchors.findings, ...lists.findings];
  if (verdict.status === 'refused') {
    const { status, code, detail } = verdict;
    const finding = offlineFinding(code, 'error', detail);
    return { report: { status, code, detail }, deviations: [], findings: [...findings, finding] };
  }
  const certificates = verdict.path.map(reportCertificate);
  const report: PathReport = { status: 'valid', certificates, anchor: verdict.anchor.fingerprint };
  return { report, deviations: verdict.deviations, findings };
}

/** The part of the path's check that needs no other certificate. */
function checkValidity({ notBefore, notAfter }: Certificate, now: Date): readonly OfflineFinding[] {
  if (now < notBefore) {
    return [offlineFinding('EK_CERT_NOT_YET_VALID', 'error', `valid from ${notBefore.toISOString()}`)];
  }
  return now > notAfter ? [offlineFinding('EK_CERT_EXPIRED', 'error', `valid until ${notAfter.toISOString()}`)] : [];
}

/** A list that is not taken might have revoked the certificate: that is an error, and no path is good without it. */
function readLists(
  files: readonly NamedFile[],
  issuers: readonly Certificate[],
  now: Date,
): { readonly proven: readonly ProvenRevocationList[]; readonly findings: readonly OfflineFinding[] } {
  const proven: ProvenRevocationList[] = [];
  const findings: OfflineFinding[] = [];
  for (const { name, bytes } of files) {
    try {
      const lists = readRevocationLists(bytes, { issuers, now });
      proven.push(...lists.map(({ list, issuerKey }) => ({ ...list, issuerKey })));
    } catch (error) {
      if (!(error instanceof EndorsementError)) throw error;
      const code = `REVOCATION_${error.code.toUpperCase()}`;
      findings.push(offlineFinding(code, 'error', `${name}: ${error.message}`));
    }
  }
  return { proven, findings };
}

/** The attributes stand in a directory name of the alternative name; the profile says whether rightly. */
function reportTpm({ extensions }: Certificate): TpmReport {
  const attributes = (extensions.subjectAlternativeName ?? []).flatMap((name) =>
    name.kind === 'directory' ? name.name.attributes : [],
  );
  const valueOf = (wanted: string): string | null => attributes.find(({ oid }) => oid === wanted)?.value ?? null;
  const id = valueOf(TPM_MANUFACTURER);
  const vendor = id === null ? '' : readManufacturer(id);
  return {
    manufacturer: id === null ? null : { id, vendor, name: tpmVendor(vendor) ?? null },
    model: valueOf(TPM_MODEL),
    firmwareVersion: valueOf(TPM_VERSION),
  };
}
