import { formatFields, formatTable } from '../output.ts';
import type { Cell, Colour, TableStyle } from '../output.ts';
import type { ImaFinding } from '../../tpm/ima/findings.ts';
import type { ImaReport } from './ima.ts';

/** What a list says, for a person. */
export function formatImaReport(report: ImaReport, style: TableStyle): string {
  const facts = formatFields(factsOf(report), style);
  if (report.findings.length === 0) return `${facts}\nNo findings.\n`;
  const header = ['SEVERITY', 'CODE', 'ENTRY', 'FINDING'];
  return `${facts}\n${formatTable(header, report.findings.map(findingRow), style)}${more(report)}`;
}

function factsOf(report: ImaReport): readonly (readonly [string, Cell])[] {
  const { bootAggregate, prefix } = report;
  const boot = bootAggregate === null ? 'none' : `${bootAggregate.algorithm}:${bootAggregate.digest}`;
  return [
    ['form', report.form],
    ['entries', String(report.entries)],
    ['templates', listCounts(report.templates)],
    ['violations', { text: String(report.violations), colour: report.violations > 0 ? 'yellow' : 'dim' }],
    ['signatures', listCounts(report.signatures)],
    ['boot aggregate', bootAggregate?.variant === undefined ? boot : `${boot} over ${bootAggregate.variant}`],
    ...Object.entries(report.pcr10).map(([bank, value]) => [`PCR 10 ${bank}`, value] as const),
    ...Object.entries(report.pcr10ZeroPadded).map(([bank, value]) => [`PCR 10 ${bank} (SHA-1 padded)`, value] as const),
    ...report.keysAdded.map(({ keyring, fingerprint }) => [`key added to ${keyring}`, fingerprint] as const),
    ...(prefix === undefined
      ? []
      : [['PCR 10 given', `after ${prefix.entries} entries; ${prefix.waitingBytes} bytes follow`] as const]),
  ];
}

function listCounts(counts: Readonly<Record<string, number>>): string {
  const words = Object.entries(counts).map(([word, number]) => `${number} ${word}`);
  return words.length === 0 ? '-' : words.join(', ');
}

const SEVERITY_COLOURS: Readonly<Record<ImaFinding['severity'], Colour>> = {
  error: 'red',
  warning: 'yellow',
  info: 'dim',
};

function findingRow({ severity, code, index, message }: ImaFinding): readonly Cell[] {
  return [
    { text: severity, colour: SEVERITY_COLOURS[severity] },
    code,
    index === undefined ? '-' : String(index),
    message,
  ];
}

/** Of codes with many findings only the first are in the table. */
function more({ findings, findingCounts }: ImaReport): string {
  const lines = Object.entries(findingCounts).map(([code, total]) => {
    const hidden = total - findings.filter((finding) => finding.code === code).length;
    return hidden > 0 ? `and ${hidden} more ${code}\n` : '';
  });
  return lines.join('');
}
