import { createServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { describe, expect, test, vi } from 'vitest';
import { authorityFingerprint, CertificateError, EXTENDED_KEY_USAGE } from '../../proto/certificate-profile.ts';
import { Channel } from '../../proto/client.ts';
import { ConnectionRate } from '../../proto/connection-rate.ts';
import { fetchAuthority } from '../../proto/credentials.ts';
import type { CredentialOptions } from '../../proto/credentials.ts';
import { formatEndpoint, parseEndpoint } from '../../proto/endpoint.ts';
import type { Endpoint } from '../../proto/endpoint.ts';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { RpcError } from '../../proto/rpc-error.ts';
import { secureContextOptions } from '../../proto/tls-identity.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';
import { echoServices } from '../support/echo.ts';
import { startTestService } from '../support/rpc.ts';
import { issueClient, issueServer, makeTestAuthority, TEST_DEPLOYMENT } from '../support/tls.ts';
import type { TestAuthority } from '../support/tls.ts';

const now = () => new Date();

async function callWith({ host, port }: Endpoint, options: CredentialOptions): Promise<string> {
  const channel = new Channel({ host, port, ...options });
  try {
    await channel.client(AttestationService).createChallenge({}, { deadline: Date.now() + 60_000 });
    return 'served';
  } catch (error) {
    return error instanceof RpcError ? `${error.code} ${error.message}` : String(error);
  } finally {
    channel.close();
  }
}

function trustIn(authority: TestAuthority, kind: 'service' | 'other' = 'service'): CredentialOptions['trust'] {
  const authorities = [authority.certificate];
  return kind === 'service' ? { kind, authorities, now } : { kind, authorities };
}

describe('a channel', () => {
  const serverIdentity = { kind: 'server', deployment: TEST_DEPLOYMENT } as const;
  const cases: readonly [string, (authority: TestAuthority) => Promise<TlsIdentity>, RegExp][] = [
    ['serves under the certificate that is due', issueServer, /^served$/],
    [
      'refuses a certificate for another name',
      (authority) => authority.issue({ profile: 'server', identity: serverIdentity, dns: ['other.example'] }),
      /^UNAVAILABLE .*(IP|altname)/,
    ],
    [
      'refuses an expired certificate',
      (authority) =>
        authority.issue({ profile: 'server', identity: serverIdentity, ip: ['127.0.0.1'], lifeMillis: -1000 }),
      /^UNAVAILABLE .*expired/,
    ],
    [
      'refuses a client certificate that poses as a server',
      (authority) => issueClient(authority, 'x'),
      /^UNAVAILABLE /,
    ],
    ['refuses a certificate of another CA', async () => issueServer(await makeTestAuthority('rogue')), /^UNAVAILABLE /],
  ];

  test.each(cases)('%s', async (_name, issue, outcome) => {
    await using service = await startTestService(echoServices());
    service.listener.updateCredentials(await issue(service.authority));
    expect(await callWith(service.listener.address(), { trust: trustIn(service.authority) })).toMatch(outcome);
    expect(await callWith(service.listener.address(), { trust: trustIn(service.authority, 'other') })).toMatch(outcome);
  });

  test.each([
    ['for servers and clients', [EXTENDED_KEY_USAGE.server, EXTENDED_KEY_USAGE.client], serverIdentity, 'served'],
    ['for everything', [], serverIdentity, 'UNAVAILABLE'],
    [
      'of the service identity',
      [EXTENDED_KEY_USAGE.server],
      { kind: 'service', deployment: TEST_DEPLOYMENT } as const,
      'served',
    ],
  ])('takes a certificate %s at most from another PKI', async (_name, extendedKeyUsages, identity, underOther) => {
    await using service = await startTestService(echoServices());
    const { authority, listener } = service;
    listener.updateCredentials(
      await authority.issue({ profile: 'server', identity, extendedKeyUsages, ip: ['127.0.0.1'] }),
    );
    const outcome = async (kind: 'service' | 'other') =>
      (await callWith(listener.address(), { trust: trustIn(authority, kind) })).split(' ')[0];
    expect(await outcome('service')).toBe('UNAVAILABLE');
    expect(await outcome('other')).toBe(underOther);
  });

  test('checks the name that it is given', async () => {
    await using service = await startTestService(echoServices());
    const trust = trustIn(service.authority);
    expect(await callWith(service.listener.address(), { trust, serverName: 'localhost' })).toBe('served');
    expect(await callWith(service.listener.address(), { trust, serverName: 'elsewhere.example' })).toMatch(
      /^UNAVAILABLE .*altname/,
    );
  });

  test('speaks to no server below TLS 1.3', async () => {
    const authority = await makeTestAuthority();
    const identity = await issueServer(authority);
    const old = createServer({ ...secureContextOptions(identity), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
    old.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve));
    const { port } = old.address() as AddressInfo;
    expect(await callWith({ host: '127.0.0.1', port }, { trust: trustIn(authority) })).toMatch(
      /^UNAVAILABLE .*version/,
    );
    await expect(
      fetchAuthority({ host: '127.0.0.1', port, fingerprint: authorityFingerprint(authority.certificate), now }),
    ).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    old.close();
  });
});

describe('a service of which only the fingerprint of the CA is known', () => {
  test('shows the CA, and the channel under it is served', async () => {
    await using service = await startTestService(echoServices());
    const { host, port } = service.listener.address();
    const fingerprint = authorityFingerprint(service.authority.certificate);
    const authority = await fetchAuthority({ host, port, fingerprint, now });
    expect(authority).toEqual(service.authority.certificate);
    expect(
      await callWith(service.listener.address(), { trust: { kind: 'service', authorities: [authority], now } }),
    ).toBe('served');
    expect(
      await fetchAuthority({
        host: 'localhost',
        port,
        fingerprint: fingerprint.toUpperCase().replace('SHA', 'sha'),
        now,
      }),
    ).toEqual(authority);
  });

  test('takes those who ask for it at once from one address for no flood of handshakes that fail', async () => {
    const rate = new ConnectionRate(1_000, () => performance.now());
    const failed = vi.spyOn(rate, 'failed');
    await using service = await startTestService(echoServices(), { listener: { connectionRate: rate } });
    const { host, port } = service.listener.address();
    const fingerprint = authorityFingerprint(service.authority.certificate);
    const ask = () => fetchAuthority({ host, port, fingerprint, now });
    await Promise.all(Array.from({ length: 20 }, ask));
    expect(await ask()).toEqual(service.authority.certificate);
    expect(failed).not.toHaveBeenCalled();
  });

  test('is refused under another fingerprint', async () => {
    await using service = await startTestService(echoServices());
    const { host, port } = service.listener.address();
    const other = await makeTestAuthority('other');
    const fingerprint = authorityFingerprint(other.certificate);
    await expect(fetchAuthority({ host, port, fingerprint, now })).rejects.toMatchObject({ code: 'unknown_authority' });
    await expect(fetchAuthority({ host, port, fingerprint: 'sha256:00', now })).rejects.toThrow(CertificateError);
  });

  const impostors: readonly [string, (pinned: TestAuthority) => Promise<TlsIdentity>, string][] = [
    [
      'shows the pinned CA behind a leaf of its own',
      async (pinned) => {
        const leaf = await issueServer(await makeTestAuthority('test authority'));
        return {
          certificateChain: [...leaf.certificateChain.slice(0, 1), pinned.certificate],
          privateKey: leaf.privateKey,
        };
      },
      'unknown_authority',
    ],
    ['has a client certificate of the pinned CA', (pinned) => issueClient(pinned, 'operator'), 'wrong_eku'],
    [
      'has an expired certificate of the pinned CA',
      (pinned) => {
        const identity = { kind: 'server', deployment: TEST_DEPLOYMENT } as const;
        return pinned.issue({ profile: 'server', identity, lifeMillis: -1000 });
      },
      'expired',
    ],
    [
      'does not show the CA',
      async (pinned) => {
        const leaf = await issueServer(pinned);
        return { certificateChain: leaf.certificateChain.slice(0, 1), privateKey: leaf.privateKey };
      },
      'unknown_authority',
    ],
  ];

  test.each(impostors)('is refused when it %s', async (_name, makeIdentity, code) => {
    await using service = await startTestService(echoServices());
    const pinned = await makeTestAuthority();
    service.listener.updateCredentials(await makeIdentity(pinned));
    const { host, port } = service.listener.address();
    const fingerprint = authorityFingerprint(pinned.certificate);
    await expect(fetchAuthority({ host, port, fingerprint, now })).rejects.toMatchObject({ code });
  });

  test('that does not answer is UNAVAILABLE', async () => {
    const authority = await makeTestAuthority();
    const fingerprint = authorityFingerprint(authority.certificate);
    await expect(fetchAuthority({ host: '127.0.0.1', port: 1, fingerprint, now })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    const signal = AbortSignal.abort();
    await expect(fetchAuthority({ host: '127.0.0.1', port: 1, fingerprint, now, signal })).rejects.toThrow(RpcError);
  });
});

describe('an endpoint', () => {
  test.each([
    ['localhost:1', { host: 'localhost', port: 1 }],
    ['assay.example.com:65535', { host: 'assay.example.com', port: 65_535 }],
    ['192.0.2.1:8443', { host: '192.0.2.1', port: 8443 }],
    ['[2001:db8::1]:8443', { host: '2001:db8::1', port: 8443 }],
  ])('%s is read and written', (text, endpoint) => {
    expect(parseEndpoint(text)).toEqual(endpoint);
    expect(formatEndpoint(endpoint)).toBe(text);
  });

  test.each([
    '',
    'localhost',
    'localhost:',
    'localhost:0',
    'localhost:65536',
    '2001:db8::1:1',
    '[localhost]:1',
    'a b:1',
    '-:1',
    'dns:///x:1',
  ])('"%s" is none', (text) => {
    expect(parseEndpoint(text)).toBeUndefined();
  });
});
