/** How PCR 0 begins (PFP §3.3.2, §10.4.5.3): by the locality of TPM2_Startup, or by an H-CRTM sequence. */
import { EV_EFI_HCRTM_EVENT } from './event-types.ts';
import { FindingList } from './finding.ts';
import type { EventLogFinding } from './finding.ts';
import { EV_NO_ACTION } from './parse.ts';
import type { LogEvent } from './parse.ts';

export interface Startup {
  /** The last byte of PCR 0 at its start: 0 or 3 by TPM2_Startup, 4 after an H-CRTM sequence. */
  readonly locality: number;
  /** Did an H-CRTM (Part 1 §34) measure the firmware before it ran? */
  readonly hcrtm: boolean;
  readonly findings: readonly EventLogFinding[];
}

const STARTUP_LOCALITY = Buffer.from('StartupLocality\0', 'latin1');
const LOCALITIES: readonly number[] = [0, 3, 4];
const HCRTM_LOCALITY = 4;

/** The locality that a StartupLocality event states; undefined for other events and for one of another length. */
export function startupLocality({ type, data }: LogEvent): number | undefined {
  if (type !== EV_NO_ACTION || data.length !== STARTUP_LOCALITY.length + 1) return undefined;
  return data.subarray(0, -1).equals(STARTUP_LOCALITY) ? data[STARTUP_LOCALITY.length] : undefined;
}

/**
 * The event is not extended, so nothing but the value of PCR 0 proves it. It counts in PCR 0, once, before anything was extended
 * there; elsewhere it is reported and has no effect.
 */
export function findStart(events: readonly LogEvent[]): Startup {
  const findings = new FindingList();
  let stated: number | undefined;
  let hcrtm = false;
  let begun = false;
  for (const event of events) {
    const { index, pcr, type, offset } = event;
    const locality = startupLocality(event);
    const place = { event: index, pcr, offset };
    if (locality !== undefined) {
      if (pcr !== 0 || begun || stated !== undefined || !LOCALITIES.includes(locality)) {
        findings.add('STARTUP_LOCALITY_INVALID', place, `StartupLocality ${locality} is out of place or repeated`);
      } else {
        stated = locality;
      }
    } else if (pcr === 0 && type !== EV_NO_ACTION) {
      if (type === EV_EFI_HCRTM_EVENT && !begun) hcrtm = true;
      begun = true;
    }
  }
  if (hcrtm && stated !== undefined && stated !== HCRTM_LOCALITY) {
    const message = `StartupLocality ${stated} in spite of an H-CRTM, which starts PCR 0 at ${HCRTM_LOCALITY}`;
    findings.add('STARTUP_LOCALITY_CONFLICT', { pcr: 0 }, message);
  }
  return { locality: hcrtm ? HCRTM_LOCALITY : (stated ?? 0), hcrtm, findings: findings.list() };
}
