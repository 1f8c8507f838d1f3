/**
 * What can be said against an IMA list. One row per code: the code is stable, the severity says what it means for the list as a
 * whole. A list is consistent when no finding of severity `error` is made; what a policy makes of the others is its own matter.
 */
export type ImaSeverity = 'error' | 'warning' | 'info';

const severities = {
  // The list as bytes
  IMA_LAYOUT_UNKNOWN: 'error',
  IMA_ENTRY_MALFORMED: 'error',
  IMA_ENTRY_TOO_LARGE: 'error',
  IMA_LIST_TOO_LONG: 'error',
  IMA_LIST_ENDS_INSIDE_ENTRY: 'warning',
  // One entry
  IMA_TEMPLATE_UNKNOWN: 'error',
  IMA_TEMPLATE_AMBIGUOUS: 'warning',
  IMA_TEMPLATE_HASH_MISMATCH: 'error',
  IMA_FIELD_MALFORMED: 'error',
  IMA_DIGEST_ALGORITHM_UNKNOWN: 'warning',
  IMA_PCR_UNCOVERED: 'warning',
  IMA_VIOLATION: 'warning',
  IMA_BUFFER_DIGEST_MISMATCH: 'error',
  IMA_KEXEC: 'warning',
  // The boot
  IMA_BOOT_AGGREGATE_MISSING: 'warning',
  IMA_BOOT_AGGREGATE_REPEATED: 'warning',
  IMA_BOOT_AGGREGATE_EMPTY: 'warning',
  IMA_BOOT_AGGREGATE_MISMATCH: 'error',
  IMA_BOOT_AGGREGATE_UNCHECKED: 'warning',
  // The list against the PCRs
  IMA_LOG_INCOMPLETE: 'error',
  IMA_LOG_EMPTY: 'warning',
  // Signatures
  IMA_SIGNATURE_INVALID: 'error',
  IMA_SIGNATURE_KEY_UNKNOWN: 'info',
  IMA_SIGNATURE_UNSUPPORTED: 'warning',
  IMA_KEY_ADDED: 'info',
  IMA_KEY_UNREADABLE: 'warning',
} as const satisfies Readonly<Record<string, ImaSeverity>>;

export type ImaFindingCode = keyof typeof severities;

/** Every code with its severity, for documentation and for those who judge by it. */
export const IMA_FINDING_SEVERITIES: Readonly<Record<ImaFindingCode, ImaSeverity>> = severities;

/** Where in the list a finding is. `index` counts entries from 0 over the whole list, `offset` counts its bytes. */
export interface ImaPlace {
  readonly index?: number;
  readonly offset?: number;
}

/** `message` may quote names from the list, unescaped: whoever shows it to a person escapes it. */
export interface ImaFinding extends ImaPlace {
  readonly code: ImaFindingCode;
  readonly severity: ImaSeverity;
  readonly message: string;
}

/** Makes a finding; its severity is the code's. */
export function imaFinding(code: ImaFindingCode, place: ImaPlace, message: string): ImaFinding {
  return { code, severity: severities[code], ...place, message };
}

/** Characters of a name from the list that a message quotes. */
const MAX_QUOTED = 120;

/** A name for a message, shortened: what a host can write it can also make long. */
export function quoteName(name: string): string {
  return name.length <= MAX_QUOTED ? name : `${name.slice(0, MAX_QUOTED)}…`;
}
