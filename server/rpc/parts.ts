import type { LogChunk as ProtoChunk } from '../../proto/gen/assay/v1/evidence_pb.ts';
import type { LogChunk } from '../verifier/collect-logs.ts';
import { logChunkFromProto } from './convert-evidence.ts';
import { invalid } from './invalid.ts';

/** A message of a stream whose first part is one thing and whose others are chunks of logs. */
interface Parted {
  readonly part: { readonly case: string; readonly value: unknown } | { readonly case: undefined };
}

/** A stream's parts, one at a time; null when the caller has ended. */
export function nextPartOf<M extends Parted>(
  requests: AsyncIterable<M>,
): () => Promise<Exclude<M['part'], { readonly case: undefined }> | null> {
  const iterator = requests[Symbol.asyncIterator]();
  return async () => {
    const next = await iterator.next();
    if (next.done === true) return null;
    const { part } = next.value;
    if (part.case === undefined) throw invalid('part', 'is not set');
    return part as Exclude<M['part'], { readonly case: undefined }>;
  };
}

/** The next chunk of a log: nothing else may come. */
export async function nextChunk(
  next: () => Promise<{ readonly case: string; readonly value: unknown } | null>,
): Promise<LogChunk | null> {
  const part = await next();
  if (part === null) return null;
  if (part.case !== 'chunk') throw invalid('part', 'a chunk of a log is due');
  return logChunkFromProto(part.value as ProtoChunk, 'chunk');
}
