import { formatTable } from '../output.ts';
import type { Cell, Colour, TableStyle } from '../output.ts';
import type { OfflineFinding } from './offline-finding.ts';

const SEVERITY_COLOURS: Readonly<Record<OfflineFinding['severity'], Colour>> = {
  error: 'red',
  warning: 'yellow',
  info: 'dim',
};

/** Findings for a person, as they come last in every report. */
export function formatOfflineFindings(findings: readonly OfflineFinding[], style: TableStyle): string {
  if (findings.length === 0) return 'No findings.\n';
  const rows = findings.map(({ severity, code, message }): readonly Cell[] => [
    { text: severity, colour: SEVERITY_COLOURS[severity] },
    code,
    message,
  ]);
  return formatTable(['SEVERITY', 'CODE', 'FINDING'], rows, style);
}
