import { DEVIATION } from '../../tpm/endorsement/deviation.ts';
import { formatFields, formatTable } from '../output.ts';
import type { Cell, TableStyle } from '../output.ts';
import type { KeyReport } from './certificate-report.ts';
import type { EkCertificateReport, PathReport } from './ek-certificate.ts';
import { formatOfflineFindings } from './findings-text.ts';

/** Characters of an extension's value that are shown. */
const MAX_VALUE_CHARACTERS = 80;

/** What an EK certificate says, for a person. */
export function formatEkCertificate(report: EkCertificateReport, style: TableStyle): string {
  const { certificate, chain, deviations } = report;
  const extensions = certificate.extensions.map(({ oid, name, critical, value }): readonly Cell[] => {
    const shown = value.length > MAX_VALUE_CHARACTERS ? `${value.slice(0, MAX_VALUE_CHARACTERS)}…` : value;
    return [name ?? oid, critical ? 'yes' : 'no', shown];
  });
  return [
    formatFields(factsOf(report), style),
    formatTable(['EXTENSION', 'CRITICAL', 'VALUE'], extensions, style),
    ...(chain.length === 0 ? [] : [formatCertificates('CHAIN', chain, style)]),
    ...(report.path.status === 'valid' ? [formatCertificates('PATH', report.path.certificates, style)] : []),
    ...(deviations.length === 0 ? [] : [formatDeviations(report, style)]),
    formatOfflineFindings(report.findings, style),
  ].join('\n');
}

function factsOf({ certificate, tpm, path }: EkCertificateReport): readonly (readonly [string, Cell])[] {
  const { manufacturer } = tpm;
  const purposes = certificate.extendedKeyUsage?.map(({ oid, name }) => name ?? oid);
  return [
    ['subject', certificate.subject === '' ? '(empty)' : certificate.subject],
    ['issuer', certificate.issuer],
    ['serial', certificate.serial],
    ['valid', `${certificate.notBefore} to ${certificate.notAfter}`],
    ['key', describeKey(certificate.key)],
    ['EK fingerprint', certificate.key.sha256 ?? '-'],
    ['certificate SHA-256', certificate.sha256],
    ['signed with', certificate.signatureAlgorithm.name ?? certificate.signatureAlgorithm.oid],
    ['TPM manufacturer', manufacturer === null ? '-' : `${manufacturer.name ?? 'unknown maker'} (${manufacturer.id})`],
    ['TPM model', tpm.model ?? '-'],
    ['TPM firmware', tpm.firmwareVersion ?? '-'],
    ['key usage', certificate.keyUsage?.join(', ') ?? '-'],
    ['purposes', purposes?.join(', ') ?? '-'],
    ['path', pathCell(path)],
  ];
}

function describeKey({ algorithm, bits, curve, exponent }: KeyReport): string {
  if (algorithm === null) return 'none that can be used';
  return algorithm === 'ec' ? `EC ${curve ?? ''}` : `RSA ${bits ?? '?'} bits, exponent ${exponent ?? 'too large'}`;
}

function pathCell(path: PathReport): Cell {
  if (path.status === 'valid') return { text: `valid, up to ${path.anchor}`, colour: 'green' };
  if (path.status === 'refused') return { text: `${path.code}: ${path.detail}`, colour: 'red' };
  return { text: 'unchecked: no trust anchors were given', colour: 'yellow' };
}

function formatCertificates(title: string, certificates: EkCertificateReport['chain'], style: TableStyle): string {
  const rows = certificates.map(({ subject, serial, notAfter, sha256 }, index): readonly Cell[] => {
    return [String(index), subject === '' ? '(empty)' : subject, serial, notAfter, sha256];
  });
  return formatTable([title, 'SUBJECT', 'SERIAL', 'VALID UNTIL', 'SHA-256'], rows, style);
}

function formatDeviations({ deviations }: EkCertificateReport, style: TableStyle): string {
  const rows = deviations.map(({ code, detail }): readonly Cell[] => [code, detail, DEVIATION[code]]);
  return formatTable(['DEVIATION', 'WHERE', 'MEANING'], rows, style);
}
