/** The whole service behind its port, with callers of every role. */
import { randomBytes } from 'node:crypto';

import { Channel } from '../../proto/client.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';
import { issueClientCertificate } from '../../server/identity/ca.ts';
import { startService } from '../../server/service.ts';
import type { RunningService } from '../../server/service.ts';
import type { IdentityRole, Labels } from '../../server/store/records.ts';
import { FakeClock } from '../server/store/contract/harness.ts';
import { makeTlsKey } from './evidence-builder.ts';
import type { TlsKey } from './evidence-builder.ts';
import { openHouse, OPERATOR, SERVER_NAMES } from './test-service.ts';
import type { House, HouseOptions } from './test-service.ts';

const random = (size: number): Buffer => randomBytes(size);

export interface Running extends AsyncDisposable {
  /** The same store and keys without the network. */
  readonly house: House;
  readonly service: RunningService;
  /** What the service logged as an error. */
  readonly errors: unknown[];
  /** All that it logged, at every level. */
  readonly logged: unknown[];
  /** A channel: anonymous, or with a certificate. */
  connect(identity?: TlsIdentity): Channel;
  /** Makes an identity with these roles, which sees every host unless it has a scope. */
  identity(name: string, roles: readonly IdentityRole[], scope?: Labels): Promise<TlsIdentity>;
}

export async function startAssay(options: HouseOptions = {}): Promise<Running> {
  // OpenSSL judges the server's certificate by the machine's clock: the service's begins there.
  const clock = new FakeClock();
  clock.wall = Date.now();
  const house = await openHouse({ clock, ...options });
  const errors: unknown[] = [];
  const logged: unknown[] = [];
  const keep = (fields: unknown, message: string): void => void logged.push([fields, message]);
  const service = await startService({
    config: {
      listen: { host: '127.0.0.1', port: 0 },
      webListen: { host: '127.0.0.1', port: 0 },
      dataDirectory: '',
      serverNames: SERVER_NAMES,
      rootKeyFile: '',
      admission: options.admission ?? ['certificate'],
      admissionBootPolicy: options.bootPolicy ?? '',
      maxPendingHosts: 1000,
      pendingHostLifetime: 7 * 24 * 3_600,
      agentCertificateLifetime: 24 * 3_600,
      akCertificateLifetime: 30 * 24 * 3_600,
      identityCertificateLifetime: 90 * 24 * 3_600,
      historyRetention: 30 * 24 * 3_600,
      maxTokenTtl: 300,
      // Tests connect often, and all from few addresses.
      maxConnectionsPerAddress: 20_000,
      reflection: true,
      logLevel: 'info',
    },
    store: house.store,
    root: house.root,
    random,
    wallClock: () => Date.now(),
    monotonic: () => performance.now(),
    version: '1.2.3',
    log: {
      error: (fields, message) => {
        errors.push([fields, message]);
        keep(fields, message);
      },
      warn: keep,
      info: keep,
      debug: keep,
    },
  });
  const channels: Channel[] = [];
  return {
    house,
    service,
    errors,
    logged,
    connect: (identity) => {
      const { host, port } = service.address;
      const authorities = [house.keys.current.authority.certificate];
      const trust = { kind: 'service', authorities, now: () => new Date() } as const;
      const channel = new Channel({ host, port, trust, ...(identity === undefined ? {} : { identity }) });
      channels.push(channel);
      return channel;
    },
    identity: async (name, roles, scope = {}) => {
      const tls = makeTlsKey();
      const certificate = await issueClientCertificate(house.keys.current.authority, {
        publicKey: tls.spki,
        subject: { name },
        lifetimeSeconds: 24 * 3_600,
        now: new Date(house.store.now()),
        random,
      });
      const expireTime = house.store.now() + 24 * 3_600_000;
      const keySha256 = tls.sha256.toString('hex');
      await house.store.putIdentity({ name, roles, keySha256, expireTime, scope }, OPERATOR);
      return tlsIdentity(tls, certificate);
    },
    async [Symbol.asyncDispose]() {
      for (const channel of channels) channel.close();
      await service.stop();
      await house[Symbol.asyncDispose]();
    },
  };
}

export function tlsIdentity({ privateKey }: TlsKey, certificate: Buffer): TlsIdentity {
  return { certificateChain: [certificate], privateKey };
}
