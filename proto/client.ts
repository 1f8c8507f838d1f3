import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, DescMethod, DescService, Message, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import type { CallOptions as GrpcCallOptions, ClientDuplexStream } from '@grpc/grpc-js';
import { isIP } from 'node:net';
import { makeCredentials } from './credentials.ts';
import type { CredentialOptions } from './credentials.ts';
import { formatEndpoint } from './endpoint.ts';
import type { Endpoint } from './endpoint.ts';
import { RpcError } from './rpc-error.ts';

export interface CallOptions {
  /** Cancels the call. */
  readonly signal?: AbortSignal;
  /** When the call must have ended, in milliseconds since 1970-01-01T00:00:00Z. */
  readonly deadline?: number;
}

/** One method as its caller sees it. Every failure is an {@link RpcError}. */
type Method<M extends Pick<DescMethod, 'methodKind' | 'input' | 'output'>> = M['methodKind'] extends 'unary'
  ? (request: MessageInitShape<M['input']>, options?: CallOptions) => Promise<MessageShape<M['output']>>
  : M['methodKind'] extends 'server_streaming'
    ? (request: MessageInitShape<M['input']>, options?: CallOptions) => AsyncIterable<MessageShape<M['output']>>
    : M['methodKind'] extends 'client_streaming'
      ? (requests: Requests<M>, options?: CallOptions) => Promise<MessageShape<M['output']>>
      : (requests: Requests<M>, options?: CallOptions) => AsyncIterable<MessageShape<M['output']>>;

type Requests<M extends Pick<DescMethod, 'input'>> = AsyncIterable<MessageInitShape<M['input']>>;

/** A message, or what makes one; the descriptor says which. */
type MessageInit = Record<string, unknown>;

/** A typed client of a service. */
export type ServiceClient<S extends DescService> = { readonly [K in keyof S['method']]: Method<S['method'][K]> };

export interface ChannelOptions extends CredentialOptions, Endpoint {
  /** Largest message that is received; default 4 MiB. */
  readonly maxReceiveBytes?: number;
  /** Interval of the HTTP/2 pings that find a dead connection; default 30 s, none without a call. */
  readonly keepaliveMillis?: number;
}

/** One connection to a service, shared by the clients that are made of it and by nobody else. */
export class Channel {
  readonly #grpc: GrpcClient;
  readonly #closed = new AbortController();

  constructor(options: ChannelOptions) {
    this.#grpc = new GrpcClient(formatEndpoint(options), makeCredentials(options, options.host), {
      // An address is no server name (RFC 6066 §3), yet grpc-js would send it as one; the name is checked by the credentials.
      'grpc.ssl_target_name_override':
        options.serverName ?? (isIP(options.host) === 0 ? options.host : 'address.invalid'),
      'grpc.max_receive_message_length': options.maxReceiveBytes ?? 4 * 1024 * 1024,
      'grpc.keepalive_time_ms': options.keepaliveMillis ?? 30_000,
      // Identity belongs to the connection: it is not shared with other channels. Retries are the caller's decision, and no
      // proxy or configuration comes in from the environment or from DNS.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_channelz': 0,
    });
  }

  client<S extends DescService>(service: S): ServiceClient<S> {
    const methods = service.methods.map((method) => [method.localName, this.#method(service, method)]);
    // The table is made of the same descriptor that the type is computed from.
    return Object.freeze(Object.fromEntries(methods)) as ServiceClient<S>;
  }

  /** Ends the connection; open calls fail with CANCELLED. */
  close(): void {
    // grpc-js would let calls run on, and keep the connection for them.
    this.#closed.abort(new Error('channel was closed'));
    this.#grpc.close();
  }

  #method(service: DescService, method: DescMethod): unknown {
    const path = `/${service.typeName}/${method.name}`;
    switch (method.methodKind) {
      case 'unary':
        return (request: MessageInit, options?: CallOptions) => one(this.#bidi(path, method, only(request), options));
      case 'client_streaming':
        return (requests: AsyncIterable<MessageInit>, options?: CallOptions) =>
          one(this.#bidi(path, method, requests, options));
      case 'server_streaming':
        return (request: MessageInit, options?: CallOptions) => this.#bidi(path, method, only(request), options);
      case 'bidi_streaming':
        return (requests: AsyncIterable<MessageInit>, options?: CallOptions) =>
          this.#bidi(path, method, requests, options);
    }
  }

  /** On the wire all four kinds are one: messages there, messages back, a status. */
  #bidi(
    path: string,
    method: DescMethod,
    requests: AsyncIterable<MessageInit>,
    options: CallOptions = {},
  ): AsyncIterableIterator<Message> {
    const grpcOptions: GrpcCallOptions = options.deadline === undefined ? {} : { deadline: options.deadline };
    const stream = this.#grpc.makeBidiStreamRequest(path, same, same, new Metadata(), grpcOptions);
    const call = new Call(stream, [this.#closed.signal, ...(options.signal ? [options.signal] : [])]);
    void call.send(method.input, requests);
    return call.receive(method.output);
  }
}

/** One call from the caller's side. */
class Call {
  readonly #stream: ClientDuplexStream<Buffer, Buffer>;
  #failure: RpcError | undefined;
  #ended = false;

  constructor(stream: ClientDuplexStream<Buffer, Buffer>, signals: readonly AbortSignal[]) {
    this.#stream = stream;
    const cancel = (): void => {
      const cause: unknown = signals.find(({ aborted }) => aborted)?.reason;
      this.#fail(RpcError.local('CANCELLED', 'call was cancelled', cause));
    };
    for (const signal of signals) signal.addEventListener('abort', cancel, { once: true });
    stream.on('error', (error) => {
      this.#failure ??= RpcError.from(error);
    });
    stream.once('status', () => {
      this.#ended = true;
      for (const signal of signals) signal.removeEventListener('abort', cancel);
    });
    if (signals.some(({ aborted }) => aborted)) cancel();
  }

  /** Sends what the caller yields, at the pace at which the service reads. Never rejects: a failure ends the call. */
  async send(schema: DescMessage, requests: AsyncIterable<MessageInit>): Promise<void> {
    try {
      const iterator = requests[Symbol.asyncIterator]();
      // The service may end the call while the caller still has something to say.
      this.#stream.once('status', () => void dismiss(iterator));
      for (let next = await iterator.next(); !this.#ended && next.done !== true; next = await iterator.next()) {
        const { buffer, byteOffset, byteLength } = toBinary(schema, create(schema, next.value));
        if (!this.#stream.write(Buffer.from(buffer, byteOffset, byteLength))) await this.#drained();
      }
      if (!this.#ended) this.#stream.end();
    } catch (error) {
      this.#fail(RpcError.local('CANCELLED', 'request could not be made', error));
    }
  }

  /** What the service answers; ends with the status of the call. Who stops to listen cancels the call. */
  async *receive(schema: DescMessage): AsyncIterableIterator<Message> {
    try {
      for await (const bytes of this.#stream.iterator({ destroyOnReturn: false })) yield decode(schema, bytes);
    } catch (error) {
      throw this.#failure ?? RpcError.from(error);
    } finally {
      if (!this.#ended) this.#stream.cancel();
    }
    if (this.#failure) throw this.#failure;
  }

  async #drained(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stream.once('drain', resolve).once('status', resolve);
    await promise;
    this.#stream.off('drain', resolve).off('status', resolve);
  }

  #fail(error: RpcError): void {
    if (this.#ended) return;
    this.#failure ??= error;
    this.#stream.cancel();
  }
}

function decode(schema: DescMessage, bytes: unknown): Message {
  if (!Buffer.isBuffer(bytes)) throw new TypeError('stream yielded no bytes');
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw RpcError.local('DATA_LOSS', `answer is not a ${schema.typeName}`, cause);
  }
}

async function dismiss(iterator: AsyncIterator<MessageInit>): Promise<void> {
  try {
    await iterator.return?.();
  } catch {
    // The call has its status; what the source of its requests says to that changes nothing.
  }
}

async function one(responses: AsyncIterable<Message>): Promise<Message> {
  let answer: Message | undefined;
  for await (const response of responses) {
    if (answer !== undefined) throw RpcError.local('DATA_LOSS', 'more than one answer');
    answer = response;
  }
  if (answer === undefined) throw RpcError.local('DATA_LOSS', 'answer is missing');
  return answer;
}

async function* only(request: MessageInit): AsyncIterable<MessageInit> {
  yield request;
}

function same(bytes: Buffer): Buffer {
  return bytes;
}
