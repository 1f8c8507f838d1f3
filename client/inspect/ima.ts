import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import { hashAlgorithm } from '../../tpm/crypto/digest.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512 } from '../../tpm/structures/constants.ts';
import { bootAggregatesOf, checkBootAggregate, isBootAggregate } from '../../tpm/ima/boot-aggregate.ts';
import type { BootAggregateVariant } from '../../tpm/ima/boot-aggregate.ts';
import { examineEntry } from '../../tpm/ima/examine.ts';
import type { ExaminedEntry } from '../../tpm/ima/examine.ts';
import { placeOf } from '../../tpm/ima/fields.ts';
import { imaFinding } from '../../tpm/ima/findings.ts';
import type { ImaFinding } from '../../tpm/ima/findings.ts';
import type { ImaKeyring } from '../../tpm/ima/keyring.ts';
import { ImaPcrs } from '../../tpm/ima/pcrs.ts';
import { replayImaList } from '../../tpm/ima/replay.ts';
import type { ImaSignatureResult } from '../../tpm/ima/signature-result.ts';
import { readImaInput } from './ima-input.ts';
import type { ImaInput } from './ima-input.ts';

/** What a saved IMA list says, in the shape that `assay inspect ima --output json` prints. */
export interface ImaReport {
  readonly form: ImaInput['form'];
  readonly entries: number;
  readonly templates: Readonly<Record<string, number>>;
  /** By bank in hexadecimal, extended with the bank's own hash. Absent where no entry extends PCR 10. */
  readonly pcr10: Readonly<Record<string, string>>;
  /** The same for kernels that extend the SHA-1 template hash with zeros behind it. */
  readonly pcr10ZeroPadded: Readonly<Record<string, string>>;
  readonly violations: number;
  readonly signatures: Readonly<Record<ImaSignatureResult['kind'], number>>;
  readonly bootAggregate: BootAggregateReport | null;
  /** Keys that the host added to its keyrings. */
  readonly keysAdded: readonly { readonly keyring: string; readonly fingerprint: string }[];
  /** With PCR values: how many entries yield the value of PCR 10, and what follows them. */
  readonly prefix?: { readonly entries: number; readonly waitingBytes: number };
  readonly findings: readonly ImaFinding[];
  /** How often each finding was made; `findings` holds the first ones of each code. */
  readonly findingCounts: Readonly<Record<string, number>>;
}

interface BootAggregateReport {
  readonly algorithm: string;
  readonly digest: string;
  /** With PCR values: the PCRs that the digest is over. */
  readonly variant?: BootAggregateVariant;
}

export interface ImaInspection {
  readonly keyring: ImaKeyring;
  /** Values of the boot that the list is from. */
  readonly pcrs?: PcrValues;
}

const BANKS = [TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512].map(hashAlgorithm);
const IMA_PCR = 10;

/** Looks at a saved list as a whole. */
export function inspectIma(file: Buffer, { keyring, pcrs }: ImaInspection): ImaReport {
  const input = readImaInput(file);
  const values = new ImaPcrs(BANKS);
  const findings: ImaFinding[] = [...input.findings];
  const examined = input.entries.map((entry) => {
    if (!values.extend(entry)) {
      const message = `entry ${entry.index} claims a template hash that its data does not yield`;
      findings.push(imaFinding('IMA_TEMPLATE_HASH_MISMATCH', placeOf(entry), message));
    }
    const result = examineEntry(entry, keyring);
    findings.push(...result.findings);
    return result;
  });
  const boot = reportBoot(examined[0], pcrs);
  const replay = pcrs === undefined ? undefined : reportReplay(input, pcrs);
  findings.push(...boot.findings, ...(replay?.findings ?? []));
  return {
    form: input.form,
    entries: examined.length,
    templates: count(input.entries.map(({ template }) => template.name)),
    pcr10: pcr10Of(values, 'bankHash'),
    pcr10ZeroPadded: pcr10Of(values, 'paddedSha1'),
    violations: examined.filter(({ isViolation }) => isViolation).length,
    signatures: { ...NO_SIGNATURES, ...count(examined.map(({ signature }) => signature.kind)) },
    bootAggregate: boot.report,
    keysAdded: examined.flatMap(({ learnedKey }) =>
      learnedKey === undefined
        ? []
        : [{ keyring: learnedKey.keyring, fingerprint: `sha256:${learnedKey.key.fingerprint}` }],
    ),
    ...(replay?.prefix === undefined ? {} : { prefix: replay.prefix }),
    findings: firstOfEach(findings),
    findingCounts: count(findings.map(({ code }) => code)),
  };
}

export const NO_SIGNATURES = { valid: 0, invalid: 0, unknownKey: 0, unsupported: 0, none: 0 } as const;

function pcr10Of(values: ImaPcrs, wanted: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    values
      .values()
      .filter(({ pcr, mode }) => pcr === IMA_PCR && mode === wanted)
      .map(({ bank, value }) => [bank.name, value.toString('hex')]),
  );
}

function reportBoot(
  first: ExaminedEntry | undefined,
  pcrs: PcrValues | undefined,
): { readonly report: BootAggregateReport | null; readonly findings: readonly ImaFinding[] } {
  const { measurement } = first ?? {};
  if (first === undefined || measurement === undefined || !isBootAggregate(measurement))
    return { report: null, findings: [] };
  const { algorithm, value } = measurement.digest;
  const report = { algorithm, digest: value.toString('hex') };
  const check = checkBootAggregate(
    first.entry,
    measurement.digest,
    pcrs === undefined ? new Map() : bootAggregatesOf(pcrs),
  );
  if (check.kind === 'matched') return { report: { ...report, variant: check.variant }, findings: [] };
  // Without values there is nothing to check against, and nothing to tell.
  const silent = pcrs === undefined && check.finding.code === 'IMA_BOOT_AGGREGATE_UNCHECKED';
  return { report, findings: silent ? [] : [check.finding] };
}

function reportReplay(input: ImaInput, pcrs: PcrValues): Pick<ImaReport, 'prefix' | 'findings'> {
  const target = onlyPcr(pcrs, IMA_PCR);
  if (target.size === 0) return { findings: [] };
  const outcome = replayImaList(input.binary, { target });
  // Mismatches and faults were told already: here only what the replay adds.
  const added = outcome.findings.filter(
    ({ code }) => code === 'IMA_LOG_INCOMPLETE' || code === 'IMA_LOG_EMPTY' || code === 'IMA_PCR_UNCOVERED',
  );
  if (outcome.kind === 'incomplete') return { findings: added };
  const entries = outcome.kind === 'empty' ? 0 : outcome.entries.length;
  return { prefix: { entries, waitingBytes: outcome.waitingBytes }, findings: added };
}

export function count(words: readonly string[]): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return Object.fromEntries(counts);
}

/** Findings of one code that are shown one by one: a hostile list could hold a million. */
const MAX_OF_A_CODE = 64;

export function firstOfEach(findings: readonly ImaFinding[]): readonly ImaFinding[] {
  const seen = new Map<string, number>();
  return findings.filter(({ code }) => {
    const before = seen.get(code) ?? 0;
    seen.set(code, before + 1);
    return before < MAX_OF_A_CODE;
  });
}

/** Of all values those of one PCR. */
export function onlyPcr(values: PcrValues, pcr: number): PcrValues {
  return new Map(
    [...values].flatMap(([alg, bank]) => {
      const value = bank.get(pcr);
      return value === undefined ? [] : [[alg, new Map([[pcr, value]])] as const];
    }),
  );
}
