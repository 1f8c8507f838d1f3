import type { EventLogReading } from '../../tpm/eventlog/read-event-log.ts';
import type { BootAggregateTable } from '../../tpm/ima/boot-aggregate.ts';
import type { SecureBootMode } from '../../tpm/eventlog/secure-boot-state.ts';

/** Something that a loader or the firmware ran, by its digests. */
export interface BootImage {
  readonly pcr: number;
  /** Hexadecimal, one for each bank that has it. */
  readonly digests: readonly string[];
}

/** Null where the log does not hold the text that was measured. */
export interface CommandLineClaim {
  readonly text: string | null;
}

/** Longer than any kernel takes. */
const MAX_COMMAND_LINE = 8192;
const UNREADABLE_LINE: CommandLineClaim = { text: null };
/** The kernel's text ends at a zero byte; and what is no UTF-8 was replaced when it was read. */
const NOT_AS_MEASURED = /[\0\ufffd]/;

/**
 * What a boot log says that a rule may look at, copied out of it: the log itself is not held. It is what was measured as long as
 * the PCR that it stands in was explained.
 */
export interface BootClaims {
  readonly secureBoot: {
    readonly mode: SecureBootMode;
    readonly setupMode: boolean;
    readonly auditMode: boolean;
    readonly debugMode: boolean;
    /** Secure Boot is on, and no image was verified with the firmware's db. */
    readonly unused: boolean;
    /** SHA-256 of each certificate or hash that an image was verified with. */
    readonly authorities: readonly string[];
    readonly sbatLevel: string | null;
    /** The variable, its lists checked; null where the log does not hold it. Its hundreds of entries are made for who asks. */
    readonly dbx: Uint8Array | null;
    /** shim was told to verify nothing. */
    readonly shimOff: boolean;
    /** Names of what shim measured of its owner's lists: the log's word. */
    readonly mokMeasurements: readonly string[];
  };
  /** Every event of PCR 2 and 4 that is no data of its own. */
  readonly images: readonly BootImage[];
  readonly commandLines: readonly CommandLineClaim[];
  /** Several command lines, or something beside them that nobody can read. */
  readonly commandLineAmbiguous: boolean;
  /** IMA's boot_aggregate as a kernel computes it that the firmware's log led to, by bank. */
  readonly bootAggregates: BootAggregateTable;
  /** No bank but SHA-1 was proven: other contents with the same digests can be made. */
  readonly sha1Only: boolean;
  /** PCRs that were extended, and not by what the logs say alone. */
  readonly unexplained: readonly number[];
  /** Codes of what the log says and must not, in spite of its PCRs being right. */
  readonly contradictions: readonly string[];
}

export function readClaims(
  { secureBoot, boot, bootAggregates, findings }: EventLogReading,
  judged: Pick<BootClaims, 'sha1Only' | 'unexplained' | 'contradictions'>,
): BootClaims {
  const has = (code: string): boolean => findings.some((finding) => finding.code === code);
  const mokMeasurements = secureBoot.mokMeasurements.map(({ name }) => name);
  return {
    secureBoot: {
      mode: secureBoot.mode,
      setupMode: secureBoot.setupMode ?? false,
      auditMode: secureBoot.auditMode ?? false,
      debugMode: secureBoot.debugMode,
      unused: has('SECURE_BOOT_AUTHORITY_MISSING'),
      authorities: [...new Set(secureBoot.authorities.map(({ sha256 }) => sha256))],
      sbatLevel: secureBoot.sbatLevel ?? null,
      dbx: secureBoot.databases.dbx.state === 'read' ? new Uint8Array(secureBoot.databases.dbx.lists.bytes) : null,
      // What old releases of shim say in PCR 14 alone: a name without its value.
      shimOff: secureBoot.shimOff ?? mokMeasurements.includes('MokSBState'),
      mokMeasurements,
    },
    images: boot.images.map(({ pcr, digests }) => ({
      pcr,
      digests: digests.flatMap((digest) => (digest === undefined ? [] : [digest.toString('hex')])),
    })),
    commandLines: boot.kernel.commandLines.map(({ text, verified }) => {
      if (!verified || text === undefined || text.length > MAX_COMMAND_LINE) return UNREADABLE_LINE;
      const wellFormed = text.toWellFormed();
      return NOT_AS_MEASURED.test(wellFormed) ? UNREADABLE_LINE : { text: wellFormed };
    }),
    commandLineAmbiguous: has('KERNEL_COMMAND_LINE_AMBIGUOUS'),
    bootAggregates,
    ...judged,
  };
}
