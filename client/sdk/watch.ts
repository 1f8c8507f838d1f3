import { RpcError } from '../../proto/rpc-error.ts';
import type { StatusCode } from '../../proto/status.ts';
import { Backoff, sleep } from './backoff.ts';
import type { Sleep } from './backoff.ts';
import type { WatchEvent } from './resources.ts';

/** One message of the service: an event, or one that this release does not know, and the token behind it. */
export interface WatchMessage {
  readonly event: WatchEvent | undefined;
  readonly resumeToken: string;
}

/** Opens one stream from a position on; an empty token starts with the present results. */
export type OpenWatch = (resumeToken: string, signal: AbortSignal) => AsyncIterable<WatchMessage>;

/**
 * An event of the service with the token that resumes behind it, or what happened to the watch itself:
 * - `interrupted`: the stream is lost; the watch goes on from its last token after a while.
 * - `relisting`: the service cannot resume from the token (its history does not go back so far, or it was restored from a
 *   backup). All present results come again, `initial`; what is not among them until the bookmark `synced` is gone.
 */
export type WatchNotice =
  | (WatchEvent & { readonly resumeToken: string })
  | { readonly kind: 'interrupted'; readonly error: RpcError | undefined; readonly retryMillis: number }
  | { readonly kind: 'relisting'; readonly reason: string };

export interface WatchOptions {
  /** Ends the watch. */
  readonly signal: AbortSignal;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Where to resume; empty starts with the present results. */
  readonly resumeToken?: string;
  readonly sleep?: Sleep;
}

/** What another try cannot change. */
const FINAL_CODES: ReadonlySet<StatusCode> = new Set([
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'UNIMPLEMENTED',
  'FAILED_PRECONDITION',
]);

/**
 * Watches over reconnects: nothing is lost and nothing repeated, for each stream resumes behind the last message that the
 * caller has handled (asked for the next one). Ends when the signal aborts.
 * @throws RpcError where the very first stream fails, or another try is of no use
 */
export async function* watch(open: OpenWatch, options: WatchOptions): AsyncGenerator<WatchNotice> {
  const { signal } = options;
  const rest = options.sleep ?? sleep;
  const backoff = new Backoff(options.random);
  let token = options.resumeToken ?? '';
  let connected = false;
  while (!signal.aborted) {
    let failure: RpcError | undefined;
    try {
      for await (const { event, resumeToken } of open(token, signal)) {
        connected = true;
        backoff.reset();
        if (event !== undefined) yield { ...event, resumeToken };
        token = resumeToken;
      }
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      failure = error;
    }
    if (signal.aborted) return;
    if (failure?.code === 'OUT_OF_RANGE' && token !== '') {
      token = '';
      connected = true;
      yield { kind: 'relisting', reason: failure.reason === '' ? failure.message : failure.reason };
      // After a restore every watcher comes back at once.
      await rest(backoff.next(failure.retryDelayMillis), signal);
      continue;
    }
    if (failure !== undefined && (!connected || FINAL_CODES.has(failure.code))) throw failure;
    const retryMillis = backoff.next(failure?.retryDelayMillis);
    yield { kind: 'interrupted', error: failure, retryMillis };
    await rest(retryMillis, signal);
  }
}
