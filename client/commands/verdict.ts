import { formatFields, formatLabels, formatTable, formatTime, idOf, statusCell } from '../output.ts';
import type { Cell, TableStyle } from '../output.ts';
import type { AttestationResult } from '../sdk/resources.ts';

/** How a verdict looks to a person. */

export const VERDICT_HEADER = [
  'HOST',
  'NODE NAME',
  'STATUS',
  'CONNECTIVITY',
  'POLICY',
  'VALID UNTIL',
  'REVISION',
  'REASONS',
  'LABELS',
] as const;

/** The cells under {@link VERDICT_HEADER}. */
export function verdictRow(result: AttestationResult): readonly Cell[] {
  return [
    idOf(result.host),
    result.nodeName === '' ? '-' : result.nodeName,
    statusCell(result.status),
    statusCell(result.connectivity),
    policyOf(result),
    formatTime(result.validUntil),
    result.revision.toString(),
    reasonsOf(result),
    formatLabels(result.labels),
  ];
}

/** Name and version of the policy that judged; `-` where none did. */
export function policyOf({ trustPolicy, trustPolicyVersion }: AttestationResult): string {
  return trustPolicy === '' ? '-' : `${idOf(trustPolicy)}@${trustPolicyVersion}`;
}

/** Reason codes of the checks that did not pass; `-` where all did. */
export function reasonsOf({ checks }: AttestationResult): string {
  const reasons = new Set(checks.filter(({ outcome }) => outcome !== 'PASSED').map(({ reason }) => reason));
  return reasons.size === 0 ? '-' : [...reasons].join(',');
}

/** Everything of one verdict, check by check. */
export function describeVerdict(result: AttestationResult, style: TableStyle): string {
  const fields = formatFields(
    [
      ['host', result.host],
      ['node name', result.nodeName === '' ? '-' : result.nodeName],
      ['status', statusCell(result.status)],
      ['connectivity', statusCell(result.connectivity)],
      ['policy', policyOf(result)],
      ['endorsements', result.endorsementVersion === 0n ? '-' : `version ${result.endorsementVersion}`],
      ['valid until', formatTime(result.validUntil)],
      ['challenged', formatTime(result.challengeTime)],
      ['revision', `${result.revision} of ${formatTime(result.revisionTime)}, confirmed ${result.confirmations} times`],
    ],
    style,
  );
  const rows = result.checks.map((check): readonly Cell[] => [
    statusCell(check.outcome),
    check.id,
    check.reason === '' ? '-' : check.reason,
    check.message,
  ]);
  if (rows.length === 0) return fields;
  // Digests stand below one another in a table of their own: beside the messages no terminal would hold them.
  const values = result.checks.flatMap(({ id, observed, expected }) => [
    ...(observed === '' ? [] : [[id, 'observed', observed]]),
    ...(expected === '' ? [] : [[id, 'expected', expected]]),
  ]);
  const checks = formatTable(['CHECK', 'ID', 'REASON', 'MESSAGE'], rows, style);
  return `${fields}\n${checks}${values.length === 0 ? '' : `\n${formatTable(['ID', 'WHAT', 'VALUE'], values, style)}`}`;
}
