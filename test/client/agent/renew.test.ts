import { beforeEach, expect, test } from 'vitest';
import { join } from '../../../client/agent/join.ts';
import { publicKeyDer } from '../../../client/agent/tls-key.ts';
import type { AttestOutgoing } from '../../../client/sdk/evidence.ts';
import { affirming, AgentHarness, challenge, failing, result } from '../support/agent-harness.ts';
import type { Stream } from '../support/agent-harness.ts';
import { issueHostCertificate } from '../support/fake-service.ts';

let agent: AgentHarness;

beforeEach(async () => {
  agent = await AgentHarness.make();
});

test('renews in the middle of the certificate’s life, comes back under the new key, and keeps the old one until then', async () => {
  let hours = 0;
  await using fake = await agent.makeWorld(() => new Date(Date.now() + hours * 3_600_000));
  await join(fake.world, agent.request, agent.controller.signal);
  const oldKey = fake.world.state.joined.tlsKey;
  hours = 13;
  let seen: string[] = [];
  const now = new Date(Date.now() + 13 * 3_600_000);
  const renewing: Stream = async function* (outgoing) {
    await outgoing.next();
    yield challenge;
    const { value } = (await outgoing.next()) as IteratorResult<AttestOutgoing, undefined>;
    if (value?.kind !== 'evidence') throw new TypeError('no evidence came');
    const { renewal } = fake.world.state.joined;
    seen = [renewal?.privateKey ?? '', value.evidence.newTlsPublicKey.toString('hex')];
    yield {
      kind: 'renewal',
      clientCertificate: await issueHostCertificate(agent.service, value.evidence.newTlsPublicKey, { now }),
      authorityCertificate: agent.service.authority.certificate,
    };
    yield result('AFFIRMING');
  };
  agent.streams.push(renewing, failing('UNAVAILABLE'), affirming);
  await agent.run(fake);
  const [key = '', sent] = seen;
  expect(publicKeyDer(key).toString('hex')).toBe(sent);
  expect(fake.attestedUnder.map(({ privateKey }) => privateKey === key)).toEqual([false, true, true, true]);
  expect(fake.world.state.joined.tlsKey).toBe(key);
  expect(fake.world.state.joined).not.toHaveProperty('renewal');
  expect(oldKey).not.toBe(key);
});

test('goes back to the old key where the service refuses the new one', async () => {
  let hours = 0;
  await using fake = await agent.makeWorld(() => new Date(Date.now() + hours * 3_600_000));
  await join(fake.world, agent.request, agent.controller.signal);
  hours = 13;
  const privateKey = fake.world.state.joined.tlsKey;
  const renewing: Stream = async function* (outgoing) {
    await outgoing.next();
    yield challenge;
    const { value } = (await outgoing.next()) as IteratorResult<AttestOutgoing, undefined>;
    if (value?.kind !== 'evidence') throw new TypeError('no evidence came');
    yield result('AFFIRMING');
    yield {
      kind: 'renewal',
      clientCertificate: await issueHostCertificate(agent.service, value.evidence.newTlsPublicKey),
      authorityCertificate: agent.service.authority.certificate,
    };
  };
  agent.streams.push(renewing, failing('UNAUTHENTICATED'), affirming);
  await agent.run(fake);
  expect(fake.attestedUnder[2]?.privateKey).toBe(privateKey);
  expect(fake.statuses.filter((status) => status === 'AFFIRMING')).toHaveLength(2);
});

test('takes no renewed certificate that is for another key or host', async () => {
  let hours = 0;
  await using fake = await agent.makeWorld(() => new Date(Date.now() + hours * 3_600_000));
  await join(fake.world, agent.request, agent.controller.signal);
  hours = 13;
  const renewing: Stream = async function* (outgoing) {
    await outgoing.next();
    yield challenge;
    const { value } = (await outgoing.next()) as IteratorResult<AttestOutgoing, undefined>;
    if (value?.kind !== 'evidence') throw new TypeError('no evidence came');
    yield {
      kind: 'renewal',
      clientCertificate: await issueHostCertificate(agent.service, value.evidence.newTlsPublicKey, {
        host: `h-${'b'.repeat(26)}`,
      }),
      authorityCertificate: agent.service.authority.certificate,
    };
    yield result('AFFIRMING');
  };
  agent.streams.push(renewing);
  await agent.run(fake);
  expect(fake.world.state.joined.renewal?.certificate).toBeUndefined();
  expect(fake.logged.map(({ event }) => event)).toContain('untrusted_service');
});
