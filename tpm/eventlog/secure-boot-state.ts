/** The shape of what is known of Secure Boot. */
import type { SignatureLists } from './signature-list.ts';

/** `unset`: the firmware measured the variable as empty, so it has no Secure Boot; `unknown`: nothing verified says. */
export type SecureBootMode = 'enabled' | 'disabled' | 'unset' | 'unknown';

/** A variable that the firmware measured. `absent`: not in the log, or not believed; the findings say which. */
export type SignatureDatabase =
  | { readonly state: 'absent' }
  | { readonly state: 'read'; readonly event: number; readonly lists: SignatureLists }
  | { readonly state: 'malformed'; readonly event: number; readonly raw: Buffer };

/** The databases of UEFI §32.3 and §32.4.1, as measured. */
export const SIGNATURE_DATABASES = ['PK', 'KEK', 'db', 'dbx', 'dbt', 'dbr'] as const;
export type SignatureDatabaseName = (typeof SIGNATURE_DATABASES)[number];

/** shim measures the content of its lists into PCR 14, and logs only their names: the name is a hint. */
export interface MokMeasurement {
  readonly event: number;
  readonly name: string;
  /** In the order of the log's banks. */
  readonly digests: readonly (Buffer | undefined)[];
}

/**
 * Secure Boot as far as it is known. Every part is from data whose digest holds; a part that is missing or odd is absent here and
 * a finding there, and never hides the others.
 */
export interface SecureBootState {
  readonly mode: SecureBootMode;
  /** Variables of one byte, where the firmware measures them. */
  readonly setupMode: boolean | undefined;
  readonly auditMode: boolean | undefined;
  readonly deployedMode: boolean | undefined;
  readonly databases: Readonly<Record<SignatureDatabaseName, SignatureDatabase>>;
  /** What the images that ran were verified with, in the order of the log. */
  readonly authorities: readonly Authority[];
  /** shim's revocation level (`sbat,1,2025051800…`), text. */
  readonly sbatLevel: string | undefined;
  /** shim's MokListTrusted: are its lists used as db? */
  readonly mokListTrusted: boolean | undefined;
  /** shim's MokSBState, which it measures where it is set: true where shim verifies nothing. Undefined where it was not measured. */
  readonly shimOff: boolean | undefined;
  readonly mokMeasurements: readonly MokMeasurement[];
  /** The firmware's debugger can be used. */
  readonly debugMode: boolean;
  readonly dmaProtectionDisabled: boolean;
  /** Index of PCR 7's separator: what stands before it is configuration, what stands after it was used. */
  readonly separator: number | undefined;
}

export interface Authority {
  readonly event: number;
  /** Variable that it was taken from: `db`, or one of shim's (`Shim`, `vendor_db`, `MokList`, `MokListRT`). */
  readonly variable: string;
  /** `db`: of the firmware; `shim`: built into shim, or of its owner's list (MOK). */
  readonly source: 'db' | 'shim';
  /** SignatureOwner; undefined where shim measured the certificate without it. */
  readonly owner: string | undefined;
  /** A certificate (DER) or a hash. */
  readonly data: Buffer;
  /** SHA-256 of `data`, hexadecimal: what a policy names a signer by. */
  readonly sha256: string;
  /** Is it an entry of the measured db? Of shim's own authorities undefined: shim's lists are not in the log. */
  readonly inDb: boolean | undefined;
}
