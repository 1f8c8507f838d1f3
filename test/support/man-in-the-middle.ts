/**
 * Somebody between agent and service who reads and changes every message. He has a TLS identity that the agent takes for the
 * service's, and speaks to the service under whatever key he has: the channel stops nobody here, only what is said over it.
 */
import type { DescMethod, DescService, Message } from '@bufbuild/protobuf';

import { Channel } from '../../proto/client.ts';
import type { Endpoint } from '../../proto/endpoint.ts';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { EnrollmentService } from '../../proto/gen/assay/v1/enrollment_pb.ts';
import { Listener } from '../../proto/listener.ts';
import { RpcError } from '../../proto/rpc-error.ts';
import { RpcServer } from '../../proto/rpc-server.ts';
import { bindService } from '../../proto/service.ts';
import type { BoundService, Handlers } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';
import { MAX_RECEIVE_BYTES } from '../../server/rpc/services.ts';

/** What becomes of a message on its way; the same or another one. */
export type Change = (message: Message) => Message;

export interface MiddleOptions {
  readonly service: Endpoint;
  readonly authority: Buffer;
  /** What the agent is shown. */
  readonly shown: TlsIdentity;
  /** What the service is shown; nothing when left out. */
  readonly own?: TlsIdentity;
  readonly toService?: Change;
  readonly toAgent?: Change;
}

type AnyClient = Readonly<Record<string, (input: unknown) => unknown>>;

export class ManInTheMiddle implements AsyncDisposable {
  /** Types of the messages that came by, in order. */
  readonly seen: Message[] = [];
  readonly #options: MiddleOptions;
  readonly #channel: Channel;
  #listener: Listener | undefined;

  private constructor(options: MiddleOptions) {
    const { service, authority, own } = options;
    this.#options = options;
    this.#channel = new Channel({
      ...service,
      trust: { kind: 'service', authorities: [authority], now: () => new Date() },
      ...(own === undefined ? {} : { identity: own }),
    });
  }

  static async open(options: MiddleOptions): Promise<ManInTheMiddle> {
    const middle = new ManInTheMiddle(options);
    const services = [middle.#relay(EnrollmentService), middle.#relay(AttestationService)];
    const served = new Set(services.flatMap(({ methods }) => methods.map(({ path }) => path)));
    const quiet = () => undefined;
    const logger = { error: quiet, warn: quiet, debug: quiet };
    const server = new RpcServer({
      services,
      authorize: quiet,
      logger,
      now: Date.now,
      newRequestId: () => 'middle',
      translateError: (error) => (error instanceof RpcError ? passedOn(error) : undefined),
      maxReceiveBytesOf: new Map([...MAX_RECEIVE_BYTES].filter(([path]) => served.has(path))),
    });
    middle.#listener = await Listener.open({
      server,
      identity: options.shown,
      host: '127.0.0.1',
      port: 0,
      logger,
      now: Date.now,
    });
    return middle;
  }

  get endpoint(): Endpoint {
    if (this.#listener === undefined) throw new TypeError('nobody is in the middle');
    return this.#listener.address();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
    await this.#listener?.drain(0);
  }

  #relay<S extends DescService>(service: S): BoundService {
    const client = this.#channel.client(service) as unknown as AnyClient;
    const handlers = service.methods.map((method) => [method.localName, this.#handler(client, method)]);
    return bindService(service, Object.fromEntries(handlers) as Handlers<S>);
  }

  #handler(client: AnyClient, { localName, methodKind }: DescMethod): (input: never) => unknown {
    const { toService = same, toAgent = same } = this.#options;
    const call = (input: unknown): unknown => client[localName]?.(input);
    const up = (message: Message): Message => this.#note(toService(message));
    const down = (message: Message): Message => this.#note(toAgent(message));
    if (methodKind === 'unary') return async (request: Message) => down((await call(up(request))) as Message);
    if (methodKind === 'client_streaming')
      return async (requests: AsyncIterable<Message>) => down((await call(changed(requests, up))) as Message);
    return (requests: AsyncIterable<Message>) => changed(call(changed(requests, up)) as AsyncIterable<Message>, down);
  }

  #note(message: Message): Message {
    this.seen.push(message);
    return message;
  }
}

async function* changed(messages: AsyncIterable<Message>, change: Change): AsyncGenerator<Message, void, undefined> {
  for await (const message of messages) yield change(message);
}

function passedOn({ code, reason, message }: RpcError): StatusError {
  return new StatusError({ code, reason, message });
}

function same(message: Message): Message {
  return message;
}
