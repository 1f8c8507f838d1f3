/** The agent's own parts against the real service and a real TPM, where a test must turn the clock or say what no host says. */
import { randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { enroll } from '../../client/agent/enroll.ts';
import { openHostTpm } from '../../client/agent/host-tpm.ts';
import { makeNotifier } from '../../client/agent/notify.ts';
import { runAgent } from '../../client/agent/run.ts';
import { StateDirectory } from '../../client/agent/state.ts';
import type { TlsIdentity } from '../../client/agent/state-document.ts';
import { makeBareCertificate, makeTlsKey, tlsKeySha256 } from '../../client/agent/tls-key.ts';
import { readPart } from '../../client/config.ts';
import { sleep } from '../../client/sdk/backoff.ts';
import { connect } from '../../client/sdk/client.ts';
import { parseProfile } from '../../client/sdk/profile.ts';
import { readFile } from 'node:fs/promises';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy } from '../support/deployment.ts';
import { eventually } from '../support/programs.ts';

const MINUTE = 60_000;

let deployment: Deployment;
let host: AttestedHost;

beforeAll(async () => {
  deployment = await Deployment.start({ configuration: ['agent_certificate_lifetime: 10m'] });
  await deployment.operator.policies.apply(policy('base'));
  host = await AttestedHost.enrolled(deployment);
});

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

describe('an agent whose client certificate is half through its life', () => {
  it('renews it over the stream, goes on under the new key, and the former one is worth nothing', async () => {
    const ending = new AbortController();
    const events: unknown[] = [];
    const tell = (fields: Readonly<Record<string, unknown>>): void => void events.push(fields['event']);
    const state = await StateDirectory.open(host.state, { create: false });
    const former = { ...state.joined };
    // Seven minutes fast: 12 of the 15 that the certificate has with its start in the past are over.
    const now = (): Date => new Date(Date.now() + 7 * MINUTE);
    const random = Math.random;
    const running = runAgent(
      {
        state,
        openTpm: openHostTpm,
        connect: ({ server, authority, identity }) =>
          connect({ server, authority, certificate: identity.certificate, key: identity.privateKey, now, random }),
        read: readPart,
        agentVersion: '1.0.0',
        now,
        random,
        randomBytes: (size) => randomBytes(size),
        sleep,
        log: { debug: tell, info: tell, warn: tell, error: tell },
        notifier: makeNotifier({
          systemdNotify: undefined,
          watchdogMicros: undefined,
          signal: ending.signal,
          onError: () => undefined,
        }),
      },
      ending.signal,
    );
    try {
      await eventually('new key in its place', () => (state.joined.tlsKey === former.tlsKey ? undefined : true));
      expect(events).toContain('renewed');
      expect(events).not.toContain('enrolled');
      expect(state.joined.enrolled?.akName).toEqual(former.enrolled?.akName);
      const { challengeTime } = await deployment.operator.results.get(host.id);
      const later = await deployment.result(host.id, 'round under the new key', (result) => {
        return (result.challengeTime ?? new Date(0)) > (challengeTime ?? new Date(0));
      });
      expect(later).toMatchObject({ status: 'AFFIRMING', connectivity: 'CONNECTED' });
    } finally {
      ending.abort();
      await running;
      await state.close();
    }
    const certificate = former.enrolled?.clientCertificate ?? Buffer.alloc(0);
    const client = await connectAs({ privateKey: former.tlsKey, certificate });
    const messages = client.attestation.attest(noMessages(), AbortSignal.timeout(10_000));
    await expect(messages[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
      reason: 'TLS_KEY_SUPERSEDED',
    });
    client.close();
  });
});

async function* noMessages(): AsyncGenerator<never> {
  // The service refuses the caller before it reads.
}

async function connectAs({ privateKey, certificate }: TlsIdentity) {
  const { server, authority } = parseProfile(await readFile(deployment.profile, 'utf8'));
  return connect({ server, authority, certificate, key: privateKey, now: () => new Date(), random: Math.random });
}

describe('what a host says of itself', () => {
  it('reaches no terminal as it is, and is in JSON what it was', async () => {
    const hostname = '\u001b[2J\u001b]0;owned\u0007good\u202egpj.exe\u0000\n\u009b31m\\u001b';
    await using other = await AttestedHost.start();
    await deployment.trust(other.tpm.caCertificates);
    const id = await enrollClaiming(other, hostname);
    const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
    for (const command of ['get', 'label']) {
      const args = command === 'get' ? [] : ['seen=yes'];
      const { stdout, code } = await deployment.assay('host', command, id, ...args);
      expect(code).toBe(0);
      expect(stdout.replaceAll('\n', '')).not.toMatch(unprintable);
      expect(stdout).toContain('claimed hostname:');
      expect(stdout).toContain('\\u{1b}[2J');
    }
    const { stdout } = await deployment.assay('host', 'get', id, '--output', 'json');
    expect(stdout.replaceAll('\n', '')).not.toMatch(unprintable);
    expect(JSON.parse(stdout)).toMatchObject({ claimed: { hostname } });
    // It is a claim, and selects nothing.
    expect((await deployment.operator.hosts.page({ matchLabels: { hostname } }, '')).items).toEqual([]);
  });
});

/** Enrols as the agent does, under a name that no kernel gives. */
async function enrollClaiming({ tpm: { tcti } }: AttestedHost, hostname: string): Promise<string> {
  const tpm = await openHostTpm(tcti);
  try {
    const endorsementKeys = await tpm.endorsementKeys();
    const [parent] = endorsementKeys;
    if (parent === undefined) throw new Error('the TPM has no endorsement key');
    const privateKey = makeTlsKey();
    const certificate = await makeBareCertificate(privateKey, { now: new Date(), serial: randomBytes(16) });
    const client = await connectAs({ privateKey, certificate });
    const enrollee = {
      tpm,
      ak: await tpm.loadAk(parent, await tpm.createAk(parent, 'ecdsa-p256-sha256')),
      endorsementKeys,
      parentIndex: 0,
      tlsKeySha256: tlsKeySha256(privateKey),
      pin: deployment.fingerprint,
      collectFacts: () => Promise.resolve({ hostname, os: '', kernel: '', agentVersion: '', bootId: '' }),
      collectLogs: () => Promise.resolve([]),
    };
    const signal = AbortSignal.timeout(20_000);
    const { hostId } = await enroll(enrollee, client.enrollment, { now: () => new Date(), signal });
    client.close();
    return hostId;
  } finally {
    await tpm.close();
  }
}
