import { randomUUID } from 'node:crypto';
import { Channel } from '../../proto/client.ts';
import type { ChannelOptions } from '../../proto/client.ts';
import { Listener } from '../../proto/listener.ts';
import type { ListenerOptions } from '../../proto/listener.ts';
import { RpcError } from '../../proto/rpc-error.ts';
import { RpcServer } from '../../proto/rpc-server.ts';
import type { RpcServerOptions } from '../../proto/rpc-server.ts';
import type { BoundService } from '../../proto/service.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';
import { issueServer, makeTestAuthority } from './tls.ts';
import type { TestAuthority } from './tls.ts';

export interface LogLine {
  readonly level: 'error' | 'warn' | 'debug';
  readonly fields: object;
  readonly message: string;
}

/** A service on loopback with a CA of its own. `await using` ends it. */
export interface TestService extends AsyncDisposable {
  readonly authority: TestAuthority;
  readonly listener: Listener;
  readonly server: RpcServer;
  readonly log: LogLine[];
  /** A channel to it: anonymous, or as the given identity. */
  connect(identity?: TlsIdentity, options?: Partial<ChannelOptions>): Channel;
}

export async function startTestService(
  services: readonly BoundService[],
  options: { readonly server?: Partial<RpcServerOptions>; readonly listener?: Partial<ListenerOptions> } = {},
): Promise<TestService> {
  const authority = await makeTestAuthority();
  const log: LogLine[] = [];
  const write = (level: LogLine['level']) => (fields: object, message: string) =>
    void log.push({ level, fields, message });
  const logger = { error: write('error'), warn: write('warn'), debug: write('debug') };
  const server = new RpcServer({
    services,
    authorize: () => undefined,
    logger,
    now: Date.now,
    newRequestId: randomUUID,
    ...options.server,
  });
  const listener = await Listener.open({
    server,
    identity: await issueServer(authority),
    host: '127.0.0.1',
    port: 0,
    logger,
    now: Date.now,
    ...options.listener,
  });
  const { host, port } = listener.address();
  const channels: Channel[] = [];
  return {
    authority,
    listener,
    server,
    log,
    connect(identity, channelOptions) {
      const trust = { kind: 'service', authorities: [authority.certificate], now: () => new Date() } as const;
      const channel = new Channel({ host, port, trust, ...(identity ? { identity } : {}), ...channelOptions });
      channels.push(channel);
      return channel;
    },
    async [Symbol.asyncDispose]() {
      for (const channel of channels) channel.close();
      await listener.drain(0);
    },
  };
}

/** Waits until a condition holds; the end of the wait is for what never comes. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What a call fails with; throws where it does not, or with something else. */
export async function failure(call: Promise<unknown>): Promise<RpcError> {
  const error: unknown = await call.then(
    () => new Error('call succeeded'),
    (reason: unknown) => reason,
  );
  if (error instanceof RpcError) return error;
  throw error;
}

/** All that a stream yields. */
export async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const seen: T[] = [];
  for await (const item of stream) seen.push(item);
  return seen;
}

/** Waits until a count no longer grows, and answers it. */
export async function settled(count: () => number): Promise<number> {
  let before = -1;
  while (before !== count()) {
    before = count();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return before;
}
