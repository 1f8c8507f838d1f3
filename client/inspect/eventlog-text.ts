/** A boot log for people: what booted first, the events in full after it, what is wrong last, where a terminal shows it. */
import type { CheckedEvent } from '../../tpm/eventlog/check-events.ts';
import { describeEventData } from '../../tpm/eventlog/describe-event.ts';
import { decodeEventData } from '../../tpm/eventlog/event-data.ts';
import { eventTypeName } from '../../tpm/eventlog/event-types.ts';
import type { EventLogFinding, EventLogSeverity } from '../../tpm/eventlog/finding.ts';
import type { EventLogReading } from '../../tpm/eventlog/read-event-log.ts';
import type { SecureBootState, SignatureDatabase } from '../../tpm/eventlog/secure-boot-state.ts';
import type { Signers } from '../../tpm/eventlog/signers.ts';
import { algorithmName } from '../../tpm/structures/constants.ts';
import { formatFields, formatTable } from '../output.ts';
import type { Cell, Colour, TableStyle } from '../output.ts';

/** Characters of one event's data that are shown. */
const MAX_DATA_CHARACTERS = 120;

export function formatEventLog(reading: EventLogReading, signers: Signers, style: TableStyle): string {
  return [
    formatFields(summaryOf(reading, signers), style),
    formatTable(['EVENT', 'PCR', 'TYPE', 'VERIFIED', 'DATA'], reading.log.events.map(eventRow), style),
    ...(reading.userspace === undefined ? [] : [formatUserspace(reading, style)]),
    formatTable(['BANK', 'PCR', 'VALUE'], pcrRows(reading), style),
    formatFindings(reading.findings, style),
  ].join('\n');
}

function summaryOf(reading: EventLogReading, signers: Signers): readonly (readonly [string, Cell])[] {
  const { log, boot, bootAggregates, secureBoot } = reading;
  const banks = log.banks.map(({ alg }) => algorithmName(alg)).join(', ');
  return [
    ['format', `${log.format} (${banks})`],
    ['events', `${log.events.length}${log.complete ? '' : ', and more that could not be read'}`],
    ['secure boot', modeCell(secureBoot)],
    ...Object.entries(secureBoot.databases).flatMap(([name, database]): readonly (readonly [string, Cell])[] =>
      database.state === 'absent' ? [] : [[name, describeDatabase(database, signers)]],
    ),
    ...secureBoot.authorities.map(({ variable, sha256, inDb }): readonly [string, Cell] => {
      const name = signers.bySha256.get(sha256)?.subject ?? sha256;
      return ['verified with', `${variable}: ${name}${inDb === false ? ' (not in db)' : ''}`];
    }),
    ...(secureBoot.shimOff === true ? [['shim', { text: 'verifies nothing', colour: 'red' } as const] as const] : []),
    ...(secureBoot.sbatLevel === undefined ? [] : [['sbat level', secureBoot.sbatLevel.trim()] as const]),
    ...boot.kernel.commandLines.map(({ text, verified, source }): readonly [string, Cell] => {
      const shown = text ?? 'measured, and not in the log';
      return ['kernel command line', verified ? shown : `${shown} (by ${source}, not verified)`];
    }),
    ...boot.kernel.initrds.map(({ name }): readonly [string, Cell] => ['initrd', name]),
    ['exit boot services', boot.exitBootServices],
    ...[...bootAggregates].map(([alg, { pcr0To7, pcr0To9 }]): readonly [string, Cell] => {
      const name = algorithmName(alg);
      return ['boot aggregate', `${name}:${(name === 'sha1' ? pcr0To7 : pcr0To9).toString('hex')}`];
    }),
  ];
}

function modeCell({ mode }: SecureBootState): Cell {
  const colours: Readonly<Record<typeof mode, Colour>> = {
    enabled: 'green',
    disabled: 'red',
    unset: 'yellow',
    unknown: 'yellow',
  };
  return { text: mode, colour: colours[mode] };
}

function describeDatabase(database: SignatureDatabase, signers: Signers): string {
  if (database.state !== 'read') return database.state;
  const { signatures } = database.lists;
  if (signatures.length === 0) return 'empty';
  const kinds = Map.groupBy(signatures, ({ kind }) => kind);
  const counts = [...kinds].map(([kind, entries]) => `${entries.length} ${kind}`).join(', ');
  const certificates = kinds.get('x509') ?? [];
  const subjects = certificates.flatMap(({ data }) => signers.subjectOf(data) ?? []);
  return subjects.length === 0 ? counts : `${counts}: ${subjects.join('; ')}`;
}

function eventRow(event: CheckedEvent): readonly Cell[] {
  const { index, pcr, type, verified, covers } = event;
  const shown = describeEventData(decodeEventData(event));
  const data = shown.length > MAX_DATA_CHARACTERS ? `${shown.slice(0, MAX_DATA_CHARACTERS)}…` : shown;
  const state: Cell = verified ? { text: 'yes', colour: 'green' } : { text: covers, colour: 'dim' };
  return [String(index), pcr > 0xffff ? 'none' : String(pcr), eventTypeName(type).replace(/^EV_/, ''), state, data];
}

function formatUserspace({ userspace }: EventLogReading, style: TableStyle): string {
  const rows = (userspace?.records ?? []).map(({ index, pcr, eventType, text, verified }): readonly Cell[] => [
    String(index),
    pcr === undefined ? 'none' : String(pcr),
    eventType,
    verified ? { text: 'yes', colour: 'green' } : { text: 'no', colour: 'dim' },
    text,
  ]);
  return formatTable(['RECORD', 'PCR', 'TYPE', 'VERIFIED', 'TEXT'], rows, style);
}

function pcrRows({ replay, pcrs }: EventLogReading): readonly (readonly Cell[])[] {
  const outcomes = new Map(pcrs.map(({ bank, pcr, outcome }) => [`${bank}/${pcr}`, outcome]));
  return [...replay.pcrs].flatMap(([alg, values]) =>
    [...values].map(([pcr, value]): readonly Cell[] => {
      const outcome = outcomes.get(`${alg}/${pcr}`);
      const suffix = outcome === undefined || outcome === 'explained' ? '' : ` (${outcome})`;
      return [algorithmName(alg), String(pcr), `${value.toString('hex')}${suffix}`];
    }),
  );
}

const SEVERITY_COLOURS: Readonly<Record<EventLogSeverity, Colour>> = { error: 'red', warning: 'yellow', info: 'dim' };

function formatFindings(findings: readonly EventLogFinding[], style: TableStyle): string {
  if (findings.length === 0) return 'no findings\n';
  const rows = findings.map(({ severity, code, event, message }): readonly Cell[] => [
    { text: severity, colour: SEVERITY_COLOURS[severity] },
    code,
    event === undefined ? '-' : String(event),
    message,
  ]);
  return formatTable(['SEVERITY', 'FINDING', 'EVENT', 'MESSAGE'], rows, style);
}
