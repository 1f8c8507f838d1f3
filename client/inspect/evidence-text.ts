import { formatFields, idOf } from '../output.ts';
import type { Cell, Colour, TableStyle } from '../output.ts';
import type { EvidenceReport } from './evidence.ts';
import { formatOfflineFindings } from './findings-text.ts';
import type { OfflineFinding } from './offline-finding.ts';
import { quoteFacts, resultCell } from './quote-text.ts';

type Field = readonly [string, Cell];

const STATUS_COLOURS: Readonly<Record<string, Colour>> = {
  verified: 'green',
  valid: 'green',
  partial: 'yellow',
  unproven: 'yellow',
  unchecked: 'yellow',
  refused: 'red',
};

/** What evidence is worth, for a person: the verdict first, then each part, then what was found. */
export function formatEvidence(report: EvidenceReport, style: TableStyle): string {
  return [
    formatFields(
      [
        ['evidence', resultCell(report.result)],
        ['quote', resultCell(report.quote.result)],
        ['boot log', statusCell(report.bootLog)],
        ['IMA list', statusCell(report.imaList)],
        ...report.ekCertificates.map(({ file, status }): Field => [`EK certificate ${idOf(file)}`, colour(status)]),
      ],
      style,
    ),
    formatFields([...quoteFacts(report.quote), ...bootFacts(report), ...imaFacts(report), ...ekFacts(report)], style),
    formatOfflineFindings(allFindings(report), style),
  ].join('\n');
}

function statusCell(part: EvidenceReport['bootLog'] | EvidenceReport['imaList']): Cell {
  if (part === null) return { text: 'absent', colour: 'dim' };
  const reason = 'reason' in part ? `: ${part.reason}` : '';
  return { text: `${part.status}${reason}`, colour: STATUS_COLOURS[part.status] ?? 'dim' };
}

function colour(status: string): Cell {
  return { text: status, colour: STATUS_COLOURS[status] ?? 'dim' };
}

function bootFacts({ bootLog }: EvidenceReport): readonly Field[] {
  if (bootLog === null || 'reason' in bootLog) return [];
  const { secureBoot } = bootLog;
  const sbatLevel = secureBoot?.sbatLevel ?? null;
  return [
    ['boot log events', String(bootLog.events)],
    ['secure boot', secureBoot?.mode ?? 'not proven'],
    ...(secureBoot?.authorities ?? []).map(({ variable, sha256, signer }): Field => {
      return ['booted with', `${variable}: ${signer ?? sha256}`];
    }),
    ...(sbatLevel === null ? [] : [['sbat level', sbatLevel.trim()] as const]),
    ...bootLog.kernelCommandLines.map(({ text }): Field => ['kernel command line', text]),
  ];
}

function imaFacts({ imaList }: EvidenceReport): readonly Field[] {
  if (imaList === null || 'reason' in imaList) return [];
  const signatures = Object.entries(imaList.signatures).map(([kind, number]) => `${number} ${kind}`);
  return [
    ['IMA entries', `${imaList.entries} proven; ${imaList.waitingBytes} bytes follow`],
    ['violations', String(imaList.violations)],
    ['file signatures', signatures.join(', ')],
    ['boot aggregate', imaList.bootAggregate ?? '-'],
  ];
}

function ekFacts({ ekCertificates }: EvidenceReport): readonly Field[] {
  return ekCertificates.flatMap(({ file, subject, ekFingerprint, tpm }): readonly Field[] => [
    [`EK of ${idOf(file)}`, subject === '' ? '(empty subject)' : subject],
    ['EK fingerprint', ekFingerprint ?? '-'],
    ['TPM manufacturer', tpm.manufacturer === null ? '-' : (tpm.manufacturer.name ?? tpm.manufacturer.id)],
  ]);
}

function allFindings({ quote, bootLog, imaList, ekCertificates, findings }: EvidenceReport): readonly OfflineFinding[] {
  const ofPart = (part: typeof bootLog | typeof imaList) => (part === null || 'reason' in part ? [] : part.findings);
  return [
    ...quote.findings,
    ...([...ofPart(bootLog), ...ofPart(imaList)] as readonly OfflineFinding[]),
    ...ekCertificates.flatMap((certificate) => certificate.findings),
    ...findings,
  ];
}
