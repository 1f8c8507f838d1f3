import { once } from 'node:events';
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { connect as tlsConnect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { formatProfile, parseProfile } from '../../client/sdk/profile.ts';
import { toPem } from '../../proto/tls-identity.ts';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment } from '../support/deployment.ts';
import { run } from '../support/programs.ts';
import { issueClient, issueServer, makeTestAuthority } from '../support/tls.ts';
import type { TestAuthority } from '../support/tls.ts';

let deployment: Deployment;
let host: AttestedHost;
let stranger: TestAuthority;

beforeAll(async () => {
  [deployment, host, stranger] = await Promise.all([
    Deployment.start(),
    AttestedHost.start(),
    makeTestAuthority('Assay authority'),
  ]);
});

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

/** Somebody who stands where the service should be, with a CA of his own, and keeps what he is sent. */
async function impostor(port = 0) {
  const { certificateChain, privateKey } = await issueServer(stranger);
  const received: Buffer[] = [];
  const sockets = new Set<TLSSocket>();
  let callers = 0;
  const server = createServer(
    { key: privateKey, cert: certificateChain.map(toPem).join(''), ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' },
    (socket) => {
      sockets.add(socket);
      socket.on('data', (data: Buffer) => received.push(data)).on('error', () => undefined);
    },
  );
  server.on('connection', () => callers++);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    received,
    get callers() {
      return callers;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function join(...options: readonly string[]) {
  return run('assay', ['agent', 'join', '--state', host.state, '--tcti', host.tpm.tcti, ...options]);
}

describe('a host that joins', () => {
  it('must know by its fingerprint whom it joins', async () => {
    const refused = await join('--server', deployment.server);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('--service-fingerprint');
  });

  it('is told when the fingerprint is none', async () => {
    const refused = await join('--server', deployment.server, '--service-fingerprint', 'sha256:1234');
    expect(refused).toMatchObject({ code: 2, stdout: '' });
  });

  it('does not join a service with another fingerprint', async () => {
    const other = `sha256:${'0'.repeat(64)}`;
    const refused = await join('--server', deployment.server, '--service-fingerprint', other);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('nothing was sent to it');
    expect((await deployment.operator.hosts.page({}, '')).items).toEqual([]);
  });

  it('sends nothing to a man in the middle with a CA of the same name', async () => {
    await using middle = await impostor();
    const server = `localhost:${middle.port}`;
    const refused = await join('--server', server, '--service-fingerprint', deployment.fingerprint);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('nothing was sent to it');
    expect(middle.callers).toBeGreaterThan(0);
    expect(Buffer.concat(middle.received)).toEqual(Buffer.alloc(0));
  });

  it('is told when nobody answers', async () => {
    const refused = await join('--server', 'localhost:1', '--service-fingerprint', deployment.fingerprint);
    expect(refused).toMatchObject({ code: 3, stdout: '' });
  });
});

describe('an agent', () => {
  it('that has not joined says so', async () => {
    const state = `${host.state}-nowhere`;
    const ended = await run('assay', ['agent', 'run', '--state', state]);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain('assay agent join');
  });

  it('that has joined one service does not join another on the same state', async () => {
    await using other = await AttestedHost.enrolled(deployment);
    const ended = await run('assay', [
      ...['agent', 'join', '--server', 'localhost:1', '--service-fingerprint', `sha256:${'0'.repeat(64)}`],
      ...['--state', other.state, '--tcti', other.tpm.tcti],
    ]);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(deployment.fingerprint);
  });
});

describe('a man in the middle who takes the place of the service', () => {
  it('gets no word from an agent or an operator, and is left alone again', async () => {
    await using other = await AttestedHost.enrolled(deployment);
    const agent = other.runAgent();
    await deployment.result(other.id, 'connection', ({ connectivity }) => connectivity === 'CONNECTED');
    await deployment.stop();
    {
      await using middle = await impostor(deployment.port);
      await agent.logged(({ msg }) => /certificate|self.signed|issuer/i.test(String(msg)), 'an agent that noticed');
      expect(await deployment.assay('host', 'list')).toMatchObject({ code: 3, stdout: '' });
      expect(Buffer.concat(middle.received)).toEqual(Buffer.alloc(0));
    }
    await deployment.serve();
    const { revision } = await deployment.operator.results.get(other.id);
    await deployment.operator.hosts.update(other.id, { labels: { seen: 'again' } });
    await deployment.result(other.id, 'agent that is back', (result) => {
      return result.revision > revision && result.connectivity === 'CONNECTED';
    });
  });
});

describe('a caller', () => {
  it.each(['TLSv1.2', 'TLSv1.1'] as const)('that offers %s at most is refused', async (maxVersion) => {
    const { authority } = parseProfile(await readFile(deployment.profile, 'utf8'));
    const socket = tlsConnect({
      host: 'localhost',
      port: deployment.port,
      ca: toPem(authority),
      minVersion: 'TLSv1',
      maxVersion,
      // So that it is the service that refuses, and not the security level of the caller's own library.
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    const outcome = await Promise.race([
      once(socket, 'secureConnect').then(() => 'accepted'),
      once(socket, 'error').then(([error]: unknown[]) => (error as NodeJS.ErrnoException).code),
    ]).catch((error: unknown) => (error as NodeJS.ErrnoException).code);
    socket.destroy();
    expect(outcome).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
  });

  it('with a certificate of an unknown CA is anonymous, whatever name stands in it', async () => {
    const operator = parseProfile(await readFile(deployment.profile, 'utf8'));
    const forged = await issueClient(stranger, 'operator');
    const profile = await deployment.file(
      'stranger.json',
      formatProfile({ ...operator, certificate: forged.certificate, key: forged.privateKey }),
    );
    const refused = await run('assay', ['host', 'list', '--profile', profile]);
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).toMatch(/^assay: CERTIFICATE_MISSING: /);
    // Not for its certificate is it refused: what anybody may ask, it may.
    const client = await deployment.connectAs(profile);
    const begun = client.enrollment.begin(
      { endorsementKeys: [], akPublicArea: Buffer.from([0]), parentIndex: 0 },
      AbortSignal.timeout(60_000),
    );
    await expect(begun).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    client.close();
  });

  it('finds a service certificate that names the service and its CA', async () => {
    const { authority } = parseProfile(await readFile(deployment.profile, 'utf8'));
    const socket = tlsConnect({
      host: 'localhost',
      port: deployment.port,
      ca: toPem(authority),
      servername: 'localhost',
    });
    await once(socket, 'secureConnect');
    const leaf = new X509Certificate(socket.getPeerCertificate().raw);
    expect([socket.getProtocol(), leaf.checkIssued(new X509Certificate(authority))]).toEqual(['TLSv1.3', true]);
    socket.destroy();
  });
});
