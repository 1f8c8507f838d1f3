/** What the event log room finds: one table of codes, one shape. `docs/inspect.md` lists the same codes for people. */

export type EventLogSeverity = 'error' | 'warning' | 'info';

/**
 * Codes by severity. An error says that the log must not be believed in what the finding names; a warning, that something
 * departs from the specification and the rest stands; info, what a reader should know. A code never changes its meaning.
 */
const CODES = {
  error: [
    'LOG_EMPTY',
    'LOG_TOO_LARGE',
    'LOG_TOO_MANY_EVENTS',
    'LOG_WITHOUT_MEASUREMENTS',
    'SPEC_ID_MALFORMED',
    'EVENT_TRUNCATED',
    'EVENT_MALFORMED',
    'EVENT_DIGEST_REPEATED',
    'EVENT_PCR_INVALID',
    'EVENT_TYPE_MISLABELLED',
    'EVENT_BANKS_DISAGREE',
    'STARTUP_LOCALITY_INVALID',
    'SEPARATOR_REPEATED',
    'SEPARATOR_INVALID',
    'FIRMWARE_ERROR',
    'PCR_MISMATCH',
    'BANK_AT_RESET',
    'BANK_NOT_IN_LOG',
    'BANK_NOT_REPLAYABLE',
    'SECURE_BOOT_EVENT_UNEXPECTED',
    'SECURE_BOOT_EVENT_UNVERIFIED',
    'SECURE_BOOT_VARIABLE_REPEATED',
    'SECURE_BOOT_VARIABLE_LATE',
    'SECURE_BOOT_VARIABLE_GUID',
    'SECURE_BOOT_VARIABLE_MALFORMED',
    'SECURE_BOOT_VARIABLE_MISSING',
    'SECURE_BOOT_SEPARATOR_MISSING',
    'SECURE_BOOT_AUTHORITY_EARLY',
    'SECURE_BOOT_AUTHORITY_NOT_IN_DB',
    'SECURE_BOOT_AUTHORITY_MALFORMED',
    'SECURE_BOOT_TOO_MANY_AUTHORITIES',
    'UEFI_DEBUG_MODE',
    'USERSPACE_LOG_TOO_LARGE',
    'USERSPACE_RECORD_MALFORMED',
    'USERSPACE_RECORD_OUT_OF_ORDER',
  ],
  warning: [
    'SPEC_ID_VENDOR_INFO',
    'BANK_UNSUPPORTED',
    'EVENT_DIGEST_MISSING',
    'EVENT_DIGEST_UNDECLARED',
    'EVENT_DATA_MISMATCH',
    'EVENT_TYPE_DOUBTFUL',
    'EVENT_PCR_UNEXPECTED',
    'NO_ACTION_DIGEST',
    'STARTUP_LOCALITY_CONFLICT',
    'SEPARATOR_MISSING',
    'EXIT_BOOT_SERVICES_MISSING',
    'EXIT_BOOT_SERVICES_FAILED',
    'SECURE_BOOT_AUTHORITY_MISSING',
    'SECURE_BOOT_AUTHORITY_WITHOUT_OWNER',
    'SECURE_BOOT_SBAT_LEVEL_LATE',
    'DMA_PROTECTION_DISABLED',
    'KERNEL_COMMAND_LINE_AMBIGUOUS',
    'USERSPACE_DATA_MISMATCH',
  ],
  info: [
    'LOG_PADDING',
    'EVENT_TYPE_UNKNOWN',
    'PCR_WITHOUT_EVENTS',
    'SECURE_BOOT_UNSET',
    'SECURE_BOOT_AUTHORITY_REPEATED',
    'SIGNATURE_CERTIFICATE_UNREADABLE',
    'SIGNATURE_TYPE_UNKNOWN',
  ],
} as const satisfies Readonly<Record<EventLogSeverity, readonly string[]>>;

export type EventLogCode = (typeof CODES)[EventLogSeverity][number];

/** The severity of each code. */
export const EVENT_LOG_CODES: ReadonlyMap<EventLogCode, EventLogSeverity> = new Map(
  (['error', 'warning', 'info'] as const).flatMap((severity) =>
    CODES[severity].map((code) => [code, severity] as const),
  ),
);

/** Where in log and PCRs a finding stands; what is not known is left out. */
export interface EventLogPlace {
  /** Index of the event, or of the record in the userspace log. */
  readonly event?: number | undefined;
  readonly pcr?: number | undefined;
  /** TPM_ALG_ID of the bank. */
  readonly bank?: number | undefined;
  /** Bytes from the start of the log. */
  readonly offset?: number | undefined;
}

/** `message` may carry text of the log: whoever shows it escapes it. */
export interface EventLogFinding extends EventLogPlace {
  readonly code: EventLogCode;
  readonly severity: EventLogSeverity;
  readonly message: string;
}

export function makeFinding(code: EventLogCode, place: EventLogPlace, message: string): EventLogFinding {
  return { code, severity: EVENT_LOG_CODES.get(code) ?? 'error', ...place, message };
}

/** Does anything here forbid to believe the log? */
export function hasErrors(findings: readonly EventLogFinding[]): boolean {
  return findings.some(({ severity }) => severity === 'error');
}

/** Findings of one kind that are kept one by one: a hostile log could hold a million of them. */
const MAX_OF_A_KIND = 64;

/** Collects findings; of each kind so many, the last of which says how many more there were. */
export class FindingList {
  readonly #byCode = new Map<EventLogCode, EventLogFinding[]>();
  readonly #more = new Map<EventLogCode, number>();

  add(code: EventLogCode, place: EventLogPlace, message: string): void {
    const kept = this.#byCode.get(code);
    if (kept === undefined) this.#byCode.set(code, [makeFinding(code, place, message)]);
    else if (kept.length < MAX_OF_A_KIND) kept.push(makeFinding(code, place, message));
    else this.#more.set(code, (this.#more.get(code) ?? 0) + 1);
  }

  /** Kind by kind, in the order in which the kinds were first met. */
  list(): readonly EventLogFinding[] {
    return [...this.#byCode].flatMap(([code, kept]) => {
      const more = this.#more.get(code);
      if (more === undefined) return kept;
      const last = kept[kept.length - 1];
      return last === undefined
        ? kept
        : [...kept.slice(0, -1), { ...last, message: `${last.message} (and ${more} more of this kind)` }];
    });
  }
}
