import { MAX_CERTIFICATE_BYTES, parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { DerReader } from './der.ts';
import type { Deviation } from './deviation.ts';
import { escapeText } from './distinguished-name.ts';
import type { NameAttribute } from './distinguished-name.ts';
import { EndorsementError } from './endorsement-error.ts';
import { EXTENSION } from './extensions.ts';

/** tcg-kp-EKCertificate (TCG EK Credential Profile §3.2). */
export const EK_EXTENDED_KEY_USAGE = '2.23.133.8.1';

/** Attributes of the TPM in the alternative name (TCG EK Credential Profile §3.2.9). */
export const TPM_MANUFACTURER = '2.23.133.2.1';
export const TPM_MODEL = '2.23.133.2.2';
export const TPM_VERSION = '2.23.133.2.3';

/** What the manufacturer says of its TPM. Text is escaped for display. */
export interface TpmClaims {
  /** Vendor id of the TCG registry as text (`IFX`), or as it is written where that is none. */
  readonly manufacturer: string;
  readonly model: string | undefined;
  readonly firmware: string | undefined;
}

export type ProfileRefusalCode =
  | 'EK_CERT_VERSION'
  | 'EK_CERT_IS_CA'
  | 'EK_CERT_SERIAL'
  | 'EK_CERT_ISSUER_EMPTY'
  | 'EK_CERT_KEY_USAGE'
  | 'EK_CERT_EKU'
  | 'EK_CERT_SUBJECT'
  | 'EK_CERT_SAN';

export type ProfileVerdict =
  | { readonly status: 'conforms'; readonly claims: TpmClaims; readonly deviations: readonly Deviation[] }
  | { readonly status: 'refused'; readonly code: ProfileRefusalCode; readonly detail: string };

const NV_HEADER = Buffer.from('1001', 'hex');
/** Padding after a certificate is bounded by the size of an NV index. */
const MAX_NV_BYTES = MAX_CERTIFICATE_BYTES + 8192;
const MAX_CLAIM_LENGTH = 256;

/**
 * Reads an EK certificate as NV holds it: bare, in the wrapper `10 01 00 ‖ length` (TCG PC Client Implementation
 * Specification §7.3.2), or with padding after it. Throws {@link EndorsementError}.
 */
export function parseEkCertificate(bytes: Uint8Array): Certificate {
  if (bytes.length > MAX_NV_BYTES) throw new EndorsementError('too_large', 'EK certificate is too large');
  const received = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const deviations: Deviation[] = [];
  const content = unwrap(received, deviations);
  const element = new DerReader(content, 'EK certificate').next();
  if (element.raw.length < content.length) {
    deviations.push({ code: 'TRAILING_BYTES', detail: `${content.length - element.raw.length} bytes` });
  }
  const certificate = parseCertificate(element.raw);
  return { ...certificate, deviations: [...deviations, ...certificate.deviations] };
}

/** Checks the TCG EK Credential Profile (§3.2) on a certificate whose path is judged elsewhere. */
export function checkEkProfile(certificate: Certificate): ProfileVerdict {
  const { extensions, subjectKey } = certificate;
  if (certificate.version !== 3) return refuse('EK_CERT_VERSION', `certificate is of version ${certificate.version}`);
  if (!certificate.serial.positive) return refuse('EK_CERT_SERIAL', 'serial number is not positive');
  if (certificate.issuer.attributes.length === 0) return refuse('EK_CERT_ISSUER_EMPTY', 'issuer has no name');
  if (extensions.basicConstraints?.ca === true) return refuse('EK_CERT_IS_CA', 'certificate is one of a CA');
  const usage = subjectKey.kind === 'ec' ? 'keyAgreement' : 'keyEncipherment';
  if (extensions.keyUsage?.has(usage) !== true) return refuse('EK_CERT_KEY_USAGE', `key usage has no ${usage}`);
  if (extensions.extendedKeyUsage?.includes(EK_EXTENDED_KEY_USAGE) !== true) {
    return refuse('EK_CERT_EKU', `extended key usage has no ${EK_EXTENDED_KEY_USAGE}`);
  }
  const emptySubject = certificate.subject.attributes.length === 0;
  const alternativeName = extensions.all.get(EXTENSION.subjectAlternativeName);
  if (emptySubject && alternativeName?.critical !== true) {
    return refuse('EK_CERT_SUBJECT', 'subject is empty and the alternative name is not critical');
  }
  const deviations = listDeviations(certificate);
  if (emptySubject) deviations.push({ code: 'EMPTY_SUBJECT', detail: 'subject' });
  return readClaims(certificate, deviations);
}

function unwrap(received: Buffer, deviations: Deviation[]): Buffer {
  if (!received.subarray(0, 2).equals(NV_HEADER) || received.length < 5) return received;
  const length = received.readUInt16BE(3);
  // The third byte tells a full certificate (0) from one that is only referred to.
  if (received[2] !== 0 || length > received.length - 5) {
    throw new EndorsementError('malformed', 'NV header of the EK certificate is wrong');
  }
  deviations.push({ code: 'NV_HEADER', detail: `${length} bytes` });
  const rest = received.length - 5 - length;
  if (rest > 0) deviations.push({ code: 'TRAILING_BYTES', detail: `${rest} bytes` });
  return received.subarray(5, 5 + length);
}

function listDeviations(certificate: Certificate): Deviation[] {
  const { all, authorityKeyIdentifier, basicConstraints } = certificate.extensions;
  const deviations: Deviation[] = [...certificate.deviations];
  if (authorityKeyIdentifier?.keyIdentifier === undefined)
    deviations.push({ code: 'AKI_ABSENT', detail: 'EK certificate' });
  if (basicConstraints === undefined) deviations.push({ code: 'BASIC_CONSTRAINTS_ABSENT', detail: 'EK certificate' });
  const expected: readonly (readonly [string, boolean])[] = [
    [EXTENSION.basicConstraints, true],
    [EXTENSION.keyUsage, true],
    [EXTENSION.extendedKeyUsage, false],
    [EXTENSION.authorityKeyIdentifier, false],
    [EXTENSION.subjectKeyIdentifier, false],
  ];
  for (const [oid, critical] of expected) {
    const extension = all.get(oid);
    if (extension !== undefined && extension.critical !== critical) {
      deviations.push({ code: 'CRITICALITY', detail: `extension ${oid} ${critical ? 'is not' : 'is'} critical` });
    }
  }
  return deviations;
}

/** The attributes stand in exactly one directory name of the alternative name; any of them twice is ambiguous. */
function readClaims(certificate: Certificate, deviations: Deviation[]): ProfileVerdict {
  const names = (certificate.extensions.subjectAlternativeName ?? []).flatMap((name) =>
    name.kind === 'directory' ? [name.name.attributes] : [],
  );
  const [attributes] = names;
  if (attributes === undefined || names.length !== 1) {
    return refuse('EK_CERT_SAN', `alternative name holds ${names.length} directory names`);
  }
  const oids = attributes.map((attribute) => attribute.oid);
  if (new Set(oids).size !== oids.length) return refuse('EK_CERT_SAN', 'an attribute of the TPM is named twice');
  const written = valueOf(attributes, TPM_MANUFACTURER);
  if (written === undefined) return refuse('EK_CERT_SAN', 'manufacturer of the TPM is not named');
  const manufacturer = readManufacturer(written);
  if (!/^id:[0-9a-f]{8}$/i.test(written)) deviations.push({ code: 'MANUFACTURER_FORM', detail: claim(written) });
  for (const [oid, what] of [
    [TPM_MODEL, 'model'],
    [TPM_VERSION, 'version'],
  ] as const) {
    if (!oids.includes(oid)) deviations.push({ code: 'TPM_ATTRIBUTE_ABSENT', detail: what });
  }
  for (const oid of oids.filter((each) => ![TPM_MANUFACTURER, TPM_MODEL, TPM_VERSION].includes(each))) {
    deviations.push({ code: 'TPM_ATTRIBUTE_UNKNOWN', detail: oid });
  }
  const optional = (oid: string) => {
    const value = valueOf(attributes, oid);
    return value === undefined ? undefined : claim(value);
  };
  return {
    status: 'conforms',
    claims: { manufacturer, model: optional(TPM_MODEL), firmware: optional(TPM_VERSION) },
    deviations,
  };
}

/** `id:49465800` is the vendor id `IFX`, padded with NUL or blanks (TCG Vendor ID Registry). */
export function readManufacturer(written: string): string {
  const hex = /^id:([0-9a-f]{8})$/i.exec(written)?.[1];
  const text =
    hex === undefined
      ? ''
      : Buffer.from(hex, 'hex')
          .toString('latin1')
          .replace(/[\0 ]+$/, '');
  return /^[A-Za-z0-9]{2,4}$/.test(text) ? text : claim(written);
}

function valueOf(attributes: readonly NameAttribute[], oid: string): string | undefined {
  return attributes.find((attribute) => attribute.oid === oid)?.value;
}

function claim(text: string): string {
  return escapeText(text.slice(0, MAX_CLAIM_LENGTH));
}

function refuse(code: ProfileRefusalCode, detail: string): ProfileVerdict {
  return { status: 'refused', code, detail };
}
