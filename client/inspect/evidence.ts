import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import type { ImaKeyring } from '../../tpm/ima/keyring.ts';
import { judgeBootLog } from './boot-evidence.ts';
import type { BootEvidence, JudgedBoot } from './boot-evidence.ts';
import type { EkCertificateReport } from './ek-certificate.ts';
import { decodeLogFile } from './eventlog-input.ts';
import { judgeImaList } from './ima-evidence.ts';
import type { ImaEvidence } from './ima-evidence.ts';
import { hasErrors, offlineFinding } from './offline-finding.ts';
import type { OfflineFinding } from './offline-finding.ts';
import { inspectQuote } from './quote.ts';
import type { QuoteFiles } from './quote.ts';
import { reportQuote } from './quote-report.ts';
import type { QuoteReport } from './quote-report.ts';

/** Saved evidence of one host: what is undefined was not saved. */
export interface EvidenceFiles {
  readonly quote: QuoteFiles;
  readonly bootLog: Buffer | undefined;
  readonly userspaceLog: Buffer | undefined;
  readonly imaList: Buffer | undefined;
  readonly ekCertificates: readonly { readonly file: string; readonly report: EkCertificateReport }[];
}

/** A part of which nothing is said, because nothing proves it. */
export interface UnprovenPart {
  readonly status: 'unproven';
  readonly reason: string;
}

/** What evidence is worth, in the shape that `assay verify evidence --output json` prints. Null is a part that was not saved. */
export interface EvidenceReport {
  readonly result: 'verified' | 'refused';
  readonly quote: QuoteReport;
  readonly bootLog: BootEvidence | UnprovenPart | null;
  readonly imaList: ImaEvidence | UnprovenPart | null;
  readonly ekCertificates: readonly EkEvidenceReport[];
  readonly findings: readonly OfflineFinding[];
}

export interface EkEvidenceReport {
  readonly file: string;
  /** Of the certificate alone: nothing here ties the quote to it. */
  readonly status: 'valid' | 'refused' | 'unchecked';
  readonly subject: string;
  readonly ekFingerprint: string | null;
  readonly tpm: EkCertificateReport['tpm'];
  readonly findings: readonly OfflineFinding[];
}

/**
 * Judges saved evidence in one call: the quote first, then the logs against the values that it proves, and against nothing else.
 * Where the quote does not hold, or does not prove the values, nothing is said of the logs. Throws `UsageError` for what cannot be read.
 */
export function judgeEvidence(files: EvidenceFiles, keyring: ImaKeyring): EvidenceReport {
  const inspection = inspectQuote(files.quote);
  const quote = reportQuote(inspection);
  const holds = quote.result === 'verified' && !hasErrors(quote.findings);
  const pcrs = holds ? (inspection.verified?.pcrs ?? null) : null;
  const reason = holds ? 'the quote proves no PCR values' : 'the quote is refused';
  const boot = files.bootLog === undefined ? undefined : judgeBoot(files.bootLog, files.userspaceLog, pcrs);
  const bootLog = files.bootLog === undefined ? null : (boot?.evidence ?? unproven(reason));
  const imaList = files.imaList === undefined ? null : judgeIma(files.imaList, { pcrs, keyring, boot, reason });
  const ekCertificates = files.ekCertificates.map(reportEk);
  const parts = [bootLog, imaList].filter((part) => part !== null);
  const good =
    holds &&
    parts.every(({ status }) => status === 'verified') &&
    ekCertificates.every(({ status }) => status !== 'refused');
  return {
    result: good ? 'verified' : 'refused',
    quote,
    bootLog,
    imaList,
    ekCertificates,
    findings: limitsOf(files),
  };
}

function judgeBoot(
  log: Buffer,
  userspaceLog: Buffer | undefined,
  pcrs: ProvenPcrValues | null,
): JudgedBoot | undefined {
  return pcrs === null ? undefined : judgeBootLog(decodeLogFile(log), { pcrs, userspaceLog });
}

function judgeIma(
  list: Buffer,
  context: {
    readonly pcrs: ProvenPcrValues | null;
    readonly keyring: ImaKeyring;
    readonly boot: JudgedBoot | undefined;
    readonly reason: string;
  },
): ImaEvidence | UnprovenPart {
  const { pcrs, keyring, boot, reason } = context;
  if (pcrs === null) return unproven(reason);
  const { bootAggregates = new Map(), commandLines = [] } = boot ?? {};
  return judgeImaList(list, { pcrs, keyring, bootAggregates, commandLines });
}

function unproven(reason: string): UnprovenPart {
  return { status: 'unproven', reason };
}

function reportEk({ file, report }: EvidenceFiles['ekCertificates'][number]): EkEvidenceReport {
  const { certificate, tpm, path, findings } = report;
  return {
    file,
    status: hasErrors(findings) ? 'refused' : path.status,
    subject: certificate.subject,
    ekFingerprint: certificate.key.sha256,
    tpm,
    findings,
  };
}

/** What files alone can never prove, and a service can. */
function limitsOf({ bootLog }: EvidenceFiles): readonly OfflineFinding[] {
  const origin = 'that the key lives in a TPM, and in which, is proven by enrolment and by no file';
  const banks = 'which PCR banks are active is not proven: one that the quote leaves out may hold anything';
  return [
    offlineFinding('AK_ORIGIN_UNPROVEN', 'info', origin),
    ...(bootLog === undefined ? [] : [offlineFinding('BANKS_UNPROVEN', 'info', banks)]),
  ];
}
