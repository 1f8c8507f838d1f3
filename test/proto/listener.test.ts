import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createSecureContext } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { AttestationResultService } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { addressBlock } from '../../proto/address-block.ts';
import { RpcError } from '../../proto/rpc-error.ts';
import type { Peer } from '../../proto/service.ts';
import { toPem } from '../../proto/tls-identity.ts';
import { echoServices, silence } from '../support/echo.ts';
import { call, handshake, startRecording } from '../support/recorded-peers.ts';
import { settled, startTestService, until } from '../support/rpc.ts';
import { issueClient, issueServer, makeTestAuthority } from '../support/tls.ts';

/** Not in every container. */
const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);

describe('who is calling', () => {
  test('anonymous, own and unknown callers share one port and are told apart', async () => {
    const peers: Peer[] = [];
    await using service = await startRecording(peers);
    const own = await issueClient(service.authority, 'own');
    const rogue = await issueClient(await makeTestAuthority('rogue'), 'rogue');
    const expired = await service.authority.issue({
      profile: 'client',
      identity: { kind: 'identity', deployment: 'd-aaaaaaaaaaaaaaaa', name: 'late' },
      lifeMillis: -60_000,
    });
    await Promise.all([call(service), call(service, own), call(service, rogue), call(service, expired), call(service)]);
    expect(peers).toHaveLength(5);
    const keys = peers.map(({ tlsKeySha256 }) => tlsKeySha256?.toString('hex') ?? 'none').toSorted();
    const expected = [own, rogue, expired].map(({ tlsKeySha256 }) => tlsKeySha256.toString('hex'));
    expect(keys).toEqual(['none', 'none', ...expected].toSorted());
    for (const leaf of [own, rogue, expired]) {
      const peer = peers.find(({ tlsKeySha256 }) => tlsKeySha256?.equals(leaf.tlsKeySha256));
      expect(peer?.certificate).toEqual(leaf.certificate);
      expect(peer?.address).toBe('127.0.0.1');
    }
  });

  test('is one object for every call of a connection, and another for the next connection', async () => {
    const peers: Peer[] = [];
    await using service = await startRecording(peers);
    const client = service.connect().client(AttestationService);
    await client.createChallenge({});
    await client.createChallenge({});
    await call(service);
    expect(peers[0]).toBe(peers[1]);
    expect(peers[2]).not.toBe(peers[0]);
  });

  test.runIf(hasIpv6)('is known over IPv6 too', async () => {
    const peers: Peer[] = [];
    await using service = await startRecording(peers, { listener: { host: '::1' } });
    const own = await issueClient(service.authority, 'own');
    await call(service, own);
    expect(peers[0]).toMatchObject({ address: '::1', tlsKeySha256: own.tlsKeySha256 });
  });

  test.runIf(hasIpv6)('is known on a socket that serves IPv4 mapped into IPv6', async () => {
    const peers: Peer[] = [];
    await using service = await startRecording(peers, { listener: { host: '::' } });
    const own = await issueClient(service.authority, 'own');
    const { port } = service.listener.address();
    await service.connect(own, { host: '127.0.0.1', port }).client(AttestationService).createChallenge({});
    expect(peers[0]).toMatchObject({ address: '::ffff:127.0.0.1', tlsKeySha256: own.tlsKeySha256 });
  });
});

describe('the handshake', () => {
  test('refuses TLS 1.2, before and after the certificate changed', async () => {
    await using service = await startRecording([]);
    await expect(handshake(service, { maxVersion: 'TLSv1.2' })).rejects.toThrow(/alert protocol version/);
    service.listener.updateCredentials(await issueServer(service.authority));
    await expect(handshake(service, { maxVersion: 'TLSv1.2' })).rejects.toThrow(/alert protocol version/);
    const socket = await handshake(service);
    expect(socket.getProtocol()).toBe('TLSv1.3');
    socket.destroy();
  });

  test('refuses what does not speak HTTP/2', async () => {
    await using service = await startRecording([]);
    await expect(handshake(service, { ALPNProtocols: ['http/1.1'] })).rejects.toThrow(/no application protocol/);
    const socket = await handshake(service, { ALPNProtocols: [] });
    await once(socket, 'close');
  });

  test('gives no ticket: no session is ever resumed', async () => {
    await using service = await startRecording([]);
    const own = await issueClient(service.authority, 'own');
    const secureContext = createSecureContext({ cert: own.certificateChain.map(toPem).join(''), key: own.privateKey });
    const sessions: Buffer[] = [];
    for (let round = 0; round < 3; round += 1) {
      const session = sessions.at(-1);
      const socket = await handshake(service, { secureContext, ...(session ? { session } : {}) });
      socket.on('session', (given: Buffer) => sessions.push(given));
      expect(socket.isSessionReused()).toBe(false);
      // The server's HTTP/2 settings arrive behind any ticket.
      await once(socket, 'data');
      const last = socket.getSession();
      if (last) sessions.push(last);
      socket.destroy();
    }
    expect(service.log.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  test('that never ends is ended', async () => {
    await using service = await startRecording([], { listener: { handshakeTimeoutMillis: 2_000 } });
    const socket = connectTcp(service.listener.address().port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'close');
    await call(service);
  });

  test('shows the new certificate once it has changed, and leaves open connections alone', async () => {
    const peers: Peer[] = [];
    await using service = await startRecording(peers);
    const client = service.connect().client(AttestationService);
    await client.createChallenge({});
    const renewed = await issueServer(service.authority);
    service.listener.updateCredentials(renewed);
    const socket = await handshake(service);
    expect(socket.getPeerX509Certificate()?.raw).toEqual(renewed.certificate);
    socket.destroy();
    await client.createChallenge({});
    await call(service);
    expect(peers).toHaveLength(3);
    expect(peers[0]).toBe(peers[1]);
    expect(() => service.listener.updateCredentials({ ...renewed, privateKey: 'none' })).toThrow();
    await call(service);
  });

  test('shows the CA behind the leaf', async () => {
    await using service = await startRecording([]);
    const socket = await handshake(service);
    const chain = socket.getPeerCertificate(true);
    expect(chain.issuerCertificate.raw).toEqual(service.authority.certificate);
    expect(new X509Certificate(chain.raw).verify(new X509Certificate(service.authority.certificate).publicKey)).toBe(
      true,
    );
    socket.destroy();
  });
});

describe('limits', () => {
  test.each([
    ['of one address', { maxConnectionsPerAddress: 2 }],
    ['in all', { maxConnections: 2 }],
  ])('connections %s are bounded, and free again when they close', async (_name, listener) => {
    await using service = await startRecording([], { listener: { ...listener, handshakeTimeoutMillis: 3_600_000 } });
    const { port } = service.listener.address();
    const first = await handshake(service);
    const second = await handshake(service);
    // Nothing but the limit ends a connection that says nothing.
    const third = connectTcp(port, '127.0.0.1');
    third.on('error', () => undefined);
    await once(third, 'close');
    first.destroy();
    second.destroy();
    await until(() => first.closed && second.closed, 'closed here');
    await expect
      .poll(() =>
        call(service).then(
          () => 'served',
          () => 'refused',
        ),
      )
      .toBe('served');
  });

  test.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8::5', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
  ])('%s counts as %s', (address, block) => {
    expect(addressBlock(address)).toBe(block);
  });
});

describe('drain', () => {
  test('lets calls finish, refuses new connections, and tells streams', async () => {
    const proceed = Promise.withResolvers<void>();
    const service = await startTestService(
      echoServices({
        createChallenge: async () => {
          await proceed.promise;
          return { token: Buffer.from('done') };
        },
        async *attest(_requests, { draining }) {
          yield { part: { case: 'pending', value: { message: 'open' } } };
          await new Promise((resolve) => draining.addEventListener('abort', resolve));
          yield { part: { case: 'pending', value: { message: 'bye' } } };
        },
      }),
    );
    const client = service.connect().client(AttestationService);
    const pending = client.createChallenge({});
    const stream = client.attest(silence());
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const { part } of stream) seen.push(part.value);
    })();
    await until(() => seen.length === 1 && service.server.callCount === 2, 'calls open');
    const { port } = service.listener.address();
    const drained = service.listener.drain(5000);
    await reading;
    expect(seen).toMatchObject([{ message: 'open' }, { message: 'bye' }]);
    const late: Socket = connectTcp(port, '127.0.0.1');
    const [refused] = (await once(late, 'error')) as [NodeJS.ErrnoException];
    expect(refused.code).toBe('ECONNREFUSED');
    proceed.resolve();
    expect(Buffer.from((await pending).token).toString()).toBe('done');
    await drained;
    expect(service.server.callCount).toBe(0);
  });

  test('ends what outlasts the grace with UNAVAILABLE and aborts its signal', async () => {
    const told = Promise.withResolvers<unknown>();
    const service = await startTestService(
      echoServices({
        async *attest(_requests, { signal }) {
          yield { part: { case: 'pending', value: { message: 'open' } } };
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          told.resolve(signal.reason);
        },
      }),
    );
    const stream = service.connect().client(AttestationService).attest(silence())[Symbol.asyncIterator]();
    await stream.next();
    const ended = stream.next().then(
      () => undefined,
      (error: unknown) => error,
    );
    await service.listener.drain(100);
    const error = await ended;
    expect(error).toBeInstanceOf(RpcError);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', reason: 'SHUTTING_DOWN' });
    expect(await told.promise).toMatchObject({ reason: 'SHUTTING_DOWN' });
  });

  test('cuts connections that do not go', async () => {
    let sent = 0;
    const service = await startTestService(
      echoServices(
        {},
        {
          async *watchAttestationResults() {
            for (;;) {
              yield { resumeToken: 'x'.repeat(100_000) };
              sent += 1;
            }
          },
        },
      ),
    );
    const stream = service.connect().client(AttestationResultService).watchAttestationResults({});
    // Reads one message and then no more: the status cannot reach it.
    await stream[Symbol.asyncIterator]().next();
    await settled(() => sent);
    await service.listener.drain(0);
    expect(service.server.callCount).toBe(0);
    expect(() => service.listener.address()).toThrow('listener is closed');
  });
});
