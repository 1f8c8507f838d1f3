import { isMessage } from '@bufbuild/protobuf';
import type { Message } from '@bufbuild/protobuf';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { attest } from '../../client/agent/attest.ts';
import { enroll } from '../../client/agent/enroll.ts';
import type { HostAk } from '../../client/agent/host-tpm.ts';
import { makeBareCertificate, makeTlsKey, tlsKeySha256 } from '../../client/agent/tls-key.ts';
import { attestationService, enrollmentService } from '../../client/sdk/attester.ts';
import { Connection } from '../../client/sdk/connection.ts';
import type { Endpoint } from '../../proto/endpoint.ts';
import { AttestRequestSchema, AttestResponseSchema } from '../../proto/gen/assay/v1/attestation_pb.ts';
import {
  BeginEnrollmentRequestSchema,
  BeginEnrollmentResponseSchema,
  CompleteEnrollmentRequestSchema,
  CompleteEnrollmentResponseSchema,
} from '../../proto/gen/assay/v1/enrollment_pb.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';
import { subjectPublicKeyInfo } from '../../tpm/crypto/public-key.ts';
import type { EndorsementKey } from '../../tpm/device/endorsement-key.ts';
import { SoftwareTpm as AgentTpm } from '../client/support/software-tpm.ts';
import { FACTS } from '../support/evidence-builder.ts';
import { ManInTheMiddle } from '../support/man-in-the-middle.ts';
import type { MiddleOptions } from '../support/man-in-the-middle.ts';
import { startAssay, tlsIdentity } from '../support/running-service.ts';
import type { Running } from '../support/running-service.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import type { SoftwareAk } from '../support/software-tpm.ts';
import { ext } from '../support/test-ca.ts';
import { ekExtensions, makeEk } from '../support/test-ek-pki.ts';
import { dump, enroll as enrollDirectly, putPolicy } from '../support/test-service.ts';

/** An agent as it is on a host: its TPM, its AK and its TLS key. */
interface Victim {
  readonly tpm: AgentTpm;
  readonly ak: HostAk;
  readonly eks: readonly EndorsementKey[];
  readonly key: string;
}

let running: Running;
/** Of the man in the middle: a host that he enrolled himself. */
let own: { readonly identity: TlsIdentity; readonly ak: SoftwareAk; readonly tpm: SoftwareTpm };
let victim: Victim;
let stolen: TlsIdentity;
let before: unknown;

beforeAll(async () => {
  running = await startAssay();
  const { serverTls, authority } = running.house.keys.current;
  const privateKey = serverTls.key.export({ type: 'pkcs8', format: 'pem' }).toString();
  stolen = { certificateChain: [serverTls.certificate, authority.certificate], privateKey };
  const rule = { bank: 'sha256', index: 7, allowed: ['07'.repeat(32)], severity: undefined, message: '' };
  await putPolicy(running.house.store, { pcrRules: [rule], quote: { allowUnprovenBanks: true } });
  const tpm = new SoftwareTpm();
  const ak = tpm.createAk();
  const { tls, clientCertificate } = await enrollDirectly(running.house, tpm, ak);
  own = { identity: tlsIdentity(tls, clientCertificate), ak, tpm };
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});
beforeEach(async () => {
  victim = await makeVictim();
  before = await dump(running.house.store);
});

async function makeVictim(): Promise<Victim> {
  const tpm = new AgentTpm();
  const eks = (await tpm.endorsementKeys()).map((ek, index) => {
    const area = tpm.eks[index]?.publicArea;
    if (area === undefined) throw new TypeError('no ek');
    const certificate = makeEk({
      spki: subjectPublicKeyInfo(area),
      extensions: ekExtensions({ keyUsage: ext.keyUsage(0x08) }),
    });
    return { ...ek, certificate };
  });
  const [parent] = eks;
  if (parent === undefined) throw new TypeError('no ek');
  return { tpm, eks, ak: await tpm.loadAk(parent, await tpm.createAk(parent)), key: makeTlsKey() };
}

function connectTo({ host, port }: Endpoint, { certificateChain: [leaf], privateKey }: TlsIdentity): Connection {
  const authority = running.house.keys.current.authority.certificate;
  const certificate = Buffer.from(leaf ?? Buffer.alloc(0));
  const now = (): Date => new Date();
  return new Connection({
    server: `${host}:${port}`,
    authority,
    certificate,
    key: privateKey,
    now,
    random: Math.random,
  });
}

async function bareIdentity(key: string): Promise<TlsIdentity> {
  const certificate = await makeBareCertificate(key, { now: new Date(), serial: Buffer.alloc(16, 1) });
  return { certificateChain: [certificate], privateKey: key };
}

/** The agent enrols at an address that it takes for the service's. */
async function enrolVictim(at: Endpoint) {
  const { tpm, ak, eks, key } = victim;
  const connection = connectTo(at, await bareIdentity(key));
  const enrollee = {
    tpm,
    ak,
    endorsementKeys: eks,
    parentIndex: 0,
    tlsKeySha256: tlsKeySha256(key),
    pin: running.house.keys.current.authority.fingerprint,
    collectFacts: () => Promise.resolve(FACTS),
    collectLogs: () => Promise.resolve([]),
  };
  try {
    tpm.calls.length = 0;
    const signal = new AbortController().signal;
    return await enroll(enrollee, enrollmentService(connection), { now: () => new Date(), signal });
  } finally {
    connection.close();
  }
}

function middle(options: Partial<MiddleOptions> = {}): Promise<ManInTheMiddle> {
  const { service, house } = running;
  const { authority } = house.keys.current;
  return ManInTheMiddle.open({
    service: service.address,
    authority: authority.certificate,
    shown: stolen,
    own: own.identity,
    ...options,
  });
}

describe('enrolment through a man in the middle who has the TLS key of the service', () => {
  const nothingOpened = async (options: Partial<MiddleOptions>): Promise<void> => {
    await using between = await middle(options);
    await expect(enrolVictim(between.endpoint)).rejects.toMatchObject({ code: 'untrusted_service' });
    expect(between.seen.some((message) => isMessage(message, BeginEnrollmentResponseSchema))).toBe(true);
    expect(victim.tpm.calls).toEqual([]);
    expect(await dump(running.house.store)).toEqual(before);
  };

  it('opens no credential: the service names the TLS key that it sees', () => nothingOpened({}));

  it('opens none where he writes the TLS key of the agent over his own', () =>
    nothingOpened({
      toAgent: (message) =>
        isMessage(message, BeginEnrollmentResponseSchema)
          ? { ...message, tlsKeySha256: tlsKeySha256(victim.key) }
          : message,
    }));

  it('opens none that was made for an AK of his: the TPM is no oracle', () =>
    nothingOpened({
      toService: (message) =>
        isMessage(message, BeginEnrollmentRequestSchema)
          ? { ...message, akPublicArea: own.ak.publicArea.raw }
          : message,
    }));

  it('opens none that was made for fewer EKs than it has', () =>
    nothingOpened({
      toService: (message) =>
        isMessage(message, BeginEnrollmentRequestSchema)
          ? { ...message, endorsementKeys: message.endorsementKeys.slice(0, 1) }
          : message,
    }));

  it('makes no host of his TLS key where he also has the agent’s: he may only relay', async () => {
    await using between = await middle({ own: await bareIdentity(victim.key) });
    const answer = await enrolVictim(between.endpoint);
    expect(await running.house.store.getHost(answer.hostId)).toMatchObject({
      state: 'active',
      tlsKeySha256: tlsKeySha256(victim.key).toString('hex'),
    });
  });

  const CHANGED: readonly (readonly [string, Partial<MiddleOptions>, object])[] = [
    [
      'facts',
      { toService: inProof((value) => (value.facts = { ...value.facts, hostname: 'other' } as typeof value.facts)) },
      { reason: 'ENROLLMENT_PROOF_INVALID' },
    ],
    [
      'PCR values',
      { toService: inProof((value) => value.pcrValues[0]?.values[3]?.digest.fill(1)) },
      { reason: 'ENROLLMENT_PROOF_INVALID' },
    ],
    [
      'the proof of the banks',
      { toService: inProof((value) => delete value.bankProof) },
      { reason: 'ENROLLMENT_PROOF_INVALID' },
    ],
    [
      'the quote',
      { toService: inProof((value) => value.quote?.attest.fill(0, 20, 30)) },
      { reason: 'ENROLLMENT_PROOF_INVALID' },
    ],
    [
      'the answer',
      {
        toAgent: (message) =>
          isMessage(message, CompleteEnrollmentResponseSchema) ? { ...message, replacementPending: true } : message,
      },
      { code: 'untrusted_service' },
    ],
  ];
  it.each(CHANGED)('is not believed where he has both TLS keys and changes %s', async (_name, change, failure) => {
    await using between = await middle({ own: await bareIdentity(victim.key), ...change });
    await expect(enrolVictim(between.endpoint)).rejects.toMatchObject(failure);
  });
});

type Proof = Extract<ReturnType<typeof proofOf>, object>;

function proofOf(message: Message) {
  return isMessage(message, CompleteEnrollmentRequestSchema) && message.part.case === 'proof'
    ? message.part.value
    : null;
}

function inProof(change: (proof: Proof) => unknown): (message: Message) => Message {
  return (message) => {
    const proof = proofOf(message);
    if (proof !== null) change(proof);
    return message;
  };
}

type Evidence = Extract<ReturnType<typeof evidenceOf>, object>;

function evidenceOf(message: Message) {
  return isMessage(message, AttestRequestSchema) && message.part.case === 'evidence' ? message.part.value : null;
}

function inEvidence(change: (evidence: Evidence) => unknown): (message: Message) => Message {
  return (message) => {
    const evidence = evidenceOf(message);
    if (evidence !== null) change(evidence);
    return message;
  };
}

/** He says in the hello that his own AK will sign. */
function asOwnAk(message: Message): Message {
  if (isMessage(message, AttestRequestSchema) && message.part.case === 'hello') message.part.value.akName = own.ak.name;
  return message;
}

describe('attestation through a man in the middle who has the TLS key of the service', () => {
  let identity: TlsIdentity;
  let hostId: string;
  beforeEach(async () => {
    const answer = await enrolVictim(running.service.address);
    hostId = answer.hostId;
    identity = { certificateChain: [answer.clientCertificate], privateKey: victim.key };
    before = await dump(running.house.store);
  });

  /** One stream of the agent, until its first result; answers the status. */
  async function attestVictim(at: Endpoint): Promise<string> {
    const connection = connectTo(at, identity);
    const controller = new AbortController();
    let status = 'ended';
    try {
      await attest(
        {
          tpm: victim.tpm,
          ak: victim.ak,
          hostId,
          tlsKeySha256: tlsKeySha256(victim.key),
          agentVersion: '1',
          collectFacts: () => Promise.resolve(FACTS),
          collectLogs: (requests) =>
            Promise.resolve(
              requests.map(({ kind, offset }) => ({
                announcement: { kind, offset, size: 0, sha256: Buffer.alloc(0), unreadable: 'none' },
                chunks: [],
              })),
            ),
          renewer: { newPublicKey: () => Promise.resolve(Buffer.alloc(0)), accept: () => Promise.resolve() },
        },
        attestationService(connection),
        {
          events: {
            accepted: () => Promise.resolve(),
            result: (result) => {
              ({ status } = result);
              controller.abort();
            },
            pending: () => undefined,
            torn: (reason) => {
              status = reason;
              controller.abort();
            },
          },
          signal: controller.signal,
        },
      );
    } catch (error) {
      if (!controller.signal.aborted) throw error;
    } finally {
      connection.close();
    }
    return status;
  }

  it('is an AFFIRMING verdict without him, and where he has both keys and changes nothing', async () => {
    expect(await attestVictim(running.service.address)).toBe('AFFIRMING');
    await using between = await middle({ own: identity });
    expect(await attestVictim(between.endpoint)).toBe('AFFIRMING');
  });

  const STRANGERS: readonly (readonly [string, () => Promise<Partial<MiddleOptions>>, string])[] = [
    ['without a certificate', async () => ({ own: await bareIdentity(makeTlsKey()) }), 'CERTIFICATE_MISSING'],
    ['as a host of his own', async () => ({}), 'AK_UNKNOWN'],
    ['as a host of his own, with its AK', async () => ({ toService: asOwnAk }), 'SIGNATURE_INVALID'],
  ];
  it.each(STRANGERS)('%s is refused and changes nothing', async (_name, options, reason) => {
    await using between = await middle(await options());
    await expect(attestVictim(between.endpoint)).rejects.toMatchObject({ reason });
    expect(await dump(running.house.store)).toEqual(before);
  });

  const CHANGED: readonly (readonly [string, Partial<MiddleOptions>, string])[] = [
    [
      'facts',
      { toService: inEvidence((value) => (value.facts = { ...value.facts, kernel: '' } as typeof value.facts)) },
      'EXTRA_DATA_MISMATCH',
    ],
    [
      'the new TLS key, to have a certificate for his own',
      { toService: inEvidence((value) => (value.newTlsPublicKey = Buffer.alloc(91, 1))) },
      'EXTRA_DATA_MISMATCH',
    ],
    ['the quote', { toService: inEvidence((value) => value.quote?.attest.fill(0, 40, 44)) }, 'SIGNATURE_INVALID'],
    [
      'the nonce',
      {
        toAgent: (message) => {
          if (isMessage(message, AttestResponseSchema) && message.part.case === 'challenge')
            message.part.value.nonce = Buffer.alloc(32, 9);
          return message;
        },
      },
      'EXTRA_DATA_MISMATCH',
    ],
  ];
  it.each(CHANGED)('is refused where he has both TLS keys and changes %s', async (_name, change, reason) => {
    await using between = await middle({ own: identity, ...change });
    await expect(attestVictim(between.endpoint)).rejects.toMatchObject({ reason });
    expect(await dump(running.house.store)).toEqual(before);
  });

  it('is torn, and no verdict, where he has both TLS keys and changes PCR values', async () => {
    const change = { toService: inEvidence((value) => value.pcrValues[0]?.values[0]?.digest.fill(0x5a)) };
    await using between = await middle({ own: identity, ...change });
    expect(await attestVictim(between.endpoint)).toBe('EVIDENCE_TORN');
    expect((await running.house.store.getResult(hostId))?.status).not.toBe('affirming');
  });
});
