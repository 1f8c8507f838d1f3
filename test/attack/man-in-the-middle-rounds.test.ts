import { isMessage } from '@bufbuild/protobuf';
import type { Message } from '@bufbuild/protobuf';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { attest } from '../../client/agent/attest.ts';
import { makeTlsKey, tlsKeySha256 } from '../../client/agent/tls-key.ts';
import { attestationService } from '../../client/sdk/attester.ts';
import type { Endpoint } from '../../proto/endpoint.ts';
import { AttestRequestSchema, AttestResponseSchema } from '../../proto/gen/assay/v1/attestation_pb.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';
import { FACTS } from '../support/evidence-builder.ts';
import type { MiddleOptions } from '../support/man-in-the-middle.ts';
import { dump } from '../support/test-service.ts';
import { bareIdentity, makeVictim, openScene } from './scene.ts';
import type { Scene, Victim } from './scene.ts';

let scene: Scene;
let victim: Victim;
let before: unknown;
beforeAll(async () => {
  scene = await openScene();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.running.errors).toEqual([]);
});

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
  if (isMessage(message, AttestRequestSchema) && message.part.case === 'hello')
    message.part.value.akName = scene.own.ak.name;
  return message;
}

describe('attestation through a man in the middle who has the TLS key of the service', () => {
  let identity: TlsIdentity;
  let hostId: string;
  beforeEach(async () => {
    victim = await makeVictim();
    const answer = await scene.enrol(victim, scene.running.service.address);
    hostId = answer.hostId;
    identity = { certificateChain: [answer.clientCertificate], privateKey: victim.key };
    before = await dump(scene.running.house.store);
  });

  /** One stream of the agent, until its first result; answers the status. */
  async function attestVictim(at: Endpoint): Promise<string> {
    const connection = scene.connect(at, identity);
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
          watch: undefined,
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
            wished: () => undefined,
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
    expect(await attestVictim(scene.running.service.address)).toBe('AFFIRMING');
    await using between = await scene.middle({ own: identity });
    expect(await attestVictim(between.endpoint)).toBe('AFFIRMING');
  });

  const STRANGERS: readonly (readonly [string, () => Promise<Partial<MiddleOptions>>, string])[] = [
    ['without a certificate', async () => ({ own: await bareIdentity(makeTlsKey()) }), 'CERTIFICATE_MISSING'],
    ['as a host of his own', async () => ({}), 'AK_UNKNOWN'],
    ['as a host of his own, with its AK', async () => ({ toService: asOwnAk }), 'SIGNATURE_INVALID'],
  ];
  it.each(STRANGERS)('%s is refused and changes nothing', async (_name, options, reason) => {
    await using between = await scene.middle(await options());
    await expect(attestVictim(between.endpoint)).rejects.toMatchObject({ reason });
    expect(await dump(scene.running.house.store)).toEqual(before);
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
    await using between = await scene.middle({ own: identity, ...change });
    await expect(attestVictim(between.endpoint)).rejects.toMatchObject({ reason });
    expect(await dump(scene.running.house.store)).toEqual(before);
  });

  it('is torn, and no verdict, where he has both TLS keys and changes PCR values', async () => {
    const change = { toService: inEvidence((value) => value.pcrValues[0]?.values[0]?.digest.fill(0x5a)) };
    await using between = await scene.middle({ own: identity, ...change });
    expect(await attestVictim(between.endpoint)).toBe('EVIDENCE_TORN');
    expect((await scene.running.house.store.getResult(hostId))?.status).not.toBe('affirming');
  });
});
