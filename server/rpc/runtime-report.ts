import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { RuntimeListState } from '../../proto/gen/assay/v1/runtime_report_pb.ts';
import type { RuntimeReportSchema } from '../../proto/gen/assay/v1/runtime_report_pb.ts';
import { parseCheckpoint } from '../../tpm/ima/checkpoint.ts';
import { RUNTIME_REASONS } from '../policy/judge-entry.ts';
import type { RuntimeReason } from '../policy/judge-entry.ts';
import { readState } from '../policy/runtime-state.ts';
import type { RuntimeState } from '../policy/runtime-state.ts';
import { withFormerFaults } from '../policy/runtime-tally.ts';
import type { RuntimeTally } from '../policy/runtime-tally.ts';
import type { Store } from '../store/store.ts';

type Report = Exclude<MessageInitShape<typeof RuntimeReportSchema>, { readonly $typeName: string }>;

/** What ran on a host, as its last rounds judged it. */
export async function runtimeReport(
  store: Pick<Store, 'getHost' | 'getRuntime' | 'logStates'>,
  hostId: string,
): Promise<Report> {
  const name = `hosts/${hostId}`;
  const host = await store.getHost(hostId);
  const record = await store.getRuntime(hostId);
  const state = readState(record);
  // Of a boot that is over nothing is told: its list is gone.
  const present =
    state?.resetCount === host?.clock.resetCount && state?.restartCount === host?.clock.restartCount ? state : null;
  if (record === null || present === null) return { host: name, state: RuntimeListState.UNJUDGED };
  const kept = (await store.logStates(hostId)).find(({ kind }) => kind === 'ima')?.size ?? 0;
  const checkpoint = parseCheckpoint(present.checkpoint);
  const tally = withFormerFaults(present.tally, present.former);
  return {
    host: name,
    state: checkpoint.entries === 0 || present.replaced ? RuntimeListState.UNJUDGED : RuntimeListState.FOLLOWED,
    checkpoint: {
      entries: BigInt(checkpoint.entries),
      offset: BigInt(checkpoint.offset),
      waitingBytes: BigInt(Math.max(0, kept - checkpoint.offset)),
      pcrs: checkpoint.pcrs.map(({ bank, pcr, value, modes }) => ({
        bank: bank.name,
        index: pcr,
        value: value.toString('hex'),
        modes: [...modes],
      })),
      resetCount: present.resetCount,
      restartCount: present.restartCount,
      updateTime: timestampFromMs(record.updateTime),
    },
    ...tallyToProto(tally, present),
  };
}

function tallyToProto(tally: RuntimeTally, { judge }: RuntimeState): Report {
  const { counts, bySet, byKey } = tally;
  const faults = (reason: RuntimeReason): bigint => BigInt(tally.faults[reason]?.count ?? 0);
  return {
    counts: {
      files: BigInt(counts.files),
      allowed: BigInt(counts.allowed),
      excluded: BigInt(counts.excluded),
      unknown: faults('FILE_UNKNOWN'),
      forbidden: faults('FILE_FORBIDDEN'),
      violations: BigInt(counts.violations),
      buffers: BigInt(counts.buffers),
      otherKernels: faults('KERNEL_REPLACED'),
      validSignatures: BigInt(counts.validSignatures),
      invalidSignatures: faults('FILE_SIGNATURE_INVALID'),
      unknownKeySignatures: BigInt(counts.unknownKeySignatures),
      unreadable: faults('IMA_ENTRY_UNREADABLE'),
      inconsistent: faults('IMA_LIST_INCONSISTENT'),
    },
    referenceSets: mostFirst(bySet).map(([referenceSet, files]) => ({ referenceSet, files: BigInt(files) })),
    signatureKeys: mostFirst(byKey).map(([fingerprint, files]) => ({ fingerprint, files: BigInt(files) })),
    findings: RUNTIME_REASONS.flatMap((reason) =>
      (tally.faults[reason]?.examples ?? []).map(({ entry, path, digest, detail }) => ({
        reason,
        entry: BigInt(entry),
        path,
        digest,
        detail,
      })),
    ),
    hostKeys: tally.hostKeys.map(({ keyring, fingerprint }) => ({ keyring, fingerprint })),
    bootAggregate: tally.bootAggregate ?? '',
    rulesDigest: judge,
  };
}

function mostFirst(counts: Readonly<Record<string, number>>): readonly (readonly [string, number])[] {
  return Object.entries(counts).toSorted(([, left], [, right]) => right - left);
}
