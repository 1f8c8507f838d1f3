import type { MessageInitShape } from '@bufbuild/protobuf';

import { EncodedMessage } from '../../proto/encoded-message.ts';
import { BootLogState, GetBootReportResponseSchema } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { loadBoot } from '../attestation/round-boot.ts';
import { isDamaged } from '../store/damaged.ts';
import type { BootRecord, LogKind } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { BootCache } from '../verifier/boot-cache.ts';
import { bootKey } from '../verifier/boot-record.ts';
import type { BootReporter, OwnLogs } from './boot-reporter.ts';
import { checkToProto } from './convert-result.ts';
import { pageOf } from './paging.ts';

/** Bytes of one read of the store: others have their turn between two. */
const READ = 512 * 1024;

export interface BootReportServices {
  readonly store: Pick<Store, 'getBoot' | 'readLog'>;
  readonly boots: BootCache;
  readonly reporter: BootReporter;
}

export interface BootReportRequest {
  readonly hostId: string;
  /** Who asks: an identity. */
  readonly caller: string;
  readonly pageSize: number;
  readonly pageToken: string;
}

type Response = typeof GetBootReportResponseSchema;

/**
 * What a host booted: read from the kept log and the proven values, page by page. The log is replayed once over all hosts that booted
 * alike, and read once for the pages of a report, both in threads of their own where it is long.
 */
export async function bootReport(
  { store, boots, reporter }: BootReportServices,
  { hostId, caller, ...request }: BootReportRequest,
): Promise<MessageInitShape<Response> | EncodedMessage<Response>> {
  // Whoever waits for a turn holds no log.
  using turn = await reporter.take(caller);
  const known = await loadBoot(store, boots, hostId);
  const list = ['boot', hostId, known === null ? '' : bootKey(known.record)];
  const page = pageOf(request, list);
  const host = `hosts/${hostId}`;
  const unproven = { report: { host, state: BootLogState.UNPROVEN }, nextPageToken: '' };
  if (known === null) return unproven;
  const { record, outcome } = known;
  if (outcome.kind === 'missing') {
    return { report: { host, state: BootLogState.MISSING, problem: checkToProto(outcome.finding) }, nextPageToken: '' };
  }
  const report = await turn.report({ hostId, record, outcome, page, list }, () => readLogs(store, hostId, record));
  if (report === null) return unproven;
  return new EncodedMessage(
    GetBootReportResponseSchema,
    Buffer.from(report.buffer, report.byteOffset, report.byteLength),
  );
}

async function readLogs(
  store: Pick<Store, 'readLog'>,
  hostId: string,
  { bootLog, userspaceLog }: BootRecord,
): Promise<OwnLogs> {
  const read = async (kind: LogKind, size: number): Promise<Uint8Array<ArrayBuffer>> => {
    // Of its own: it goes to a thread.
    const whole = new Uint8Array(size);
    for (let at = 0; at < size; at += READ) {
      // oxlint-disable-next-line no-await-in-loop -- one read after another is the point
      whole.set(await store.readLog(hostId, kind, at, Math.min(READ, size - at)), at);
    }
    return whole;
  };
  try {
    return { boot: await read('boot', bootLog.size), userspace: await read('userspace', userspaceLog.size) };
  } catch (error) {
    if (!isDamaged(error)) throw error;
    return { boot: null, userspace: null };
  }
}
