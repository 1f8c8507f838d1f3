import type { Duplex } from 'node:stream';
import { ServerInterceptingCall, status } from '@grpc/grpc-js';
import { boundMessages } from './bound-messages.ts';
import type { MessageReader } from './bound-messages.ts';
import { ANSWERED, CANCEL, streamOf } from './call-stream.ts';
import type { CallStream } from './call-stream.ts';
import type { Context, MethodAccess, Peer } from './service.ts';
import { encodeStatus, StatusError } from './status.ts';

type NextCall = NonNullable<ConstructorParameters<typeof ServerInterceptingCall>[0]>;
type CallListener = Parameters<NextCall['start']>[0];

/** What a message that waits for its caller costs beside its bytes. */
const WAITING_BYTES = 512;

/** How long a caller may take to end his side of a call that was answered before: every library does it at once. */
const END_MILLIS = 5_000;

/** Of a message that nobody has to wait for. */
const TAKEN = Promise.resolve();

/** Of a call whose connection has closed before it was looked at. */
const NOBODY: Peer = Object.freeze({ address: '', port: 0 });

/** A connection with what it carries. */
export interface Connection {
  readonly peer: Peer;
  readonly socket: Duplex;
  readonly calls: Set<ServerCall>;
  /** So many of them are streams. */
  streams: number;
  /** Calls that were answered and that its caller did not end: where it becomes a habit, the connection is ended. */
  abandoned: number;
}

/** What the calls of a method have in common. */
export interface CallPlan {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly method: MethodAccess;
  readonly isStream: boolean;
  readonly maxReceiveBytes: number;
  /** A stream takes further messages from its handler while no more than so many bytes wait for the caller; 0: one after another. */
  readonly writeAheadBytes: number;
  /** How long an answer may wait for its caller before the call is abandoned, milliseconds; Infinity: as long as the connection. */
  readonly takeMillis: number;
  /** Serves a call: reads, computes, sends. Its status is OK once it has resolved. */
  readonly serve: (call: ServerCall) => Promise<void>;
}

/** What all calls ask their server. */
export interface CallServer {
  readonly draining: AbortSignal;
  readonly now: () => number;
  /** Admits the call; nothing of the request is read before it has resolved. */
  readonly admit: (call: ServerCall) => Promise<void> | void;
  readonly describe: (error: unknown, call: ServerCall) => StatusError;
  /** The call was answered, and its caller did not end it. */
  readonly abandoned: (call: ServerCall) => void;
  /** The call holds nothing any more. */
  readonly released: (call: ServerCall) => void;
}

/**
 * One call on the server, from its headers to its trailers. It stands where grpc-js puts its interceptors and passes nothing
 * on to the streams that grpc-js would make of the call: a message is read when one is asked for and not before, and sending
 * waits for the caller, so that what a call holds in memory is bounded on both sides.
 *
 * It listens to grpc-js and is its handler's context, both by itself: an idle stream keeps every object that it is made of.
 */
export class ServerCall extends ServerInterceptingCall implements Context, CallListener {
  readonly plan: CallPlan;
  /** Undefined where it had closed when the call came. */
  readonly connection: Connection | undefined;
  readonly requestId: string;
  readonly deadline?: number;
  readonly #server: CallServer;
  readonly #next: NextCall;
  readonly #stream: CallStream;
  readonly #messages: MessageReader;
  readonly #deadlineTimer: NodeJS.Timeout | undefined;
  /** Made for who asks for the signal first. */
  #abort: AbortController | undefined;
  /** What the call has ended with where it did not end well. */
  #failure: StatusError | undefined;
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

  constructor(
    next: NextCall,
    plan: CallPlan,
    {
      server,
      connection,
      requestId,
    }: { readonly server: CallServer; readonly connection: Connection | undefined; readonly requestId: string },
  ) {
    super(next);
    this.plan = plan;
    this.connection = connection;
    this.requestId = requestId;
    this.#server = server;
    this.#next = next;
    this.#stream = streamOf(next);
    this.#messages = boundMessages(next, this, plan.maxReceiveBytes);
    const deadline = Number(next.getDeadline());
    if (!Number.isFinite(deadline)) return;
    this.deadline = deadline;
    // grpc-js has a timer too, but tells nobody of it while the caller does not read.
    const error = { code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED', message: 'deadline exceeded' } as const;
    this.#deadlineTimer = setTimeout(() => this.fail(new StatusError(error)), Math.max(0, deadline - server.now()));
  }

  get peer(): Peer {
    return this.connection?.peer ?? NOBODY;
  }

  get method(): MethodAccess {
    return this.plan.method;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#failure !== undefined) this.#abort.abort(this.#failure);
    }
    return this.#abort.signal;
  }

  get draining(): AbortSignal {
    return this.#server.draining;
  }

  /**
   * grpc-js opens every compressed message of a frame as it arrives, each up to the largest message of any method, before one is
   * asked for: 4 KB would become 4 MiB, many times at once. It removes the header and has no option against it.
   */
  get isCompressed(): boolean {
    return Reflect.get(this.#next, 'incomingEncoding') !== 'identity';
  }

  pendingBytes(): number {
    return this.#pendingBytes;
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
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended || this.#halfClosed) return Promise.resolve(undefined);
    if (this.#reader) return Promise.reject(new TypeError('two readers of one stream'));
    const reader = Promise.withResolvers<Buffer | undefined>();
    // What has arrived already is delivered before startRead returns.
    this.#reader = reader;
    // What came together with the last message is read in a turn of its own, for thousands may have.
    if (this.#messages.hasMore) setImmediate(() => void (this.#reader === reader && super.startRead()));
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
    return this.#pendingBytes > this.plan.writeAheadBytes ? this.#untilTaken() : TAKEN;
  }

  async #refuse(): Promise<void> {
    this.#throwIfEnded();
  }

  async #untilTaken(): Promise<void> {
    while (this.#pendingBytes > this.plan.writeAheadBytes) {
      this.#writer ??= Promise.withResolvers();
      await this.#writer.promise;
      this.#throwIfEnded();
    }
  }

  /** Ends the call with an error at once. Without effect on a call that has ended. */
  fail(error: StatusError): void {
    if (this.#ended) return;
    super.sendStatus(encodeStatus(error, this.requestId));
    this.#end(error);
  }

  onReleased(listener: () => void): void {
    if (this.#released) listener();
    else (this.#onReleased ??= []).push(listener);
  }

  onReceiveMetadata(): void {
    this.#opened = true;
  }

  onReceiveMessage(message: Buffer): void {
    this.#received(message);
  }

  onReceiveHalfClose(): void {
    this.#halfClosed = true;
    this.#received(undefined);
  }

  /** Follows the end of every call, also of one that ended well. */
  onCancel(): void {
    this.cancel();
  }

  /** The caller or its connection is gone: there is nobody to send a status to. */
  cancel(): void {
    const error = new StatusError({ code: 'CANCELLED', reason: 'CALL_CANCELLED', message: 'call was cancelled' });
    this.#end(error);
    this.#release();
  }

  async #live(): Promise<void> {
    try {
      await this.#server.admit(this);
      this.#open();
      if (this.#ended) return;
      await this.plan.serve(this);
      if (this.#ended) return;
      super.sendStatus({ code: status.OK, details: 'OK' });
      this.#end();
    } catch (error) {
      // What the handler sent before it failed is on its way, and the status follows it.
      if (!this.#ended) this.fail(this.#server.describe(error, this));
    } finally {
      if (!this.#opened) this.#release();
    }
  }

  /** Begins to listen to the caller. A call whose stream is gone already is not told so: it is not told anything. */
  #open(): void {
    if (this.#ended) return;
    // Not by way of the class above, which puts two objects and four functions between.
    this.#next.start(this);
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
      this.#failure = error;
      this.#abort?.abort(error);
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
    this.#messages.drop();
    this.#server.released(this);
    for (const listener of this.#onReleased ?? []) listener();
    this.#onReleased = undefined;
  }

  #awaitTaking(): void {
    const { takeMillis } = this.plan;
    clearTimeout(this.#takeTimer);
    if (takeMillis !== Infinity) this.#takeTimer = setTimeout(() => this.#stream.close(CANCEL), takeMillis);
  }

  /** The caller has his answer: a stream whose other side he leaves open stays, and costs memory. */
  #awaitEnd(): void {
    const timer = setTimeout(() => {
      this.#stream.close(ANSWERED);
      this.#server.abandoned(this);
    }, END_MILLIS);
    this.#stream.once('close', () => clearTimeout(timer));
  }

  #throwIfEnded(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended) throw new StatusError({ code: 'CANCELLED', reason: 'CALL_ENDED', message: 'call has ended' });
  }
}
