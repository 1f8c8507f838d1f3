import { X509Certificate } from 'node:crypto';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import { TpmError } from '../../../tpm/device/tpm-error.ts';
import { join } from '../../../client/agent/join.ts';
import { runAgent } from '../../../client/agent/run.ts';
import { publicKeyDer } from '../../../client/agent/tls-key.ts';
import { affirming, AgentHarness, failing, rpcError } from '../support/agent-harness.ts';
import { issueHostCertificate, TEST_HOST } from '../support/fake-service.ts';

let agent: AgentHarness;

beforeEach(async () => {
  agent = await AgentHarness.make();
});

test('joins, writes the state, and joins again with the same keys', async () => {
  await using fake = await agent.makeWorld();
  const { signal } = agent.controller;
  expect((await join(fake.world, agent.request, signal)).hostId).toBe(TEST_HOST);
  const first = fake.world.state.joined;
  expect(first.enrolled?.hostId).toBe(TEST_HOST);
  await join(fake.world, agent.request, signal);
  const second = fake.world.state.joined;
  expect(second.tlsKey).toBe(first.tlsKey);
  expect(second.ak).toEqual(first.ak);
  expect(agent.tpm.calls.filter((call) => call === 'createAk')).toHaveLength(1);
  expect(fake.connections).toBe(0);
});

test('a state of another service is refused before anything is asked of it', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  const other = {
    ...agent.request,
    pin: `sha256:${'1'.repeat(64)}`,
    fetchAuthority: () => Promise.reject(new TypeError('asked')),
  };
  await expect(join(fake.world, other, agent.controller.signal)).rejects.toMatchObject({ code: 'already_joined' });
});

test('keys are on disk before BeginEnrollment', async () => {
  await using fake = await agent.makeWorld();
  agent.enrollments.push(rpcError('UNAVAILABLE'));
  await expect(join(fake.world, agent.request, agent.controller.signal)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(fake.world.state.joined.ak).toBeDefined();
  expect(fake.world.state.joined.enrolled).toBeUndefined();
});

test('enrols first where the join was not finished, then attests', async () => {
  await using fake = await agent.makeWorld();
  agent.enrollments.push(rpcError('UNAVAILABLE'));
  await join(fake.world, agent.request, agent.controller.signal).catch(() => undefined);
  agent.streams.push(affirming);
  await agent.run(fake);
  expect(fake.statuses).toEqual(expect.arrayContaining(['READY', 'AFFIRMING', 'STOPPING']));
  expect(fake.connections).toBe(0);
});

test('comes back after the service went, with growing pauses that start over after a verdict', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  agent.streams.push(
    failing('UNAVAILABLE'),
    failing('UNAVAILABLE'),
    failing('UNAVAILABLE'),
    affirming,
    failing('UNAVAILABLE'),
  );
  await agent.run(fake);
  expect(agent.slept).toEqual([500, 1000, 2000, 500, 1000]);
});

test('waits as long as the service asks', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  agent.streams.push(failing('RESOURCE_EXHAUSTED', 'BUSY', 20_000));
  await agent.run(fake);
  expect(agent.slept[0]).toBeGreaterThanOrEqual(20_000);
});

test('a banned host tries again after five minutes, not sooner', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  agent.streams.push(failing('PERMISSION_DENIED', 'HOST_REVOKED'));
  await agent.run(fake);
  expect(agent.slept[0]).toBeGreaterThanOrEqual(300_000);
  expect(fake.logged.find(({ event }) => event === 'host_revoked')?.sentence).toMatch(/banned/);
});

test('a service that is not the pinned one is told of, and not asked again at once', async () => {
  await using fake = await agent.makeWorld();
  agent.enrollments.push(rpcError('UNAVAILABLE'));
  await join(fake.world, agent.request, agent.controller.signal).catch(() => undefined);
  agent.enrollments.push({ challenge: (c) => ({ ...c, signature: Buffer.alloc(8) }) });
  agent.endAtFirstPause = true;
  await agent.run(fake);
  expect(agent.slept[0]).toBeGreaterThanOrEqual(300_000);
  expect(agent.tpm.calls).not.toContain('activate');
});

test('enrols anew with the same AK where the service does not take the certificate any more', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  const { ak } = fake.world.state.joined;
  agent.streams.push(failing('UNAUTHENTICATED', 'CERTIFICATE_REVOKED'), affirming);
  agent.enrollments.push(rpcError('UNAUTHENTICATED'));
  await agent.run(fake);
  expect(fake.world.state.joined.ak).toEqual(ak);
  const [, issued, bare] = fake.enrolledUnder;
  expect(new X509Certificate(issued?.certificate ?? '').subject).toMatch(/Assay/);
  expect(new X509Certificate(bare?.certificate ?? '').subject).toBe('CN=assay agent');
  expect(fake.statuses).toContain('AFFIRMING');
});

test('enrols anew where the certificate has expired while the agent was down', async () => {
  let days = 0;
  await using fake = await agent.makeWorld(() => new Date(Date.now() + days * 20 * 3_600_000));
  await join(fake.world, agent.request, agent.controller.signal);
  await fake.world.state.update({
    enrolled: {
      ...required(fake.world.state.joined.enrolled),
      clientCertificate: await issueHostCertificate(agent.service, publicKeyDer(fake.world.state.joined.tlsKey), {
        lifetimeSeconds: 60,
      }),
    },
  });
  days = 1;
  agent.enrollments.push(rpcError('UNAVAILABLE'));
  await agent.run(fake).catch(() => undefined);
  expect(fake.enrolledUnder.length).toBeGreaterThanOrEqual(2);
});

test('opens the TPM again after it was gone', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  agent.tpm.failure = new TpmError('UNREACHABLE', 'no TPM answers');
  agent.openFailures.push();
  agent.streams.push(affirming, affirming);
  const original = fake.world.sleep;
  let pauses = 0;
  const world = {
    ...fake.world,
    sleep: async (millis: number, signal: AbortSignal) => {
      pauses += 1;
      if (pauses === 1) agent.openFailures.push(new TpmError('UNREACHABLE', 'no TPM answers'));
      if (pauses === 2) agent.tpm.failure = undefined;
      await original(millis, signal);
    },
  };
  await runAgent(world, agent.controller.signal, { wishPause: 'off' });
  expect(fake.logged.filter(({ event }) => event === 'tpm_failed')).toHaveLength(2);
  expect(fake.statuses).toContain('AFFIRMING');
});

test('a TPM library that is not installed ends the agent: nothing changes by waiting', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  agent.openFailures.push(new TpmError('LIBRARY_MISSING', 'missing'));
  await expect(agent.run(fake)).rejects.toMatchObject({ code: 'LIBRARY_MISSING' });
});

test('an AK that the TPM has lost is said and replaced, over the present TLS identity', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  const before = fake.world.state.joined;
  agent.tpm.clear();
  agent.streams.push(affirming);
  agent.enrollments.push({ replacementPending: true }, {});
  await agent.run(fake);
  const after = fake.world.state.joined;
  expect(fake.logged.filter(({ event }) => event === 'ak_lost')).toHaveLength(1);
  expect(after.ak).not.toEqual(before.ak);
  expect(after.enrolled?.akName).not.toEqual(before.enrolled?.akName);
  expect(fake.enrolledUnder[1]?.certificate).toEqual(before.enrolled?.clientCertificate);
  expect(fake.logged.map(({ event }) => event)).toContain('replacement_pending');
  expect(fake.statuses).toContain('AFFIRMING');
});

test('neither keys nor nonces nor secrets are logged', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  agent.streams.push(affirming, failing('UNAVAILABLE'));
  await agent.run(fake);
  const text = JSON.stringify(fake.logged);
  expect(text).not.toMatch(/PRIVATE KEY|nonce|secret/i);
});

test.each([
  { name: 'tells the service when the list grows', wishPause: undefined, wishes: ['new measurements: ima'] },
  { name: 'looks at nothing where that is off', wishPause: 'off', wishes: [] },
] as const)('$name', async ({ wishPause, wishes }) => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  const said: string[] = [];
  let entries = 1;
  let looks = 0;
  agent.streams.push(async function* (outgoing) {
    yield* affirming(outgoing, { privateKey: '', certificate: Buffer.alloc(0) });
    entries += 1;
    // The wish ends the wait; that there is none shows after a while.
    const wish = await (wishes.length > 0 ? outgoing.next() : Promise.race([outgoing.next(), setTimeout(50)]));
    if (wish !== undefined && wish.done !== true && wish.value.kind === 'wish') said.push(wish.value.reason);
  });
  const world = {
    ...fake.world,
    read: async (path: string) => {
      if (path === 'runtime_measurements_count') looks += 1;
      return Buffer.from(`${entries}\n`);
    },
    sleep: () => setImmediate(),
  };
  await runAgent(world, agent.controller.signal, wishPause === undefined ? {} : { wishPause });
  expect(said).toEqual(wishes);
  expect(fake.logged.filter(({ event }) => event === 'wished')).toHaveLength(wishes.length);
  expect(looks > 0).toBe(wishes.length > 0);
});

test('ends at once when it is asked to, without another try', async () => {
  await using fake = await agent.makeWorld();
  await join(fake.world, agent.request, agent.controller.signal);
  agent.controller.abort();
  const opened = fake.opened;
  await agent.run(fake);
  expect(fake.opened).toBe(opened);
  expect(fake.statuses).toEqual(['READY', 'STOPPING']);
});

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('missing');
  return value;
}
