/** The agent's own parts against the real service and a real TPM, where a test must turn the clock or say what no host says. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { attest } from '../../client/agent/attest.ts';
import { collectLogs } from '../../client/agent/collect.ts';
import { enroll } from '../../client/agent/enroll.ts';
import { openHostTpm } from '../../client/agent/host-tpm.ts';
import { makeNotifier } from '../../client/agent/notify.ts';
import { runAgent } from '../../client/agent/run.ts';
import { StateDirectory } from '../../client/agent/state.ts';
import type { TlsIdentity } from '../../client/agent/state-document.ts';
import { makeBareCertificate, makeTlsKey, tlsKeySha256 } from '../../client/agent/tls-key.ts';
import { TpmSession } from '../../client/agent/tpm-session.ts';
import type { AgentLog, World } from '../../client/agent/world.ts';
import { fileSize, readPart } from '../../client/config.ts';
import { sleep } from '../../client/sdk/backoff.ts';
import { connect } from '../../client/sdk/client.ts';
import { parseProfile } from '../../client/sdk/profile.ts';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
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
    // With its start in the past the certificate has 15 minutes, of which 12 are over by this clock.
    const now = (): Date => new Date(Date.now() + 7 * MINUTE);
    const running = runAgent(worldOf(state, { now, tell, signal: ending.signal }), ending.signal);
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
      // By its clock, which stays fast, the new certificate looks as old as the former one did.
      expect(events.filter((event) => event === 'renewed')).toHaveLength(1);
    } finally {
      ending.abort();
      await running;
      await state.close();
    }
    const certificate = former.enrolled?.clientCertificate ?? Buffer.alloc(0);
    const client = await connectAs({ privateKey: former.tlsKey, certificate });
    const messages = client.attestation.attest(noMessages(), AbortSignal.timeout(60_000));
    await expect(messages[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
      reason: 'TLS_KEY_SUPERSEDED',
    });
    client.close();
  });
});

/** The world of an agent as the program makes it, but for the clock and the log. */
function worldOf(
  state: StateDirectory,
  { now, tell, signal }: { readonly now: () => Date; readonly tell: AgentLog['info']; readonly signal: AbortSignal },
): World {
  const random = Math.random;
  return {
    state,
    openTpm: openHostTpm,
    connect: ({ server, authority, identity }) =>
      connect({ server, authority, certificate: identity.certificate, key: identity.privateKey, now, random }),
    read: readPart,
    fileSize,
    agentVersion: '1.0.0',
    now,
    random,
    randomBytes: (size) => randomBytes(size),
    sleep,
    log: { debug: tell, info: tell, warn: tell, error: tell },
    notifier: makeNotifier({ systemdNotify: undefined, watchdogMicros: undefined, signal, onError: () => undefined }),
  };
}

describe('a host that does not tell of its reboot', () => {
  it('loses its verdict with its first quote, and is asked for everything', async () => {
    await using other = await AttestedHost.enrolled(deployment, { banks: 'sha1,sha256' });
    other.runAgent();
    const before = await deployment.result(other.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
    await other.stopAgent();
    await other.tpm.restart();

    const ending = new AbortController();
    const state = await StateDirectory.open(other.state, { create: false });
    const { signal } = ending;
    const session = new TpmSession(worldOf(state, { now: () => new Date(), tell: () => undefined, signal }));
    const { tpm, ak } = await session.ready();
    const { tlsKey, enrolled } = state.joined;
    const client = await connectAs({ privateKey: tlsKey, certificate: enrolled?.clientCertificate ?? Buffer.alloc(0) });
    const told: (readonly string[])[] = [];
    try {
      await attest(
        {
          tpm: {
            activeBanks: () => tpm.activeBanks(),
            readPcrs: (selection) => tpm.readPcrs(selection),
            bootState: () => Promise.resolve({ resetCount: Number(before.json['resetCount']), restartCount: 0 }),
          },
          ak,
          hostId: other.id,
          tlsKeySha256: tlsKeySha256(tlsKey),
          agentVersion: '1.0.0',
          collectFacts: () => Promise.resolve({ hostname: '', os: '', kernel: '', agentVersion: '', bootId: '' }),
          collectLogs: (requests) => collectLogs(readPart, state.joined.logs, requests),
          renewer: { newPublicKey: () => Promise.resolve(Buffer.alloc(0)), accept: () => Promise.resolve() },
          watch: undefined,
        },
        client.attestation,
        {
          events: {
            accepted: () => Promise.resolve(),
            pending: () => undefined,
            torn: () => undefined,
            wished: () => undefined,
            result: (result) => {
              told.push([result.status, ...reasons(result)]);
              if (result.status === 'AFFIRMING') ending.abort();
            },
          },
          signal,
        },
      ).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    } finally {
      client.close();
      await session.close();
      await state.close();
    }
    expect(told).toEqual([['NONE', 'TPM_RESET'], ['AFFIRMING']]);
    const { checks } = await deployment.operator.results.get(other.id);
    expect(checks.find(({ id }) => id === 'pcr-banks')).toMatchObject({ outcome: 'PASSED', observed: 'sha1, sha256' });
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
    const signal = AbortSignal.timeout(60_000);
    const { hostId } = await enroll(enrollee, client.enrollment, { now: () => new Date(), signal });
    client.close();
    return hostId;
  } finally {
    await tpm.close();
  }
}
