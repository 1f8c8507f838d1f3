import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { Challenge } from '../../../server/attestation/messages.ts';
import { makeTlsKey } from '../../support/evidence-builder.ts';
import { caughtUp, enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Answer, Machine, StreamChange } from '../../support/stream-agent.ts';
import { dump, enroll, openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
let machine: Machine;
let other: Machine;
beforeAll(async () => {
  house = await openHouse();
  await putPolicy(house.store);
  machine = await enrollMachine(house);
  other = await enrollMachine(house);
});
afterAll(() => house[Symbol.asyncDispose]());

/** What the store holds, but for the clock's mark. */
let before: unknown;
beforeEach(async () => {
  before = await dump(house.store);
});

interface Attempt {
  readonly name: string;
  readonly challenge?: (given: Challenge) => Challenge;
  readonly answer?: () => Answer;
  readonly code: string;
}

const ATTEMPTS: readonly Attempt[] = [
  {
    name: 'another nonce',
    challenge: (given) => ({ ...given, nonce: Buffer.alloc(32, 1) }),
    code: 'EXTRA_DATA_MISMATCH',
  },
  { name: 'an empty nonce', challenge: (given) => ({ ...given, nonce: Buffer.alloc(0) }), code: 'EXTRA_DATA_MISMATCH' },
  {
    name: 'a longer nonce',
    challenge: (given) => ({ ...given, nonce: Buffer.concat([given.nonce, Buffer.from([0])]) }),
    code: 'EXTRA_DATA_MISMATCH',
  },
  { name: 'the id of another host', answer: () => ({ hostId: other.id }), code: 'EXTRA_DATA_MISMATCH' },
  {
    name: 'the TLS key of another host',
    answer: () => ({ tlsKeySha256: other.tls.sha256.toString('hex') }),
    code: 'EXTRA_DATA_MISMATCH',
  },
  {
    name: 'another extraData',
    answer: () => ({ lie: (truth) => ({ ...truth, extraData: Buffer.alloc(32) }) }),
    code: 'EXTRA_DATA_MISMATCH',
  },
  {
    name: 'no extraData',
    answer: () => ({ lie: (truth) => ({ ...truth, extraData: Buffer.alloc(0) }) }),
    code: 'EXTRA_DATA_MISMATCH',
  },
  { name: 'another magic', answer: () => ({ lie: (truth) => ({ ...truth, magic: 7 }) }), code: 'ATTEST_MAGIC_WRONG' },
  {
    name: 'the signer of another host',
    answer: () => ({ lie: (truth) => ({ ...truth, qualifiedSigner: other.ak.qualifiedName }) }),
    code: 'QUALIFIED_SIGNER_MISMATCH',
  },
];

async function unchanged(): Promise<void> {
  expect(await dump(house.store)).toEqual(before);
}

describe('evidence that is not proven to be of the host', () => {
  it.each(ATTEMPTS)('with $name ends the stream as $code and changes nothing', async (attempt) => {
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    agent.answer(attempt.challenge?.(challenge) ?? challenge, attempt.answer?.() ?? {});
    expect(await agent.ended()).toMatchObject({ name: 'EvidenceError', code: attempt.code });
    await unchanged();
  });

  it('signed by the AK of another host, for this challenge, ends the stream and changes nothing', async () => {
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    await using impostor = new StreamAgent(house, other);
    const evidence = impostor.evidence(challenge, {
      hostId: machine.id,
      tlsKeySha256: machine.tls.sha256.toString('hex'),
    });
    agent.send({ kind: 'evidence', evidence });
    expect(await agent.ended()).toMatchObject({ code: 'SIGNATURE_INVALID' });
    await unchanged();
  });

  it('changed after it was signed ends the stream and changes nothing', async () => {
    for (const change of [
      { facts: { hostname: 'other', os: '', kernel: '', agentVersion: '', bootId: '' } },
      { newTlsPublicKey: makeTlsKey().spki },
    ]) {
      await using agent = new StreamAgent(house, machine);
      const evidence = agent.evidence(await agent.challenge());
      agent.send({ kind: 'evidence', evidence: { ...evidence, ...change } });
      expect(await agent.ended()).toMatchObject({ code: 'EXTRA_DATA_MISMATCH' });
      await unchanged();
    }
  });

  it('for the nonce of another stream of the same host ends the stream and changes nothing', async () => {
    await using one = new StreamAgent(house, machine);
    await using two = new StreamAgent(house, machine);
    const foreign = await one.challenge();
    const own = await two.challenge();
    two.answer({ ...own, nonce: foreign.nonce });
    expect(await two.ended()).toMatchObject({ code: 'EXTRA_DATA_MISMATCH' });
    await unchanged();
  });
});

describe('a nonce', () => {
  it('that was answered already is good for nothing', async () => {
    const third = await enrollMachine(house);
    await using agent = new StreamAgent(house, third);
    const challenge = await agent.challenge();
    const evidence = agent.evidence(challenge);
    agent.send({ kind: 'evidence', evidence });
    const { result } = await agent.expect('result');
    house.clock.advance(2_000);
    agent.send({ kind: 'wish' });
    await agent.challenge();
    agent.send({ kind: 'evidence', evidence });
    expect(await agent.ended()).toMatchObject({ code: 'EXTRA_DATA_MISMATCH' });
    expect(await house.store.getResult(third.id)).toMatchObject({ status: result.status, confirmations: 0 });
  });

  it('of a stream that ended is good for nothing on the next', async () => {
    const third = await enrollMachine(house);
    const first = new StreamAgent(house, third);
    const evidence = first.evidence(await first.challenge());
    await first[Symbol.asyncDispose]();
    await using second = new StreamAgent(house, third);
    await second.challenge();
    second.send({ kind: 'evidence', evidence });
    expect(await second.ended()).toMatchObject({ code: 'EXTRA_DATA_MISMATCH' });
    expect((await house.store.getHost(third.id))?.round).toBe(0);
  });
});

describe('a stream', () => {
  const rows: readonly (readonly [string, () => StreamChange, string])[] = [
    ['of a host that is not enrolled', () => ({ hostId: `h-${'a'.repeat(26)}` }), 'HOST_UNKNOWN'],
    [
      'under the TLS key of another host',
      () => ({ tlsKeySha256: other.tls.sha256.toString('hex') }),
      'TLS_KEY_SUPERSEDED',
    ],
    ["under a host's identity with the agent of another", () => ({ hostId: other.id }), 'TLS_KEY_SUPERSEDED'],
    ['whose client certificate has expired', () => ({ expires: house.store.now() }), 'TLS_KEY_SUPERSEDED'],
    [
      'that names the AK of another host',
      () => ({
        hello: { kind: 'hello', akName: other.ak.name.toString('hex'), boot: { resetCount: 0, restartCount: 0 } },
      }),
      'AK_UNKNOWN',
    ],
  ];
  it.each(rows)('%s is refused before a challenge', async (_name, change, code) => {
    await using agent = new StreamAgent(house, machine, change());
    expect(await agent.ended()).toMatchObject({ name: 'AttestationError', code });
    await unchanged();
  });

  it('ends when its client certificate does, however well it answers', async () => {
    const third = await enrollMachine(house);
    await using agent = new StreamAgent(house, third, { expires: house.store.now() + 10_000 });
    expect((await agent.round()).status).toBe('affirming');
    house.clock.advance(10_000);
    agent.send({ kind: 'wish' });
    expect(await agent.ended()).toMatchObject({ code: 'TLS_KEY_SUPERSEDED' });
  });

  it('of a host that enrolled again under another TLS key ends', async () => {
    const third = await enrollMachine(house);
    await using agent = new StreamAgent(house, third);
    await agent.round();
    await enroll(house, third.tpm, third.ak);
    house.clock.advance(2_000);
    agent.send({ kind: 'wish' });
    const challenge = await agent.challenge().catch(() => null);
    // What the stream knew was out of date: at the latest the fence finds it.
    if (challenge !== null) agent.answer(challenge);
    expect(await agent.ended()).toMatchObject({ code: 'TLS_KEY_SUPERSEDED' });
    expect((await house.store.getResult(third.id))?.confirmations).toBe(0);
  });

  it('of a revoked host is refused', async () => {
    const third = await enrollMachine(house);
    await house.store.revokeHost(third.id, { ...OPERATOR, reason: '' });
    await caughtUp(house);
    await using agent = new StreamAgent(house, third);
    expect(await agent.ended()).toMatchObject({ code: 'HOST_REVOKED' });
  });
});
