import { ServerInterceptingCall, status } from '@grpc/grpc-js';
import { ANSWERED, CANCEL, streamOf } from './call-stream.ts';
import type { CallStream } from './call-stream.ts';
import type { Context, MethodAccess, Peer } from './service.ts';
import { encodeStatus, StatusError } from './status.ts';

type NextCall = NonNullable<ConstructorParameters<typeof ServerInterceptingCall>[0]>;

/** What a message that waits for its caller costs beside its bytes. */
const WAITING_BYTES = 512;

/** How long a caller may take to end his side of a call that was answered before: every library does it at once. */
const END_MILLIS = 5_000;

/** Of a message that nobody has to wait for. */
const TAKEN = Promise.resolve();

export interface CallPlan {
  readonly peer: Peer;
  readonly method: MethodAccess;
  readonly requestId: string;
  readonly draining: AbortSignal;
  readonly now: () => number;
  /** A stream takes further messages from its handler while no more than so many bytes wait for the caller; 0: one after another. */
  readonly writeAheadBytes: number;
  /** How long an answer may wait for its caller before the call is abandoned, milliseconds; Infinity: as long as the connection. */
  readonly takeMillis: number;
  /** Admits the call; nothing of the request is read before it has resolved. */
  readonly admit: (context: Context) => Promise<void> | void;
  /** Serves the call: reads, computes, sends. The call's status is OK once it has resolved. */
  readonly serve: (call: ServerCall) => Promise<void>;
  readonly describe: (error: unknown, context: Context) => StatusError;
  /** The next message came together with the last one: it is read in a turn of its own, for thousands may have. */
  readonly hasMore: () => boolean;
  /** The call was answered, and its caller did not end it. */
  readonly abandoned: () => void;
  /** The call holds nothing any more. */
  readonly released: (call: ServerCall) => void;
}

/**
 * One call on the server, from its headers to its trailers. It stands where grpc-js puts its interceptors and passes nothing
 * on to the streams that grpc-js would make of the call: a message is read when one is asked for and not before, and sending
 * waits for the caller, so that what a call holds in memory is bounded on both sides.
 */
export class ServerCall extends ServerInterceptingCall {
  readonly context: Context;
  readonly #plan: CallPlan;
  readonly #stream: CallStream;
  readonly #abort = new AbortController();
  readonly #deadlineTimer: NodeJS.Timeout | undefined;
  /** Runs while something waits for the caller. */
  #takeTimer: NodeJS.Timeout | undefined;
  #opened = false;
  /** The status is decided. */
  #ended = false;
  #released = false;
  #onReleased: (() => void)[] | undefined;
  #halfClosed = false;
  #pendingBytes = 0;
  #reader: PromiseWithResolvers<Buffer | undefined> | undefined;
  #writer: PromiseWithResolvers<void> | undefined;

  constructor(next: NextCall, plan: CallPlan) {
    super(next);
    this.#plan = plan;
    this.#stream = streamOf(next);
    const deadline = Number(next.getDeadline());
    this.context = Object.freeze({
      signal: this.#abort.signal,
      draining: plan.draining,
      ...(Number.isFinite(deadline) ? { deadline } : {}),
      requestId: plan.requestId,
      peer: plan.peer,
      method: plan.method,
      pendingBytes: () => this.#pendingBytes,
      fail: (error: StatusError) => this.fail(error),
      onReleased: (listener: () => void) => this.#whenReleased(listener),
    });
    if (Number.isFinite(deadline)) {
      // grpc-js has a timer too, but tells nobody of it while the caller does not read.
      const error = { code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED', message: 'deadline exceeded' } as const;
      this.#deadlineTimer = setTimeout(() => this.fail(new StatusError(error)), Math.max(0, deadline - plan.now()));
    }
  }

  /** grpc-js calls this once; its own listener stays unused. */
  override start(): void {
    void this.#live();
  }

  /**
   * The next message of the caller, undefined when it has half-closed or the call has ended well. Throws what ended the call
   * otherwise. One reader at a time.
   */
  receive(): Promise<Buffer | undefined> {
    const { signal } = this.#abort;
    if (signal.aborted) return Promise.reject(signal.reason as StatusError);
    if (this.#ended || this.#halfClosed) return Promise.resolve(undefined);
    if (this.#reader) return Promise.reject(new TypeError('two readers of one stream'));
    const reader = Promise.withResolvers<Buffer | undefined>();
    // What has arrived already is delivered before startRead returns.
    this.#reader = reader;
    if (this.#plan.hasMore()) setImmediate(() => void (this.#reader === reader && super.startRead()));
    else super.startRead();
    return reader.promise;
  }

  /** Sends a message; resolves when the caller has taken enough of what was sent. Rejects with what ended the call. */
  send(message: Buffer): Promise<void> {
    if (this.#ended) return this.#refuse();
    const bytes = message.length + WAITING_BYTES;
    this.#pendingBytes += bytes;
    this.#awaitTaking();
    super.sendMessage(message, () => {
      this.#pendingBytes -= bytes;
      if (this.#pendingBytes === 0 && !this.#ended) clearTimeout(this.#takeTimer);
      this.#wakeWriter();
    });
    return this.#pendingBytes > this.#plan.writeAheadBytes ? this.#untilTaken() : TAKEN;
  }

  async #refuse(): Promise<void> {
    this.#throwIfEnded();
  }

  async #untilTaken(): Promise<void> {
    while (this.#pendingBytes > this.#plan.writeAheadBytes) {
      this.#writer ??= Promise.withResolvers();
      await this.#writer.promise;
      this.#throwIfEnded();
    }
  }

  /** Ends the call with an error at once. Without effect on a call that has ended. */
  fail(error: StatusError): void {
    if (this.#ended) return;
    super.sendStatus(encodeStatus(error, this.context.requestId));
    this.#end(error);
  }

  /** The caller or its connection is gone: there is nobody to send a status to. */
  cancel(): void {
    const error = new StatusError({ code: 'CANCELLED', reason: 'CALL_CANCELLED', message: 'call was cancelled' });
    this.#end(error);
    this.#release();
  }

  async #live(): Promise<void> {
    try {
      await this.#plan.admit(this.context);
      this.#open();
      if (this.#ended) return;
      await this.#plan.serve(this);
      if (this.#ended) return;
      super.sendStatus({ code: status.OK, details: 'OK' });
      this.#end();
    } catch (error) {
      // What the handler sent before it failed is on its way, and the status follows it.
      if (!this.#ended) this.fail(this.#plan.describe(error, this.context));
    } finally {
      if (!this.#opened) this.#release();
    }
  }

  /** Begins to listen to the caller. A call whose stream is gone already is not told so: it is not told anything. */
  #open(): void {
    if (this.#ended) return;
    super.start({
      onReceiveMetadata: () => {
        this.#opened = true;
      },
      onReceiveMessage: (message: Buffer) => this.#received(message),
      onReceiveHalfClose: () => {
        this.#halfClosed = true;
        this.#received(undefined);
      },
      // Follows the end of every call, also of one that ended well.
      onCancel: () => this.cancel(),
    });
    if (!this.#opened) this.cancel();
  }

  #received(message: Buffer | undefined): void {
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve(message);
  }

  #wakeWriter(): void {
    this.#writer?.resolve();
    this.#writer = undefined;
  }

  #end(error?: StatusError): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadlineTimer);
    if (!this.#released) this.#awaitTaking();
    const reader = this.#reader;
    this.#reader = undefined;
    if (error) {
      this.#abort.abort(error);
      reader?.reject(error);
    } else {
      reader?.resolve(undefined);
    }
    this.#wakeWriter();
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    clearTimeout(this.#takeTimer);
    if (!this.#halfClosed && !this.#stream.destroyed) this.#awaitEnd();
    this.#plan.released(this);
    for (const listener of this.#onReleased ?? []) listener();
    this.#onReleased = undefined;
  }

  #awaitTaking(): void {
    const { takeMillis } = this.#plan;
    clearTimeout(this.#takeTimer);
    if (takeMillis !== Infinity) this.#takeTimer = setTimeout(() => this.#stream.close(CANCEL), takeMillis);
  }

  /** The caller has his answer: a stream whose other side he leaves open stays, and costs memory. */
  #awaitEnd(): void {
    const timer = setTimeout(() => {
      this.#stream.close(ANSWERED);
      this.#plan.abandoned();
    }, END_MILLIS);
    this.#stream.once('close', () => clearTimeout(timer));
  }

  #whenReleased(listener: () => void): void {
    if (this.#released) listener();
    else (this.#onReleased ??= []).push(listener);
  }

  #throwIfEnded(): void {
    this.#abort.signal.throwIfAborted();
    if (this.#ended) throw new StatusError({ code: 'CANCELLED', reason: 'CALL_ENDED', message: 'call has ended' });
  }
}
