import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { describe, expect, test } from 'vitest';
import type { Peer } from '../../proto/service.ts';
import { toPem } from '../../proto/tls-identity.ts';
import { call, handshake, startRecording } from '../support/recorded-peers.ts';
import type { TestService } from '../support/rpc.ts';
import { commonName, ext, makeCertificate, SIGNATURE, testKey } from '../support/test-ca.ts';

describe('handshakes', () => {
  const ADDRESS = '127.0.3.1';

  /** Whether the service serves a caller from this address with this certificate. */
  async function served(service: TestService, identity: Partial<ConnectionOptions> = {}, localAddress = ADDRESS) {
    try {
      const from: ConnectionOptions & { readonly localAddress: string } = { localAddress, ...identity };
      const socket = await handshake(service, from);
      const session = connectHttp2('https://127.0.0.1', { createConnection: () => socket });
      // The settings of the service come once it has accepted the connection, and not before.
      const outcome = await Promise.race([
        once(session, 'remoteSettings').then(() => 'served'),
        once(socket, 'close').then(() => 'refused'),
      ]);
      session.destroy();
      return outcome;
    } catch {
      return 'refused';
    }
  }

  test('of one address come at a bounded rate, which costs no other address anything', async () => {
    let now = 0;
    await using service = await startRecording([], { listener: { now: () => now } });
    for (let count = 0; count < 25; count += 1) expect(await served(service)).toBe('served');
    expect(await served(service)).toBe('refused');
    expect(await served(service, {}, '127.0.3.2')).toBe('served');
    now = 1_000;
    expect(await served(service)).toBe('served');
    expect(service.log.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });

  test('verify no signature by the key of a client that is not elliptic: such a certificate is not asked for', async () => {
    const peers: Peer[] = [];
    await using service = await startRecording(peers);
    for (const kind of ['P-384', 'rsa2048'] as const) {
      const { der, key } = certify('leaf', testKey(kind, 'client'));
      const privateKey = key.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
      await call(service, { certificateChain: [der], privateKey });
    }
    expect(peers.map(({ certificate }) => certificate !== undefined)).toEqual([true, false]);
  });

  test('with a chain that costs time to verify cost their address a minute', async () => {
    let now = 0;
    await using service = await startRecording([], { listener: { now: () => now } });
    const client = testKey('P-256', 'client');
    const cas = Array.from({ length: 4 }, (_, index) => testKey('P-256', `ca ${index}`));
    const chain = (length: number) =>
      chainOf(
        certify('leaf', client, { issuer: 'ca 0', signer: cas[0] }),
        ...cas.slice(0, length).map((key, index) => certify(`ca ${index}`, key)),
      );
    expect(await served(service, chain(2))).toBe('served');
    expect(await served(service, chain(4))).toBe('refused');
    expect(await served(service)).toBe('refused');
    expect(await served(service, {}, '127.0.3.2')).toBe('served');
    now = 62_000;
    expect(await served(service)).toBe('served');
  });

  test('that bring much and are never done cost their address a minute, and those that wait are dropped', async () => {
    await using service = await startRecording([], { listener: { now: () => 0 } });
    const { port } = service.listener.address();
    const waiting = connectTcp({ port, host: '127.0.0.1', localAddress: ADDRESS });
    waiting.on('error', () => undefined);
    await once(waiting, 'connect');
    const greedy = connectTcp({ port, host: '127.0.0.1', localAddress: ADDRESS });
    greedy.on('error', () => undefined);
    // A record of the handshake that promises more than it brings.
    greedy.end(Buffer.concat([Buffer.from('1603013fff010100003ffb', 'hex').subarray(0, 5), Buffer.alloc(6_000, 1)]));
    await once(waiting, 'close');
    expect(await served(service)).toBe('refused');
  });
});

/** A certificate and its key as node:tls takes them. */
function chainOf(leaf: Certified, ...others: readonly Certified[]) {
  const key = leaf.key.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  return { cert: [leaf, ...others].map(({ der }) => toPem(der)).join(''), key };
}

interface Certified {
  readonly der: Buffer;
  readonly key: ReturnType<typeof testKey>;
}

/** Signed by itself unless told otherwise. */
function certify(
  name: string,
  key: ReturnType<typeof testKey>,
  { issuer = name, signer = key }: { readonly issuer?: string; readonly signer?: typeof key | undefined } = {},
): Certified {
  const der = makeCertificate({
    issuer: commonName(issuer),
    subject: commonName(name),
    notBefore: new Date('2020-01-01'),
    notAfter: new Date('2040-01-01'),
    spki: key.spki,
    extensions: [ext.ca()],
    signature: signer.privateKey.asymmetricKeyType === 'rsa' ? SIGNATURE.rsaSha256 : SIGNATURE.ecdsaSha256,
    signer: signer.privateKey,
  });
  return { der, key };
}
