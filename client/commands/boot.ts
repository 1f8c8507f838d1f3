import { formatFields, formatTable } from '../output.ts';
import type { Cell, Colour, TableStyle } from '../output.ts';
import type { BootReport, MeasuredText } from '../sdk/boot-report.ts';

/** What a host booted, for people: whether it is proven first, then what booted, then the events. */
export function describeBoot(report: BootReport, style: TableStyle): string {
  const events = report.events.map(({ index, pcr, type, verified, covers, data }): readonly Cell[] => [
    String(index),
    pcr > 0xffff ? 'none' : String(pcr),
    type.replace(/^EV_/, ''),
    verified ? { text: 'yes', colour: 'green' } : { text: covers, colour: 'dim' },
    data,
  ]);
  const records = report.userspaceRecords.map(({ index, pcr, source, text, verified }): readonly Cell[] => [
    String(index),
    String(pcr),
    source,
    verified ? { text: 'yes', colour: 'green' } : { text: 'no', colour: 'dim' },
    text,
  ]);
  return [
    formatFields(summaryOf(report), style),
    ...(events.length === 0 ? [] : [formatTable(['EVENT', 'PCR', 'TYPE', 'VERIFIED', 'DATA'], events, style)]),
    ...(records.length === 0 ? [] : [formatTable(['RECORD', 'PCR', 'TYPE', 'VERIFIED', 'TEXT'], records, style)]),
    ...(report.findings.length === 0 ? [] : [formatFindings(report, style)]),
  ].join('\n');
}

const STATES: Readonly<Record<string, { readonly text: string; readonly colour: Colour }>> = {
  VERIFIED: { text: 'verified: it explains the proven PCRs of every active bank', colour: 'green' },
  UNVERIFIED: { text: 'not verified: nothing of it is believed', colour: 'red' },
  MISSING: { text: 'missing', colour: 'yellow' },
  UNPROVEN: { text: 'not proven yet for the present boot', colour: 'yellow' },
};

function summaryOf(report: BootReport): readonly (readonly [string, Cell])[] {
  const { problem, secureBoot } = report;
  return [
    ['host', report.host],
    ['boot log', STATES[report.state] ?? report.state],
    ...(problem === undefined
      ? []
      : ([
          ['reason', `${problem.reason}: ${problem.message}`],
          ['observed', problem.observed],
        ] as const)),
    ...(report.format === ''
      ? []
      : ([
          ['format', `${report.format} (${report.banks.join(', ')})`],
          ['events', String(report.eventCount)],
        ] as const)),
    ...(secureBoot === undefined ? [] : secureBootFields(secureBoot)),
    ...report.kernelCommandLines.map((line): readonly [string, Cell] => ['kernel command line', textCell(line)]),
    ...report.initrds.map(({ text }): readonly [string, Cell] => ['initrd', text]),
    ...(report.exitBootServices === '' ? [] : [['exit boot services', report.exitBootServices] as const]),
    ...report.phases.map(({ name, firstEvent, eventCount }): readonly [string, Cell] => [
      'phase',
      `${name}: ${eventCount} events from ${firstEvent}`,
    ]),
  ];
}

function secureBootFields(secureBoot: NonNullable<BootReport['secureBoot']>): readonly (readonly [string, Cell])[] {
  const { mode, databases, authorities, sbatLevel, mokMeasurements, weaknesses } = secureBoot;
  return [
    ['secure boot', { text: mode, colour: mode === 'enabled' ? 'green' : mode === 'disabled' ? 'red' : 'yellow' }],
    ...(weaknesses.length === 0 ? [] : [['weakened by', { text: weaknesses.join(', '), colour: 'red' }] as const]),
    ...databases.map(({ name, state, entries }): readonly [string, Cell] => [
      'database',
      `${name}: ${state === 'read' ? `${entries} entries` : state}`,
    ]),
    ...authorities.map(({ variable, sha256, subject }): readonly [string, Cell] => [
      'verified with',
      `${variable}: ${subject === '' ? 'no certificate' : subject}  ${sha256}`,
    ]),
    ...(sbatLevel === '' ? [] : [['sbat level', sbatLevel.trim()] as const]),
    ...(mokMeasurements.length === 0 ? [] : [['owner lists', mokMeasurements.join(', ')] as const]),
  ];
}

function textCell({ text, verified, source }: MeasuredText): Cell {
  if (text === '') return 'measured, and not in the log';
  return verified ? text : `${text} (by ${source}, not verified)`;
}

function formatFindings({ findings }: BootReport, style: TableStyle): string {
  const colours: Readonly<Record<string, Colour>> = { error: 'red', warning: 'yellow', info: 'dim' };
  const rows = findings.map(({ severity, code, message }): readonly Cell[] => [
    { text: severity, colour: colours[severity] ?? 'yellow' },
    code,
    message,
  ]);
  return formatTable(['SEVERITY', 'FINDING', 'MESSAGE'], rows, style);
}
