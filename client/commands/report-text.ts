import {
  escapeText,
  formatFields,
  formatLabels,
  formatLine,
  formatTable,
  formatTime,
  idOf,
  statusCell,
} from '../output.ts';
import type { Cell, TableStyle } from '../output.ts';
import type { HostException, PlatformReport, PolicyReport, StatusCounts } from '../sdk/convert-report.ts';

/** How a platform report looks to a person: on a terminal, and as a document. */

const STATUSES = ['AFFIRMING', 'WARNING', 'CONTRAINDICATED', 'NONE'] as const;

/** For a terminal. */
export function formatReport(report: PlatformReport, style: TableStyle): string {
  const parts = [formatFields(fieldsOf(report), style)];
  const counts = STATUSES.map((status) => [statusCell(status), countOf(report.hosts, status).toString()]);
  parts.push(formatTable(['STATUS', 'HOSTS'], counts, style));
  for (const policy of report.policies) {
    const lines = [
      policyTitle(policy),
      `  ${countsLine(policy.hosts)}`,
      ...sentencesOf(policy).map((line) => `  - ${line}`),
    ];
    parts.push(lines.map((line) => `${escapeText(line)}\n`).join(''));
  }
  const more = report.policyCount - report.policies.length;
  if (more > 0) parts.push(`and ${more} more policies\n`);
  if (report.exceptions.length > 0) {
    const hosts = report.exceptions.map((exception) => formatException(exception, style));
    parts.push(`not affirmed:\n${hosts.join('')}${unlisted(report)}`);
  }
  return parts.join('\n');
}

/** As a document in Markdown (CommonMark with tables): whatever hosts and operators wrote stays text. */
export function formatReportMarkdown(report: PlatformReport): string {
  const lines = ['# Security status of the platform', ''];
  for (const [name, cell] of fieldsOf(report)) lines.push(`* ${name}: ${markdown(cell)}`);
  lines.push(
    '',
    ...markdownTable(
      ['Status', 'Hosts'],
      STATUSES.map((status) => [status, countOf(report.hosts, status).toString()]),
    ),
  );
  for (const policy of report.policies) {
    lines.push('', `## Policy ${markdown(policyTitle(policy))}`, '', `${markdown(countsLine(policy.hosts))}`, '');
    lines.push(...sentencesOf(policy).map((line) => `* ${markdown(line)}`));
  }
  const more = report.policyCount - report.policies.length;
  if (more > 0) lines.push('', `And ${more} more policies.`);
  if (report.exceptions.length > 0) {
    lines.push(
      '',
      '## Hosts that are not affirmed',
      '',
      ...markdownTable(EXCEPTION_HEADER, report.exceptions.map(exceptionRow)),
    );
    const rest = unlisted(report).trim();
    if (rest !== '') lines.push('', rest);
  }
  return `${lines.join('\n')}\n`;
}

function fieldsOf(report: PlatformReport): readonly (readonly [string, Cell])[] {
  return [
    ['deployment', report.deployment],
    ['time', formatTime(report.reportTime)],
    ['revision', report.revision.toString()],
    ['scope', Object.keys(report.matchLabels).length === 0 ? 'every host' : formatLabels(report.matchLabels)],
    ['hosts', report.hostCount.toString()],
    ['oldest appraisal', formatTime(report.oldestChallengeTime)],
    ['first to end', formatTime(report.earliestValidUntil)],
  ];
}

/** Sentences are too long for a table on a terminal. */
function formatException(exception: HostException, style: TableStyle): string {
  const { host, nodeName, status, sinceTime, trustPolicy } = exception;
  const judged = trustPolicy === '' ? '' : `, by ${idOf(trustPolicy)}`;
  const lines = [`since ${formatTime(sinceTime)}${judged}`, ...reasonsOf(exception).map((reason) => `- ${reason}`)];
  const name: readonly Cell[] = nodeName === '' ? [idOf(host)] : [idOf(host), nodeName];
  return formatLine([...name, statusCell(status)], style) + lines.map((line) => `  ${escapeText(line)}\n`).join('');
}

function reasonsOf({ reasons, reasonCount }: HostException): readonly string[] {
  const more = reasonCount - reasons.length;
  return [...reasons.map(({ reason, message }) => `${reason}: ${message}`), ...(more > 0 ? [`and ${more} more`] : [])];
}

const EXCEPTION_HEADER = ['HOST', 'NODE NAME', 'STATUS', 'SINCE', 'POLICY', 'REASONS'] as const;

function exceptionRow(exception: HostException): readonly Cell[] {
  const { host, nodeName, status, sinceTime, trustPolicy } = exception;
  return [
    idOf(host),
    nodeName === '' ? '-' : nodeName,
    statusCell(status),
    formatTime(sinceTime),
    trustPolicy === '' ? '-' : idOf(trustPolicy),
    reasonsOf(exception).join(' ') || '-',
  ];
}

function unlisted({ exceptions, exceptionCount }: PlatformReport): string {
  const more = exceptionCount - BigInt(exceptions.length);
  return more > 0n ? `and ${more} more hosts that are not affirmed\n` : '';
}

function policyTitle({ trustPolicy, version, description }: PolicyReport): string {
  return `${idOf(trustPolicy)}@${version}${description === '' ? '' : `: ${description}`}`;
}

function sentencesOf({ requirements, requirementCount }: PolicyReport): readonly string[] {
  const more = requirementCount - requirements.length;
  return more > 0 ? [...requirements, `and ${more} more`] : requirements;
}

function countsLine(counts: StatusCounts): string {
  return STATUSES.map((status) => `${countOf(counts, status)} ${status}`).join(', ');
}

function countOf(counts: StatusCounts, status: (typeof STATUSES)[number]): bigint {
  return counts[status.toLowerCase() as Lowercase<typeof status>];
}

function markdownTable(header: readonly string[], rows: readonly (readonly Cell[])[]): readonly string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map((row) => line(row.map(markdown)))];
}

/** Punctuation that Markdown, its tables and autolinks, or HTML could act upon is taken literally (CommonMark §2.4). */
function markdown(cell: Cell): string {
  const text = escapeText(typeof cell === 'string' ? cell : cell.text);
  return text.replace(/[\\`*_{}[\]()<>#+!|~&:@$.]|^-/g, (character) => `\\${character}`);
}
