import { getOption, hasOption } from '@bufbuild/protobuf';
import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { EncodedMessage } from './encoded-message.ts';
import type { Sending } from './sending.ts';
import { access, Role } from './gen/assay/v1/access_pb.ts';
import type { StatusError } from './status.ts';

/** What a caller may be, as the method option `assay.v1.access` names it. */
export type RoleName = 'anonymous' | 'agent' | 'operator' | 'orchestrator' | 'relying_party' | 'consumer' | 'auditor';

/** Who is at the other end of a connection: the same object for every call of that connection. */
export interface Peer {
  readonly address: string;
  readonly port: number;
  /** The leaf that the caller presented (X.509 DER), whatever its CA. Its key is proven, its content is not. Gone with its connection. */
  readonly certificate?: Buffer | undefined;
  /** SHA-256 of the SubjectPublicKeyInfo (DER) of that certificate. */
  readonly tlsKeySha256?: Buffer;
}

export interface MethodAccess {
  /** Full name of the service, such as `assay.v1.HostService`. */
  readonly service: string;
  readonly name: string;
  /** Any one of these is enough. */
  readonly roles: readonly RoleName[];
  /** The caller's scope must be every host. */
  readonly everyHost: boolean;
}

/** What a handler knows of its call. */
export interface Context {
  /** Aborts when the call ends before its handler: cancelled, deadline, connection lost, server drained, {@link fail}. */
  readonly signal: AbortSignal;
  /** Aborts when the server begins to drain: a stream that may last should end at its next good moment. */
  readonly draining: AbortSignal;
  /** Milliseconds since 1970-01-01T00:00:00Z; absent where the caller set none. */
  readonly deadline?: number;
  readonly requestId: string;
  readonly peer: Peer;
  readonly method: MethodAccess;
  /** Bytes that were given to the channel and not yet taken by the caller. */
  pendingBytes(): number;
  /** Ends the call with this status at once, whatever its handler is doing. The status follows what is pending. */
  fail(error: StatusError): void;
  /** Calls back once nothing of the call is held any more, nor anything that waits for the caller: at once where that is so. */
  onReleased(listener: () => void): void;
}

/** The handler of one method. The call's kind decides its shape. */
export type Handler<M extends Pick<DescMethod, 'methodKind' | 'input' | 'output'>> = M['methodKind'] extends 'unary'
  ? (request: MessageShape<M['input']>, context: Context) => Answer<M>
  : M['methodKind'] extends 'server_streaming'
    ? (request: MessageShape<M['input']>, context: Context) => AsyncIterable<AnsweredMessage<M>>
    : M['methodKind'] extends 'client_streaming'
      ? (requests: AsyncIterable<MessageShape<M['input']>>, context: Context) => Answer<M>
      : (requests: AsyncIterable<MessageShape<M['input']>>, context: Context) => Answers<M>;

type Answer<M extends Pick<DescMethod, 'output'>> = Promise<AnsweredMessage<M>> | AnsweredMessage<M>;

type Answers<M extends Pick<DescMethod, 'output'>> = AsyncIterable<AnsweredMessage<M>> | Sending<AnsweredMessage<M>>;

type AnsweredMessage<M extends Pick<DescMethod, 'output'>> =
  | MessageInitShape<M['output']>
  | EncodedMessage<M['output']>;

/** One handler for every method of a service. */
export type Handlers<S extends DescService> = { readonly [K in keyof S['method']]: Handler<S['method'][K]> };

/** A handler without the types of its messages, as the bridge calls it. */
export type AnyHandler = (input: unknown, context: Context) => unknown;

export interface BoundMethod {
  readonly descriptor: DescMethod;
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly handler: AnyHandler;
}

export interface BoundService {
  readonly descriptor: DescService;
  readonly methods: readonly BoundMethod[];
}

/** Puts handlers to a service. Throws TypeError where a method has none. */
export function bindService<S extends DescService>(descriptor: S, handlers: Handlers<S>): BoundService {
  const table = new Map<string, unknown>(Object.entries(handlers));
  const methods = descriptor.methods.map((method) => {
    const handler = table.get(method.localName);
    if (!isHandler(handler)) throw new TypeError(`no handler for ${descriptor.typeName}/${method.name}`);
    return { descriptor: method, path: `/${descriptor.typeName}/${method.name}`, handler };
  });
  return { descriptor, methods };
}

/**
 * The standard services, whose protos carry no access option. They are the only methods without it that a server takes;
 * give another table to narrow them.
 */
export const STANDARD_METHOD_ROLES: ReadonlyMap<string, readonly RoleName[]> = new Map([
  ['/grpc.health.v1.Health/Check', ['anonymous']],
  ['/grpc.health.v1.Health/Watch', ['anonymous']],
  ['/grpc.health.v1.Health/List', ['anonymous']],
  ['/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', ['anonymous']],
]);

/** Who may call a method. Throws TypeError for a method that does not say it. */
export function accessOf(method: BoundMethod, exceptions: ReadonlyMap<string, readonly RoleName[]>): MethodAccess {
  const { descriptor, path } = method;
  const service = descriptor.parent.typeName;
  const named = hasOption(descriptor, access)
    ? getOption(descriptor, access).roles.map((role) => ROLE_NAMES.get(role))
    : exceptions.get(path);
  if (named === undefined) throw new TypeError(`${path} does not say who may call it (option assay.v1.access)`);
  const roles = named.filter((role) => role !== undefined);
  if (roles.length === 0 || roles.length !== named.length)
    throw new TypeError(`${path} names no role or an unknown one`);
  const { everyHost } = getOption(descriptor, access);
  return Object.freeze({ service, name: descriptor.name, roles: Object.freeze(roles), everyHost });
}

const ROLE_NAMES: ReadonlyMap<Role, RoleName> = new Map<Role, RoleName>([
  [Role.ANONYMOUS, 'anonymous'],
  [Role.AGENT, 'agent'],
  [Role.OPERATOR, 'operator'],
  [Role.ORCHESTRATOR, 'orchestrator'],
  [Role.RELYING_PARTY, 'relying_party'],
  [Role.CONSUMER, 'consumer'],
  [Role.AUDITOR, 'auditor'],
]);

function isHandler(candidate: unknown): candidate is AnyHandler {
  return typeof candidate === 'function';
}
