/** What PCR 7 says of Secure Boot (PFP §3.3.4.8, §10.4.4), from verified events alone. */
import { readSecureBootEvents } from './secure-boot-events.ts';
import type { CheckedEvent, CheckedLog } from './check-events.ts';
import { EV_IPL } from './event-types.ts';
import { FindingList } from './finding.ts';
import type { EventLogFinding } from './finding.ts';
import type { MokMeasurement, SecureBootState, SignatureDatabaseName } from './secure-boot-state.ts';

export interface SecureBoot {
  readonly state: SecureBootState;
  readonly findings: readonly EventLogFinding[];
}

/** What must have been measured if Secure Boot is on. */
const REQUIRED: readonly SignatureDatabaseName[] = ['PK', 'KEK', 'db'];
const MOK_PCR = 14;

/** Reads the state of Secure Boot. Never throws, never gives up. */
export function readSecureBoot(log: CheckedLog): SecureBoot {
  const findings = new FindingList();
  const events = readSecureBootEvents(log.events, findings);
  const state: SecureBootState = { ...events, mokMeasurements: readMokMeasurements(log.events) };
  checkCompleteness(state, findings);
  return { state, findings: findings.list() };
}

function checkCompleteness(state: SecureBootState, findings: FindingList): void {
  const place = { pcr: 7 };
  if (state.mode === 'unset') {
    findings.add('SECURE_BOOT_UNSET', place, 'the firmware measured an empty SecureBoot variable');
  }
  if (state.mode !== 'enabled') return;
  for (const name of REQUIRED) {
    const database = state.databases[name];
    if (database.state === 'absent' || (database.state === 'read' && database.lists.isEmpty)) {
      findings.add('SECURE_BOOT_VARIABLE_MISSING', place, `Secure Boot is on, and ${name} is missing or empty`);
    }
  }
  if (state.separator === undefined) {
    findings.add('SECURE_BOOT_SEPARATOR_MISSING', place, 'Secure Boot is on, and pcr 7 has no separator');
  }
  if (!state.authorities.some(({ source }) => source === 'db')) {
    findings.add('SECURE_BOOT_AUTHORITY_MISSING', place, 'Secure Boot is on, and no image was verified with db');
  }
}

function readMokMeasurements(events: readonly CheckedEvent[]): readonly MokMeasurement[] {
  return events
    .filter(({ pcr, type }) => pcr === MOK_PCR && type === EV_IPL)
    .map(({ index, data, digests }) => ({ event: index, name: data.toString('latin1').replace(/\0+$/, ''), digests }));
}
