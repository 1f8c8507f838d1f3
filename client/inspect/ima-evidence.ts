import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import { checkBootAggregate, isBootAggregate } from '../../tpm/ima/boot-aggregate.ts';
import type { BootAggregateTable, BootAggregateVariant } from '../../tpm/ima/boot-aggregate.ts';
import { isProvenByMoreThanSha1 } from '../../tpm/ima/checkpoint.ts';
import { examineEntry } from '../../tpm/ima/examine.ts';
import type { ExaminedEntry } from '../../tpm/ima/examine.ts';
import type { ImaFinding } from '../../tpm/ima/findings.ts';
import type { ImaKeyring } from '../../tpm/ima/keyring.ts';
import { replayImaList } from '../../tpm/ima/replay.ts';
import type { ImaSignatureResult } from '../../tpm/ima/signature-result.ts';
import { count, firstOfEach, NO_SIGNATURES, onlyPcr } from './ima.ts';
import { readImaInput } from './ima-input.ts';
import { hasErrors, offlineFinding } from './offline-finding.ts';
import type { OfflineFinding } from './offline-finding.ts';
import type { PartStatus } from './part-status.ts';

/** What an IMA list is worth beside a proven PCR 10, and what of it that proves. */
export interface ImaEvidence {
  readonly status: PartStatus;
  /** That the value of PCR 10 proves. */
  readonly entries: number;
  /** That follow them: they wait for another quote, and nothing is said of them. */
  readonly waitingBytes: number;
  readonly violations: number;
  readonly signatures: Readonly<Record<ImaSignatureResult['kind'], number>>;
  /** The PCRs that the first entry is over; null where it was not found to match this boot. */
  readonly bootAggregate: BootAggregateVariant | null;
  readonly findings: readonly (ImaFinding | OfflineFinding)[];
}

export interface ImaJudging {
  readonly pcrs: ProvenPcrValues;
  readonly keyring: ImaKeyring;
  /** Of the boot log; empty where it proves none. */
  readonly bootAggregates: BootAggregateTable;
}

const IMA_PCR = 10;

/** As the service has it. */
const WEAK_BANK = offlineFinding(
  'RUNTIME_BANK_WEAK',
  'warning',
  'no quoted bank but such as hold SHA-1 hashes of the entries: other entries with the same hashes can be made',
);

/** Follows a list to the value of PCR 10 that a quote proved, and looks at the entries up to there. */
export function judgeImaList(file: Buffer, { pcrs, keyring, bootAggregates }: ImaJudging): ImaEvidence {
  const target = onlyPcr(pcrs, IMA_PCR);
  if (target.size === 0) {
    return nothing('unproven', [offlineFinding('PCR_NOT_QUOTED', 'warning', 'the quote does not cover PCR 10')]);
  }
  const input = readImaInput(file);
  const outcome = replayImaList(input.binary, { target });
  if (outcome.kind !== 'matched') {
    return nothing(outcome.kind === 'empty' ? 'unproven' : 'refused', [...input.findings, ...outcome.findings]);
  }
  const examined = outcome.entries.map((entry) => examineEntry(entry, keyring));
  const boot = checkBoot(examined[0], bootAggregates);
  const weak = isProvenByMoreThanSha1(outcome.checkpoint) ? [] : [WEAK_BANK];
  const findings = [...outcome.findings, ...examined.flatMap((entry) => entry.findings), ...boot.findings];
  const doubtful = findings.some(({ code }) => code === 'IMA_PCR_UNCOVERED' || code === 'IMA_TEMPLATE_AMBIGUOUS');
  // Other entries with these hashes can be made: what the list shows against its host counts, and nothing else.
  if (weak.length > 0 && !hasErrors(findings)) return nothing('unproven', weak);
  return {
    status: hasErrors(findings) ? 'refused' : doubtful ? 'partial' : 'verified',
    entries: examined.length,
    waitingBytes: outcome.waitingBytes,
    violations: examined.filter(({ isViolation }) => isViolation).length,
    signatures: { ...NO_SIGNATURES, ...count(examined.map(({ signature }) => signature.kind)) },
    bootAggregate: boot.variant,
    findings: [...firstOfEach(findings), ...weak],
  };
}

function checkBoot(
  first: ExaminedEntry | undefined,
  table: BootAggregateTable,
): { readonly variant: BootAggregateVariant | null; readonly findings: readonly ImaFinding[] } {
  const { measurement } = first ?? {};
  if (first === undefined || measurement === undefined || !isBootAggregate(measurement)) {
    return { variant: null, findings: [] };
  }
  const check = checkBootAggregate(first.entry, measurement.digest, table);
  if (check.kind === 'matched') return { variant: check.variant, findings: [] };
  return { variant: null, findings: [check.finding] };
}

function nothing(status: PartStatus, findings: ImaEvidence['findings']): ImaEvidence {
  return {
    status,
    entries: 0,
    waitingBytes: 0,
    violations: 0,
    signatures: NO_SIGNATURES,
    bootAggregate: null,
    findings,
  };
}
