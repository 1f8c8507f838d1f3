import { X509Certificate } from 'node:crypto';
import { beforeEach, beforeAll, expect, test } from 'vitest';
import { RpcError } from '../../../proto/rpc-error.ts';
import type { StatusCode } from '../../../proto/status.ts';
import { TpmError } from '../../../tpm/device/tpm-error.ts';
import { join } from '../../../client/agent/join.ts';
import type { JoinRequest } from '../../../client/agent/join.ts';
import { runAgent } from '../../../client/agent/run.ts';
import type { TlsIdentity } from '../../../client/agent/state-document.ts';
import { publicKeyDer } from '../../../client/agent/tls-key.ts';
import type { AttestationService, AttestIncoming, AttestOutgoing } from '../../../client/sdk/evidence.ts';
import type { AttestationResult } from '../../../client/sdk/resources.ts';
import { issueHostCertificate, makeFakeIdentity, TEST_HOST } from '../support/fake-service.ts';
import type { FakeIdentity, Tampering } from '../support/fake-service.ts';
import { FakeWorld } from '../support/fake-world.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';

const challenge: AttestIncoming = {
  kind: 'challenge',
  challenge: { nonce: Buffer.alloc(32), selection: [], allBanks: true, logs: [], deadlineSeconds: 30 },
};
const result = (status: string): AttestIncoming => ({
  kind: 'result',
  result: { status, revision: 1n, validUntil: undefined, trustPolicy: '' } as AttestationResult,
});

/** What one stream does: yields these, may look at the evidence, then ends or fails. */
type Stream = (outgoing: AsyncIterator<AttestOutgoing>, identity: TlsIdentity) => AsyncGenerator<AttestIncoming>;

const affirming: Stream = async function* (outgoing) {
  await outgoing.next();
  yield challenge;
  await outgoing.next();
  yield result('AFFIRMING');
};

const failing = (code: StatusCode, reason = '', retryDelayMillis?: number): Stream =>
  async function* () {
    yield* [];
    throw rpcError(code, reason, retryDelayMillis);
  };

function rpcError(code: StatusCode, reason = '', retryDelayMillis?: number): RpcError {
  return new RpcError({ code, reason, message: 'm', metadata: {}, fieldViolations: [], retryDelayMillis, requestId: '' });
}

let service: FakeIdentity;
let tpm: SoftwareTpm;
let request: JoinRequest;
let controller: AbortController;
let slept: number[];
let streams: Stream[];
let enrollments: (Tampering | Error)[];
let openFailures: Error[];
let endAtFirstPause: boolean;

beforeAll(async () => {
  service = await makeFakeIdentity();
});

beforeEach(() => {
  tpm = new SoftwareTpm();
  controller = new AbortController();
  slept = [];
  streams = [];
  enrollments = [];
  openFailures = [];
  endAtFirstPause = false;
  request = {
    server: 'assay.example:9443',
    pin: service.authority.fingerprint,
    tcti: 'swtpm:',
    akAlgorithm: 'ecdsa-p256-sha256',
    logs: { boot: 'b', userspace: 'u', ima: 'i' },
    fetchAuthority: () => Promise.resolve(service.authority.certificate),
  };
});

/** A world whose agent is ended once all streams are used up. */
function makeWorld(now?: () => Date): Promise<FakeWorld> {
  const attestation = (identity: TlsIdentity): AttestationService => ({
    attest: (outgoing) => {
      const stream = streams.shift();
      if (stream !== undefined) return stream(outgoing[Symbol.asyncIterator](), identity);
      controller.abort();
      return failing('CANCELLED')(outgoing[Symbol.asyncIterator](), identity);
    },
  });
  return FakeWorld.make({
    service,
    tpm: async () => {
      const failure = openFailures.shift();
      if (failure !== undefined) throw failure;
      return tpm;
    },
    attestation,
    enrollment: () => enrollments.shift() ?? {},
    sleep: (millis) => {
      slept.push(millis);
      if (endAtFirstPause || slept.length > 50) controller.abort();
    },
    ...(now === undefined ? {} : { now }),
  });
}

const run = (fake: FakeWorld): Promise<void> => runAgent(fake.world, controller.signal);

test('joins, writes the state, and joins again with the same keys', async () => {
  await using fake = await makeWorld();
  const { signal } = controller;
  expect((await join(fake.world, request, signal)).hostId).toBe(TEST_HOST);
  const first = fake.world.state.joined;
  expect(first.enrolled?.hostId).toBe(TEST_HOST);
  await join(fake.world, request, signal);
  const second = fake.world.state.joined;
  expect(second.tlsKey).toBe(first.tlsKey);
  expect(second.ak).toEqual(first.ak);
  expect(tpm.calls.filter((call) => call === 'createAk')).toHaveLength(1);
  expect(fake.connections).toBe(0);
});

test('a state of another service is refused before anything is asked of it', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  const other = { ...request, pin: `sha256:${'1'.repeat(64)}`, fetchAuthority: () => Promise.reject(new TypeError('asked')) };
  await expect(join(fake.world, other, controller.signal)).rejects.toMatchObject({ code: 'already_joined' });
});

test('keys are on disk before BeginEnrollment', async () => {
  await using fake = await makeWorld();
  enrollments.push(rpcError('UNAVAILABLE'));
  await expect(join(fake.world, request, controller.signal)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(fake.world.state.joined.ak).toBeDefined();
  expect(fake.world.state.joined.enrolled).toBeUndefined();
});

test('enrols first where the join was not finished, then attests', async () => {
  await using fake = await makeWorld();
  enrollments.push(rpcError('UNAVAILABLE'));
  await join(fake.world, request, controller.signal).catch(() => undefined);
  streams.push(affirming);
  await run(fake);
  expect(fake.statuses).toEqual(expect.arrayContaining(['READY', 'AFFIRMING', 'STOPPING']));
  expect(fake.connections).toBe(0);
});

test('comes back after the service went, with growing pauses that start over after a verdict', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  streams.push(failing('UNAVAILABLE'), failing('UNAVAILABLE'), failing('UNAVAILABLE'), affirming, failing('UNAVAILABLE'));
  await run(fake);
  expect(slept).toEqual([500, 1000, 2000, 500, 1000]);
});

test('waits as long as the service asks', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  streams.push(failing('RESOURCE_EXHAUSTED', 'BUSY', 20_000));
  await run(fake);
  expect(slept[0]).toBeGreaterThanOrEqual(20_000);
});

test('a banned host tries again after five minutes, not sooner', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  streams.push(failing('PERMISSION_DENIED', 'HOST_REVOKED'));
  await run(fake);
  expect(slept[0]).toBeGreaterThanOrEqual(300_000);
  expect(fake.logged.find(({ event }) => event === 'host_revoked')?.sentence).toMatch(/banned/);
});

test('a service that is not the pinned one is told of, and not asked again at once', async () => {
  await using fake = await makeWorld();
  enrollments.push(rpcError('UNAVAILABLE'));
  await join(fake.world, request, controller.signal).catch(() => undefined);
  enrollments.push({ challenge: (c) => ({ ...c, signature: Buffer.alloc(8) }) });
  endAtFirstPause = true;
  await run(fake);
  expect(slept[0]).toBeGreaterThanOrEqual(300_000);
  expect(tpm.calls).not.toContain('activate');
});

test('enrols anew with the same AK where the service does not take the certificate any more', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  const { ak } = fake.world.state.joined;
  streams.push(failing('UNAUTHENTICATED', 'CERTIFICATE_REVOKED'), affirming);
  enrollments.push(rpcError('UNAUTHENTICATED'));
  await run(fake);
  expect(fake.world.state.joined.ak).toEqual(ak);
  const [, issued, bare] = fake.enrolledUnder;
  expect(new X509Certificate(issued?.certificate ?? '').subject).toMatch(/Assay/);
  expect(new X509Certificate(bare?.certificate ?? '').subject).toBe('CN=assay agent');
  expect(fake.statuses).toContain('AFFIRMING');
});

test('enrols anew where the certificate has expired while the agent was down', async () => {
  let days = 0;
  await using fake = await makeWorld(() => new Date(Date.now() + days * 20 * 3_600_000));
  await join(fake.world, request, controller.signal);
  await fake.world.state.update({
    enrolled: {
      ...required(fake.world.state.joined.enrolled),
      clientCertificate: await issueHostCertificate(service, publicKeyDer(fake.world.state.joined.tlsKey), { lifetimeSeconds: 60 }),
    },
  });
  days = 1;
  enrollments.push(rpcError('UNAVAILABLE'));
  await run(fake).catch(() => undefined);
  expect(fake.enrolledUnder.length).toBeGreaterThanOrEqual(2);
});

test('opens the TPM again after it was gone', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  tpm.failure = new TpmError('UNREACHABLE', 'no TPM answers');
  openFailures.push();
  streams.push(affirming, affirming);
  const original = fake.world.sleep;
  let pauses = 0;
  const world = {
    ...fake.world,
    sleep: async (millis: number, signal: AbortSignal) => {
      pauses += 1;
      if (pauses === 1) openFailures.push(new TpmError('UNREACHABLE', 'no TPM answers'));
      if (pauses === 2) tpm.failure = undefined;
      await original(millis, signal);
    },
  };
  await runAgent(world, controller.signal);
  expect(fake.logged.filter(({ event }) => event === 'tpm_failed')).toHaveLength(2);
  expect(fake.statuses).toContain('AFFIRMING');
});

test('a TPM library that is not installed ends the agent: nothing changes by waiting', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  openFailures.push(new TpmError('LIBRARY_MISSING', 'missing'));
  await expect(run(fake)).rejects.toMatchObject({ code: 'LIBRARY_MISSING' });
});

test('an AK that the TPM has lost is said and replaced, over the present TLS identity', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  const before = fake.world.state.joined;
  tpm.clear();
  streams.push(affirming);
  enrollments.push({ replacementPending: true }, {});
  await run(fake);
  const after = fake.world.state.joined;
  expect(fake.logged.filter(({ event }) => event === 'ak_lost')).toHaveLength(1);
  expect(after.ak).not.toEqual(before.ak);
  expect(after.enrolled?.akName).not.toEqual(before.enrolled?.akName);
  expect(fake.enrolledUnder[1]?.certificate).toEqual(before.enrolled?.clientCertificate);
  expect(fake.logged.map(({ event }) => event)).toContain('replacement_pending');
  expect(fake.statuses).toContain('AFFIRMING');
});

test('renews in the middle of the certificate’s life, comes back under the new key, and keeps the old one until then', async () => {
  let hours = 0;
  await using fake = await makeWorld(() => new Date(Date.now() + hours * 3_600_000));
  await join(fake.world, request, controller.signal);
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
      clientCertificate: await issueHostCertificate(service, value.evidence.newTlsPublicKey, { now }),
      authorityCertificate: service.authority.certificate,
    };
    yield result('AFFIRMING');
  };
  streams.push(renewing, failing('UNAVAILABLE'), affirming);
  await run(fake);
  const [key = '', sent] = seen;
  expect(publicKeyDer(key).toString('hex')).toBe(sent);
  expect(fake.attestedUnder.map(({ privateKey }) => privateKey === key)).toEqual([false, true, true, true]);
  expect(fake.world.state.joined.tlsKey).toBe(key);
  expect(fake.world.state.joined).not.toHaveProperty('renewal');
  expect(oldKey).not.toBe(key);
});

test('goes back to the old key where the service refuses the new one', async () => {
  let hours = 0;
  await using fake = await makeWorld(() => new Date(Date.now() + hours * 3_600_000));
  await join(fake.world, request, controller.signal);
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
      clientCertificate: await issueHostCertificate(service, value.evidence.newTlsPublicKey),
      authorityCertificate: service.authority.certificate,
    };
  };
  streams.push(renewing, failing('UNAUTHENTICATED'), affirming);
  await run(fake);
  expect(fake.attestedUnder[2]?.privateKey).toBe(privateKey);
  expect(fake.statuses.filter((status) => status === 'AFFIRMING')).toHaveLength(2);
});

test('takes no renewed certificate that is for another key or host', async () => {
  let hours = 0;
  await using fake = await makeWorld(() => new Date(Date.now() + hours * 3_600_000));
  await join(fake.world, request, controller.signal);
  hours = 13;
  const renewing: Stream = async function* (outgoing) {
    await outgoing.next();
    yield challenge;
    const { value } = (await outgoing.next()) as IteratorResult<AttestOutgoing, undefined>;
    if (value?.kind !== 'evidence') throw new TypeError('no evidence came');
    yield {
      kind: 'renewal',
      clientCertificate: await issueHostCertificate(service, value.evidence.newTlsPublicKey, { host: `h-${'b'.repeat(26)}` }),
      authorityCertificate: service.authority.certificate,
    };
    yield result('AFFIRMING');
  };
  streams.push(renewing);
  await run(fake);
  expect(fake.world.state.joined.renewal?.certificate).toBeUndefined();
  expect(fake.logged.map(({ event }) => event)).toContain('untrusted_service');
});

test('neither keys nor nonces nor secrets are logged', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  streams.push(affirming, failing('UNAVAILABLE'));
  await run(fake);
  const text = JSON.stringify(fake.logged);
  expect(text).not.toMatch(/PRIVATE KEY|nonce|secret/i);
});

test('ends at once when it is asked to, without another try', async () => {
  await using fake = await makeWorld();
  await join(fake.world, request, controller.signal);
  controller.abort();
  const opened = fake.opened;
  await run(fake);
  expect(fake.opened).toBe(opened);
  expect(fake.statuses).toEqual(['READY', 'STOPPING']);
});

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('missing');
  return value;
}
