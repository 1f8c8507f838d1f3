/** The separators that end the firmware's part of PCR 0 to 7 (PFP §3.3.1, §10.4.5.3). */
import type { CheckedLog } from './check-events.ts';
import { EV_SEPARATOR, SEPARATOR_ERROR, SEPARATOR_ONES, SEPARATOR_ZERO } from './event-types.ts';
import { FindingList } from './finding.ts';
import type { EventLogFinding } from './finding.ts';

const SEPARATED_PCRS = [0, 1, 2, 3, 4, 5, 6, 7];
/** Windows ends its own part of some PCRs with the name of its log. */
const WINDOWS_PCRS: readonly number[] = [11, 12, 13, 14];
const WINDOWS_SEPARATOR = Buffer.from('WBCL');

/** Each of the PCRs that the firmware extends has exactly one separator; one of value 1 says that the firmware failed. */
export function checkSeparators(log: CheckedLog): readonly EventLogFinding[] {
  const findings = new FindingList();
  const seen = new Set<number>();
  for (const { index, pcr, type, offset, measured, data, covers } of log.events) {
    if (type !== EV_SEPARATOR) continue;
    const place = { event: index, pcr, offset };
    if (seen.has(pcr) && SEPARATED_PCRS.includes(pcr)) {
      findings.add('SEPARATOR_REPEATED', place, `pcr ${pcr} has a second separator`);
    }
    seen.add(pcr);
    if (measured === undefined) continue;
    if (covers === 'separator-value' || measured.equals(SEPARATOR_ERROR)) {
      const said = covers === 'separator-value' ? `: ${data.toString('latin1')}` : '';
      findings.add('FIRMWARE_ERROR', place, `the firmware reports an error in pcr ${pcr}${said}`);
    } else if (!isSeparator(measured, pcr)) {
      findings.add('SEPARATOR_INVALID', place, `${measured.toString('hex')} is no value of a separator`);
    }
  }
  for (const pcr of SEPARATED_PCRS) {
    if (seen.has(pcr) || !log.events.some((event) => event.pcr === pcr && event.digests.length > 0)) continue;
    findings.add('SEPARATOR_MISSING', { pcr }, `the firmware's part of pcr ${pcr} has no end`);
  }
  return findings.list();
}

function isSeparator(measured: Buffer, pcr: number): boolean {
  if (measured.equals(SEPARATOR_ZERO) || measured.equals(SEPARATOR_ONES)) return true;
  return WINDOWS_PCRS.includes(pcr) && measured.equals(WINDOWS_SEPARATOR);
}
