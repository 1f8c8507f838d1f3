import { RuntimeListStateSchema, RuntimeReportSchema } from '../../proto/gen/assay/v1/runtime_report_pb.ts';
import type { RuntimeCounts, RuntimeReport as ReportMessage } from '../../proto/gen/assay/v1/runtime_report_pb.ts';
import { jsonOf } from './convert.ts';
import type { JsonObject } from './resources.ts';

export type RuntimeListState = 'FOLLOWED' | 'UNJUDGED' | 'UNSPECIFIED' | `UNKNOWN_${number}`;

/** What the judged entries of a list are, in numbers, by the names of the contract. */
export type RuntimeNumbers = Readonly<Record<(typeof COUNTS)[number], number>>;

const COUNTS = [
  'files',
  'allowed',
  'excluded',
  'unknown',
  'forbidden',
  'violations',
  'buffers',
  'otherKernels',
  'validSignatures',
  'invalidSignatures',
  'unknownKeySignatures',
  'unreadable',
  'inconsistent',
] as const;

/** Something that speaks against the host. */
export interface RuntimeFinding {
  readonly reason: string;
  readonly entry: number;
  /** Of the host. */
  readonly path: string;
  readonly digest: string;
  readonly detail: string;
}

/** What ran on a host since its boot, as far as a quote proves it. */
export interface RuntimeReport {
  readonly host: string;
  readonly state: RuntimeListState;
  readonly checkpoint:
    | {
        readonly entries: number;
        readonly offset: number;
        readonly waitingBytes: number;
        readonly pcrs: readonly {
          readonly bank: string;
          readonly index: number;
          readonly value: string;
          readonly modes: readonly string[];
        }[];
      }
    | undefined;
  readonly counts: RuntimeNumbers;
  readonly referenceSets: readonly { readonly referenceSet: string; readonly files: number }[];
  readonly signatureKeys: readonly { readonly fingerprint: string; readonly files: number }[];
  readonly findings: readonly RuntimeFinding[];
  readonly hostKeys: readonly { readonly keyring: string; readonly fingerprint: string }[];
  readonly bootAggregate: string;
  readonly json: JsonObject;
}

export function fromProtoRuntimeReport(message: ReportMessage): RuntimeReport {
  const { checkpoint, counts } = message;
  return {
    host: message.host,
    state: (RuntimeListStateSchema.value[message.state]?.localName ?? `UNKNOWN_${message.state}`) as RuntimeListState,
    checkpoint: checkpoint && {
      entries: Number(checkpoint.entries),
      offset: Number(checkpoint.offset),
      waitingBytes: Number(checkpoint.waitingBytes),
      pcrs: checkpoint.pcrs.map(({ bank, index, value, modes }) => ({ bank, index, value, modes })),
    },
    counts: numbersOf(counts),
    referenceSets: message.referenceSets.map(({ referenceSet, files }) => ({ referenceSet, files: Number(files) })),
    signatureKeys: message.signatureKeys.map(({ fingerprint, files }) => ({ fingerprint, files: Number(files) })),
    findings: message.findings.map(({ reason, entry, path, digest, detail }) => {
      return { reason, entry: Number(entry), path, digest, detail };
    }),
    hostKeys: message.hostKeys.map(({ keyring, fingerprint }) => ({ keyring, fingerprint })),
    bootAggregate: message.bootAggregate,
    json: jsonOf(RuntimeReportSchema, message),
  };
}

function numbersOf(counts: RuntimeCounts | undefined): RuntimeNumbers {
  const entries = COUNTS.map((name) => [name, Number(counts?.[name] ?? 0n)] as const);
  return Object.fromEntries(entries) as RuntimeNumbers;
}
