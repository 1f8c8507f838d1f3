import { BootLogStateSchema, BootReportSchema } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type {
  BootReport as ReportMessage,
  MeasuredText as TextMessage,
} from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { jsonOf } from './convert.ts';
import type { JsonObject } from './resources.ts';

export type BootLogState = 'VERIFIED' | 'UNVERIFIED' | 'MISSING' | 'UNPROVEN' | 'UNSPECIFIED' | `UNKNOWN_${number}`;

/** A text of a log; `verified`: it is what was measured. */
export interface MeasuredText {
  readonly index: number;
  readonly pcr: number;
  readonly source: string;
  /** Empty where the log holds but a digest. */
  readonly text: string;
  readonly verified: boolean;
}

/** The value of a PCR that the TPM signed, hexadecimal. */
export interface ProvenPcr {
  readonly bank: string;
  readonly index: number;
  readonly value: string;
}

/** Something that firmware or a loader ran. `name` is the log's word. */
export interface BootImage {
  readonly index: number;
  /** 4 for boot applications, 2 for drivers. */
  readonly pcr: number;
  /** Hexadecimal, in the order of the report's banks; empty where there is none. */
  readonly digests: readonly string[];
  readonly name: string;
}

export interface BootEvent {
  readonly index: number;
  readonly pcr: number;
  readonly type: string;
  /** Hexadecimal, in the order of the report's banks. */
  readonly digests: readonly string[];
  readonly verified: boolean;
  readonly covers: string;
  readonly data: string;
}

/** What a host booted, as the service read its log beside the values that it proved. */
export interface BootReport {
  readonly host: string;
  readonly state: BootLogState;
  /** Reason and sentence, where the log cannot be believed. */
  readonly problem: { readonly reason: string; readonly observed: string; readonly message: string } | undefined;
  readonly bootLogDigest: string;
  readonly format: string;
  readonly banks: readonly string[];
  readonly secureBoot:
    | {
        readonly mode: string;
        readonly databases: readonly { readonly name: string; readonly state: string; readonly entries: number }[];
        readonly authorities: readonly {
          readonly variable: string;
          readonly sha256: string;
          readonly subject: string;
        }[];
        readonly sbatLevel: string;
        readonly mokMeasurements: readonly string[];
        /** Why Secure Boot did not hold although it was enabled; empty where it held. */
        readonly weaknesses: readonly string[];
      }
    | undefined;
  readonly kernelCommandLines: readonly MeasuredText[];
  readonly initrds: readonly MeasuredText[];
  readonly exitBootServices: string;
  readonly phases: readonly { readonly name: string; readonly firstEvent: number; readonly eventCount: number }[];
  readonly eventCount: number;
  readonly events: readonly BootEvent[];
  readonly userspaceRecordCount: number;
  readonly userspaceRecords: readonly MeasuredText[];
  readonly findings: readonly { readonly code: string; readonly severity: string; readonly message: string }[];
  /** Every PCR of every active bank but PCR 10; only of a log that is verified. */
  readonly provenPcrs: readonly ProvenPcr[];
  /** PCRs that were extended by more than the log says. */
  readonly unexplainedPcrs: readonly number[];
  readonly images: readonly BootImage[];
  /** Codes of what a sound boot does not tell of. */
  readonly contradictions: readonly string[];
  readonly json: JsonObject;
}

export function fromProtoBootReport(message: ReportMessage): BootReport {
  const { problem, secureBoot } = message;
  return {
    host: message.host,
    state: (BootLogStateSchema.value[message.state]?.localName ?? `UNKNOWN_${message.state}`) as BootLogState,
    problem: problem && { reason: problem.reason, observed: problem.observed, message: problem.message },
    bootLogDigest: message.bootLogDigest,
    format: message.format,
    banks: message.banks,
    secureBoot: secureBoot && {
      mode: secureBoot.mode,
      databases: secureBoot.databases.map(({ name, state, entries }) => ({ name, state, entries })),
      authorities: secureBoot.authorities.map(({ variable, sha256, subject }) => ({ variable, sha256, subject })),
      sbatLevel: secureBoot.sbatLevel,
      mokMeasurements: secureBoot.mokMeasurements,
      weaknesses: secureBoot.weaknesses,
    },
    kernelCommandLines: message.kernelCommandLines.map(textOf),
    initrds: message.initrds.map(textOf),
    exitBootServices: message.exitBootServices,
    phases: message.phases.map(({ name, firstEvent, eventCount }) => ({ name, firstEvent, eventCount })),
    eventCount: message.eventCount,
    events: message.events.map(({ index, pcr, type, digests, verified, covers, data }) => {
      return { index, pcr, type, digests, verified, covers, data };
    }),
    userspaceRecordCount: message.userspaceRecordCount,
    userspaceRecords: message.userspaceRecords.map(textOf),
    findings: message.findings.map(({ code, severity, message: text }) => ({ code, severity, message: text })),
    provenPcrs: message.provenPcrs.map(({ bank, index, value }) => ({ bank, index, value })),
    unexplainedPcrs: message.unexplainedPcrs,
    images: message.images.map(({ index, pcr, digests, name }) => ({ index, pcr, digests, name })),
    contradictions: message.contradictions,
    json: jsonOf(BootReportSchema, message),
  };
}

function textOf({ index, pcr, source, text, verified }: TextMessage): MeasuredText {
  return { index, pcr, source, text, verified };
}
