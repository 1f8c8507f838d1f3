import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { ConnectionInjector, ServerInterceptor } from '@grpc/grpc-js';
import type { Duplex } from 'node:stream';
import { addressBlock } from './address-block.ts';
import { describeError, makeServe } from './bridge.ts';
import type { RpcLogger } from './bridge.ts';
import { liftDeadline } from './lift-deadline.ts';
import { OpenRequests } from './open-requests.ts';
import { ServerCall } from './server-call.ts';
import type { CallPlan, CallServer, Connection } from './server-call.ts';
import { accessOf, STANDARD_METHOD_ROLES } from './service.ts';
import type { BoundService, Context, MethodAccess, Peer, RoleName } from './service.ts';
import { StatusError } from './status.ts';

export interface RpcServerOptions {
  readonly services: readonly BoundService[];
  /**
   * Runs before every method of every service and before any byte of the request is read; throws a StatusError to refuse. The
   * context that it sees is the one that the handler gets, so that it can key what it found out (a WeakMap).
   */
  readonly authorize: (context: Context) => Promise<void> | void;
  readonly logger: RpcLogger;
  /** Milliseconds since 1970-01-01T00:00:00Z, by the wall clock of this machine: grpc-js makes the deadlines of calls by it. */
  readonly now: () => number;
  /** Unpredictable and unique; callers quote it and logs carry it. */
  readonly newRequestId: () => string;
  /** The table from the rooms' errors to statuses; undefined for what it does not know. */
  readonly translateError?: (error: unknown) => StatusError | undefined;
  /** Roles of methods that lack the access option, by path; default: health and reflection for everybody. */
  readonly methodRoles?: ReadonlyMap<string, readonly RoleName[]>;
  /** Largest message that is received (default 4 MiB, 4 KiB where strangers may call), and by the method's path where that differs. */
  readonly maxReceiveBytes?: number;
  readonly maxReceiveBytesOf?: ReadonlyMap<string, number>;
  /** Largest message that is sent; default 4 MiB, which is what clients take by default. */
  readonly maxSendBytes?: number;
  /** How long an answer may wait for a stranger before his call is abandoned; default 30 s. */
  readonly strangersTakeMillis?: number;
  /** Streams that one connection may have open; default 100. Calls of one request and one answer wait for a place with their caller. */
  readonly maxStreamsPerConnection?: number;
  readonly requestTimeoutMillis?: number;
  /** Interval of the HTTP/2 pings that find dead connections; default 30 s. */
  readonly keepaliveMillis?: number;
  /** A connection without calls is closed after so long; default 5 min. */
  readonly idleMillis?: number;
}

const MEBIBYTE = 1024 * 1024;
/** What anybody may send, and hold by a stream that lasts, unless a method needs more: a name, such as of a service or symbol. */
const STRANGERS_BYTES = 4 * 1024;
/** What the open calls of health and reflection may hold of an address and in all: some 240 and 1,900 of them. */
const STANDARD_REQUESTS = { ofAddress: 16 * MEBIBYTE, ofAll: 128 * MEBIBYTE } as const;
/** Fields of one message: what hosts and strangers send has some 1,300 at the most, the largest policy some 22,000. */
const MAX_FIELDS = { hosts: 4 * 1024, identities: 32 * 1024 } as const;
/**
 * Places of a connection beside those of its streams. HTTP/2 tells callers how many there are in all, and their libraries keep further
 * calls back: for one that is answered soon this is as it should be; a stream would wait for others that last, so that it is refused.
 */
const OTHER_CALLS = 10;
/** What may wait for a caller of a stream. A stranger's next answer is made when he has taken the one before. */
const WRITE_AHEAD_BYTES = 256 * 1024;
const STRANGERS_TAKE_MILLIS = 30_000;

/** Serves services on sockets that are handed to it; a socket comes with the peer that its handshake proved. */
export class RpcServer {
  readonly #injector: ConnectionInjector;
  readonly #options: RpcServerOptions;
  readonly #plans: ReadonlyMap<string, CallPlan>;
  readonly #strangers = new OpenRequests();
  /** Of the standard services, whose streams may last: they leave room for the calls of the others. */
  readonly #standard = new OpenRequests(STANDARD_REQUESTS);
  readonly #connections = new Map<string, Connection>();
  readonly #draining = new AbortController();
  /** What calls ask of this server. */
  readonly #calls: CallServer;
  readonly #maxStreams: number;
  #callCount = 0;
  #onChange: () => void = () => undefined;

  /** Throws TypeError for a method that does not say who may call it, and for one that stands in two services. */
  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.#maxStreams = options.maxStreamsPerConnection ?? 100;
    const plans = new Map<string, CallPlan>();
    let maxReceiveBytes = 0;
    for (const method of options.services.flatMap(({ methods }) => methods)) {
      if (plans.has(method.path)) throw new TypeError(`${method.path} is served twice`);
      const access = accessOf(method, options.methodRoles ?? STANDARD_METHOD_ROLES);
      const limit = receiveLimit(access, method.path, options);
      const serve = makeServe(method, {
        maxReceiveBytes: limit,
        maxFields: MAX_FIELDS[isForHosts(access) ? 'hosts' : 'identities'],
        maxSendBytes: options.maxSendBytes ?? 4 * MEBIBYTE,
        requestTimeoutMillis: options.requestTimeoutMillis ?? 30_000,
      });
      const isStream = method.descriptor.methodKind !== 'unary';
      const { path } = method;
      plans.set(path, { path, method: access, serve, isStream, maxReceiveBytes: limit, ...patience(access, options) });
      maxReceiveBytes = Math.max(maxReceiveBytes, limit);
    }
    for (const path of options.maxReceiveBytesOf?.keys() ?? []) {
      if (!plans.has(path)) throw new TypeError(`a limit is set for ${path}, which is not served`);
    }
    this.#plans = plans;
    const { logger, translateError } = options;
    const describing = { logger, ...(translateError === undefined ? {} : { translate: translateError }) };
    this.#calls = {
      draining: this.#draining.signal,
      now: options.now,
      admit: (call) => this.#admit(call),
      describe: (error, call) => describeError(error, call, describing),
      abandoned: ({ connection }) => {
        if (connection && (connection.abandoned += 1) >= this.#maxStreams) connection.socket.destroy();
      },
      released: (call) => this.#released(call),
    };
    const server = new Server({
      interceptors: [(definition, next) => this.#intercept(definition.path, next)],
      'grpc.max_receive_message_length': maxReceiveBytes,
      'grpc.max_concurrent_streams': this.#maxStreams + OTHER_CALLS,
      'grpc.keepalive_time_ms': options.keepaliveMillis ?? 30_000,
      'grpc.max_connection_idle_ms': options.idleMillis ?? 300_000,
      'grpc.enable_channelz': 0,
    });
    for (const path of plans.keys()) server.register(path, neverCalled, identity, identity, 'bidi');
    this.#injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  /** Takes over a connected socket whose handshake is done. `peer` must hold the socket's own remote address and port. */
  accept(socket: Duplex, peer: Peer): void {
    const key = `${peer.address}:${peer.port}`;
    const connection: Connection = { peer, socket, calls: new Set(), streams: 0, abandoned: 0 };
    this.#connections.set(key, connection);
    socket.on('close', () => {
      // The same address and port may be another connection by now.
      if (this.#connections.get(key) === connection) this.#connections.delete(key);
      for (const call of connection.calls) call.cancel();
      this.#onChange();
    });
    this.#injector.injectConnection(socket);
  }

  get callCount(): number {
    return this.#callCount;
  }

  /**
   * Ends service: no new call begins (GOAWAY) and `context.draining` aborts; calls that are still open after the grace end with
   * UNAVAILABLE, and what is still connected a second later is cut. Resolves when no connection is left.
   */
  async drain(graceMillis: number): Promise<void> {
    this.#draining.abort();
    // Sends GOAWAY now. What it would cut later is gone by then.
    this.#injector.drain(graceMillis + 10 * CLOSING_MILLIS);
    await this.#until(() => this.callCount === 0, graceMillis);
    for (const { calls } of this.#connections.values()) for (const call of calls) call.fail(shuttingDown());
    await this.#until(() => this.#connections.size === 0, CLOSING_MILLIS);
    for (const { socket } of this.#connections.values()) socket.destroy();
    await this.#until(() => this.#connections.size === 0, CLOSING_MILLIS);
    this.#injector.destroy();
  }

  #intercept(path: string, next: ConstructorParameters<typeof ServerCall>[0]): ReturnType<ServerInterceptor> {
    const plan = this.#plans.get(path);
    if (!plan) throw new TypeError(`${path} is not served`);
    // A call whose connection has closed meanwhile is nobody's: refused below, and there is nobody to read why.
    const connection = this.#connections.get(next.getPeer());
    liftDeadline(next, this.#options.now());
    const requestId = this.#options.newRequestId();
    const call = new ServerCall(next, plan, { server: this.#calls, connection, requestId });
    if (connection) {
      connection.calls.add(call);
      this.#callCount += 1;
      if (plan.isStream) connection.streams += 1;
    }
    return call;
  }

  #admit(call: ServerCall): Promise<void> | void {
    const { connection, plan } = call;
    const { path, method, isStream, maxReceiveBytes } = plan;
    if (!connection)
      throw new StatusError({ code: 'UNAVAILABLE', reason: 'CONNECTION_LOST', message: 'connection lost' });
    if (this.#draining.signal.aborted) throw shuttingDown();
    if (isStream && connection.streams > this.#maxStreams) throw tooManyStreams(this.#maxStreams);
    if (call.isCompressed) throw compressed();
    if (method.roles.includes('anonymous')) {
      const requests = STANDARD_METHOD_ROLES.has(path) ? this.#standard : this.#strangers;
      const close = requests.open(addressBlock(connection.peer.address), maxReceiveBytes);
      if (close === undefined) throw tooManyRequests();
      call.onReleased(close);
    }
    return this.#options.authorize(call);
  }

  #released(call: ServerCall): void {
    const { connection, plan } = call;
    if (connection?.calls.delete(call) === true) {
      this.#callCount -= 1;
      if (plan.isStream) connection.streams -= 1;
    }
    if (this.#draining.signal.aborted) this.#onChange();
  }

  async #until(condition: () => boolean, millis: number): Promise<void> {
    if (condition()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, millis);
    this.#onChange = () => {
      if (condition()) resolve();
    };
    await promise;
    clearTimeout(timer);
    this.#onChange = () => undefined;
  }
}

const CLOSING_MILLIS = 1000;

function shuttingDown(): StatusError {
  const message = 'service is shutting down';
  return new StatusError({ code: 'UNAVAILABLE', reason: 'SHUTTING_DOWN', message, retryAfterMillis: 1000 });
}

function tooManyStreams(limit: number): StatusError {
  const message = `connection has ${limit} streams open`;
  return new StatusError({ code: 'RESOURCE_EXHAUSTED', reason: 'TOO_MANY_CALLS', message, retryAfterMillis: 1000 });
}

function tooManyRequests(): StatusError {
  const message = 'too many requests are open, from your address or in all';
  return new StatusError({ code: 'RESOURCE_EXHAUSTED', reason: 'TOO_MANY_CALLS', message, retryAfterMillis: 1000 });
}

function patience(
  { roles }: MethodAccess,
  { strangersTakeMillis = STRANGERS_TAKE_MILLIS }: RpcServerOptions,
): Pick<CallPlan, 'writeAheadBytes' | 'takeMillis'> {
  return roles.includes('anonymous')
    ? { writeAheadBytes: 0, takeMillis: strangersTakeMillis }
    : { writeAheadBytes: WRITE_AHEAD_BYTES, takeMillis: Infinity };
}

/** Whether hosts or strangers may call it. */
function isForHosts({ roles }: MethodAccess): boolean {
  return roles.includes('anonymous') || roles.includes('agent');
}

/** What a method takes where its own limit is not named: a new one that strangers may call begins small. */
function receiveLimit(
  { roles }: MethodAccess,
  path: string,
  { maxReceiveBytesOf, maxReceiveBytes = 4 * MEBIBYTE }: RpcServerOptions,
): number {
  const limit = roles.includes('anonymous') ? Math.min(STRANGERS_BYTES, maxReceiveBytes) : maxReceiveBytes;
  return maxReceiveBytesOf?.get(path) ?? limit;
}

function compressed(): StatusError {
  const message = 'compressed messages are not taken';
  return new StatusError({ code: 'UNIMPLEMENTED', reason: 'COMPRESSION_UNSUPPORTED', message });
}

function identity(bytes: Buffer): Buffer {
  return bytes;
}

/** ServerCall serves the call where grpc-js would hand it on to here. */
function neverCalled(): void {
  throw new TypeError('call passed its bridge');
}
