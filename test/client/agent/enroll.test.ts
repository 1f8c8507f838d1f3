import { randomBytes, sign } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { ALL_LOGS, collectLogs } from '../../../client/agent/collect.ts';
import { enroll } from '../../../client/agent/enroll.ts';
import type { Enrollee } from '../../../client/agent/enroll.ts';
import { makeTlsKey, publicKeyDer, tlsKeySha256 } from '../../../client/agent/tls-key.ts';
import { FakeEnrollment, issueHostCertificate, makeFakeIdentity, TEST_HOST } from '../support/fake-service.ts';
import type { FakeIdentity, Tampering } from '../support/fake-service.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';

const facts = { hostname: 'h', os: 'o', kernel: 'k', agentVersion: '1', bootId: 'b' };
const tlsKey = makeTlsKey();
const tls = { sha256: tlsKeySha256(tlsKey), publicKey: publicKeyDer(tlsKey) };
const { signal } = new AbortController();

let service: FakeIdentity;
let stranger: FakeIdentity;
let tpm: SoftwareTpm;
let enrollee: Enrollee;

beforeAll(async () => {
  service = await makeFakeIdentity();
  stranger = await makeFakeIdentity();
  tpm = new SoftwareTpm();
  const endorsementKeys = await tpm.endorsementKeys();
  const [parent] = endorsementKeys;
  if (parent === undefined) throw new TypeError('the software tpm has an ek');
  enrollee = {
    tpm,
    ak: await tpm.loadAk(parent, await tpm.createAk(parent)),
    endorsementKeys,
    parentIndex: 0,
    tlsKeySha256: tls.sha256,
    pin: service.authority.fingerprint,
    collectFacts: () => Promise.resolve(facts),
    collectLogs: () =>
      collectLogs(() => Promise.resolve(Buffer.alloc(600_000, 7)), { boot: 'b', userspace: 'u', ima: 'i' }, ALL_LOGS),
  };
});

function run(tampering: Tampering = {}, options: { readonly identity?: FakeIdentity; readonly now?: () => Date } = {}) {
  tpm.calls.length = 0;
  const fake = new FakeEnrollment(options.identity ?? service, tls, tampering);
  return { fake, done: enroll(enrollee, fake, { now: options.now ?? (() => new Date()), signal }) };
}

test('enrols by every credential, a quote and the logs, and believes the answer', async () => {
  const { fake, done } = run();
  const answer = await done;
  expect(answer.hostId).toBe(TEST_HOST);
  expect(answer.state).toBe('ACTIVE');
  expect(tpm.calls).toEqual(['activate', 'activate', 'quote', 'readPcrs']);
  expect(fake.proof?.pcrValues).toHaveLength(24);
  expect(fake.proof?.logs.map(({ size }) => size)).toEqual([600_000, 600_000, 600_000]);
  expect(fake.receivedLogBytes).toBe(1_800_000);
});

test('a new AK that waits for approval brings no certificate', async () => {
  const answer = await run({ replacementPending: true }).done;
  expect(answer.replacementPending).toBe(true);
  expect(answer.clientCertificate).toHaveLength(0);
});

const other = randomBytes(32);
const otherName = Buffer.concat([Buffer.from([0, 0x0b]), other]);

const refusedChallenges: readonly {
  readonly name: string;
  readonly tampering: Tampering;
  readonly says: RegExp;
  readonly code?: string;
}[] = [
  {
    name: 'a signature of another key',
    tampering: { challenge: (c) => ({ ...c, signature: sign('sha256', randomBytes(32), service.serviceKey) }) },
    says: /signature/,
  },
  { name: 'no signature', tampering: { challenge: (c) => ({ ...c, signature: Buffer.alloc(0) }) }, says: /signature/ },
  {
    name: 'another authority than the pinned one',
    tampering: { challenge: (c) => ({ ...c, authorityCertificate: stranger.authority.certificate }) },
    says: /pinned/,
  },
  {
    name: 'a service certificate of another authority',
    tampering: { challenge: (c) => ({ ...c, serviceCertificate: stranger.serviceCertificate }) },
    says: /known authority/,
  },
  {
    name: 'another TLS key, said openly',
    tampering: { challenge: (c) => ({ ...c, tlsKeySha256: other }) },
    says: /another TLS key/,
  },
  { name: 'another TLS key, signed', tampering: { signed: (v) => ({ ...v, tlsKeySha256: other }) }, says: /signature/ },
  {
    name: 'another EK name',
    tampering: { signed: (v) => ({ ...v, ekNames: [otherName, ...v.ekNames.slice(1)] }) },
    says: /signature/,
  },
  {
    name: 'EK names in another order',
    tampering: { signed: (v) => ({ ...v, ekNames: v.ekNames.toReversed() }) },
    says: /signature/,
  },
  { name: 'another AK name', tampering: { signed: (v) => ({ ...v, akName: otherName }) }, says: /signature/ },
  { name: 'another parent', tampering: { signed: (v) => ({ ...v, parentIndex: 1 }) }, says: /signature/ },
  {
    name: 'another nonce than was signed',
    tampering: { challenge: (c) => ({ ...c, nonce: other }) },
    says: /signature/,
  },
  {
    name: 'another credential than was signed',
    tampering: { challenge: (c) => ({ ...c, credentials: c.credentials.toReversed() }) },
    says: /signature/,
  },
  {
    name: 'an end in the past',
    tampering: { signed: (v) => ({ ...v, expireMillis: Date.now() - 1 }) },
    says: /expired/,
    code: 'outside_validity',
  },
  {
    name: 'an end that was moved',
    tampering: { challenge: (c) => ({ ...c, expireMillis: Date.now() + 999_000 }) },
    says: /signature/,
  },
  { name: 'no end', tampering: { challenge: (c) => ({ ...c, expireMillis: undefined }) }, says: /no end/ },
  {
    name: 'too few credentials',
    tampering: { challenge: (c) => ({ ...c, credentials: c.credentials.slice(1) }) },
    says: /1 credentials for 2/,
  },
  {
    name: 'too many credentials',
    tampering: { challenge: (c) => ({ ...c, credentials: [...c.credentials, ...c.credentials] }) },
    says: /4 credentials for 2/,
  },
  {
    name: 'a credential that no TPM takes',
    tampering: {
      challenge: (c) => ({
        ...c,
        credentials: c.credentials.map((credential) => ({ ...credential, encryptedSecret: Buffer.alloc(70_000) })),
      }),
    },
    says: /larger/,
  },
  { name: 'a short nonce', tampering: { challenge: (c) => ({ ...c, nonce: Buffer.alloc(16) }) }, says: /nonce/ },
  {
    name: 'a short enrolment id',
    tampering: { challenge: (c) => ({ ...c, enrollmentId: Buffer.alloc(8) }) },
    says: /id/,
  },
];

test.each(refusedChallenges)(
  'opens nothing for a challenge with $name',
  async ({ tampering, says, code = 'untrusted_service' }) => {
    const { fake, done } = run(tampering);
    await expect(done).rejects.toMatchObject({
      name: 'AgentError',
      code,
      message: expect.stringMatching(says),
    });
    expect(tpm.calls).toEqual([]);
    expect(fake.proof).toBeUndefined();
  },
);

test('opens nothing for a service that is not the pinned one', async () => {
  const { done } = run({}, { identity: stranger });
  await expect(done).rejects.toMatchObject({ code: 'untrusted_service' });
  expect(tpm.calls).toEqual([]);
});

test('opens nothing where the certificate of the service has expired', async () => {
  const { done } = run({}, { now: () => new Date(Date.now() + 3 * 86_400_000) });
  await expect(done).rejects.toMatchObject({ code: 'outside_validity', message: expect.stringMatching(/expired/) });
  expect(tpm.calls).toEqual([]);
});

const refusedAnswers: readonly {
  readonly name: string;
  readonly answer: NonNullable<Tampering['answer']>;
  readonly says: RegExp;
}[] = [
  { name: 'another HMAC', answer: (a) => ({ ...a, hmac: randomBytes(32) }), says: /secrets/ },
  { name: 'no HMAC', answer: (a) => ({ ...a, hmac: Buffer.alloc(0) }), says: /secrets/ },
  { name: 'another host than was proven', answer: (a) => ({ ...a, hostId: `h-${'b'.repeat(26)}` }), says: /secrets/ },
  { name: 'another state than was proven', answer: (a) => ({ ...a, stateNumber: 1 }), says: /secrets/ },
  {
    name: 'another client certificate than was proven',
    answer: async (a) => ({ ...a, clientCertificate: await issueHostCertificate(service, tls.publicKey) }),
    says: /secrets/,
  },
  {
    name: 'another signature',
    answer: (a) => ({ ...a, signature: sign('sha256', randomBytes(32), service.serviceKey) }),
    says: /signature/,
  },
  {
    name: 'another authority',
    answer: (a) => ({ ...a, authorityCertificate: stranger.authority.certificate }),
    says: /pinned/,
  },
];

test.each(refusedAnswers)('believes no answer with $name', async ({ answer, says }) => {
  await expect(run({ answer }).done).rejects.toMatchObject({
    code: 'untrusted_service',
    message: expect.stringMatching(says),
  });
});
