import type { LogStore } from '../store/log-store.ts';
import { LIST_SLICE } from '../verifier/follow-list.ts';

/** Bytes of one read of the store. */
const READ = 1024 * 1024;

/**
 * A list from an offset on, in slices: what is kept of it, then what came with this round. No more of what is kept than one read is
 * in memory.
 */
export async function* listBytes(
  store: Pick<LogStore, 'readLog'>,
  list: { readonly hostId: string; readonly kept: number; readonly part: Uint8Array | null },
  offset: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { hostId, kept, part } = list;
  let at = offset;
  while (at < kept) {
    // oxlint-disable-next-line no-await-in-loop -- one read after another is the point
    const read = await store.readLog(hostId, 'ima', at, Math.min(READ, kept - at));
    if (read.byteLength === 0) break;
    yield* slices(read);
    at += read.byteLength;
  }
  if (part !== null && at >= kept) yield* slices(part.subarray(at - kept));
}

function* slices(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.byteLength; at += LIST_SLICE) yield bytes.subarray(at, at + LIST_SLICE);
}
