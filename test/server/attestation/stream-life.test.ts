import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { answerChallenge, makeTlsKey } from '../../support/evidence-builder.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
let machine: Machine;
beforeEach(async () => {
  house = await openHouse({ admission: ['certificate', 'approval'] });
  await putPolicy(house.store);
  machine = await enrollMachine(house);
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

describe('a host that waits for approval', () => {
  it('is told so, and attested on the same stream once it is approved', async () => {
    const waiting = await enrollMachine(house, { certificates: [undefined] });
    expect(waiting.host.state).toBe('pending');
    await using agent = new StreamAgent(house, waiting);
    await agent.expect('pending');
    agent.send({ kind: 'wish' });
    const approval = {
      ...OPERATOR,
      acknowledgeFindings: false,
      akCertificate: 'aa',
      expectedVersion: waiting.host.version,
    };
    await house.store.approveHost(waiting.id, approval);
    const result = await agent.round();
    expect(result.status).toBe('warning');
    expect(result.checks[0]).toMatchObject({ outcome: 'failed', reason: 'EK_UNENDORSED' });
  });

  it('sends no evidence', async () => {
    const waiting = await enrollMachine(house, { certificates: [undefined] });
    await using agent = new StreamAgent(house, waiting);
    await agent.expect('pending');
    const evidence = answerChallenge(
      waiting.tpm,
      waiting.ak,
      { nonce: Buffer.alloc(32), selection: 'all' },
      { hostId: waiting.id, tlsKeySha256: '' },
    );
    agent.send({ kind: 'evidence', evidence });
    expect(await agent.ended()).toMatchObject({ code: 'MESSAGE_UNEXPECTED' });
  });
});

describe('a renewal of the TLS key', () => {
  it('comes after the result, and the new key takes over with its first evidence', async () => {
    const renewed = makeTlsKey();
    const next = { ...machine, tls: renewed };
    {
      await using agent = new StreamAgent(house, machine);
      agent.answer(await agent.challenge(), { newTlsPublicKey: renewed.spki });
      await agent.expect('result');
      expect((await agent.expect('renewal')).renewal.clientCertificate.length).toBeGreaterThan(100);
      const host = await house.store.getHost(machine.id);
      expect(host).toMatchObject({
        tlsKeySha256: machine.tls.sha256.toString('hex'),
        nextTlsKeySha256: renewed.sha256.toString('hex'),
      });
    }
    await using both = new StreamAgent(house, machine);
    await both.challenge();
    await using agent = new StreamAgent(house, next);
    await agent.round();
    expect(await house.store.getHost(machine.id)).toMatchObject({
      tlsKeySha256: renewed.sha256.toString('hex'),
      nextTlsKeySha256: '',
    });
    await using old = new StreamAgent(house, machine);
    expect(await old.ended()).toMatchObject({ code: 'TLS_KEY_SUPERSEDED' });
  });

  it('for a key that cannot be certified ends the stream and changes nothing', async () => {
    await using agent = new StreamAgent(house, machine);
    agent.answer(await agent.challenge(), { newTlsPublicKey: Buffer.alloc(91, 1) });
    expect(await agent.ended()).toMatchObject({ code: 'bad_public_key' });
    expect(await house.store.getHost(machine.id)).toMatchObject({ round: 0, nextTlsKeySha256: '' });
  });
});

describe('the end of a stream', () => {
  it('shortens the validity to the grace of the policy and tells that the host is unreachable', async () => {
    const agent = new StreamAgent(house, machine);
    await agent.round();
    house.clock.advance(1_000);
    await agent[Symbol.asyncDispose]();
    expect(await agent.ended()).toBeNull();
    expect(await house.store.getResult(machine.id)).toMatchObject({
      status: 'affirming',
      connectivity: 'unreachable',
      validUntil: house.store.now() + 60_000,
    });
  });

  it('before any evidence was accepted changes nothing', async () => {
    await using holder = new StreamAgent(house, machine);
    const held = await holder.round();
    const visitor = new StreamAgent(house, machine);
    await visitor.challenge();
    await visitor[Symbol.asyncDispose]();
    expect(await house.store.getResult(machine.id)).toEqual(held);
  });

  it('of a stream that another took the place of changes nothing', async () => {
    const first = new StreamAgent(house, machine);
    await first.round();
    await using second = new StreamAgent(house, machine);
    const { revision, validUntil, connectivity } = await second.round();
    await first[Symbol.asyncDispose]();
    expect(await house.store.getResult(machine.id)).toMatchObject({ revision, validUntil, connectivity });
  });

  it('because the service stops is told, and not held against the host', async () => {
    await using agent = new StreamAgent(house, machine);
    const result = await agent.round();
    agent.draining.abort();
    expect(await agent.ended()).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect(await house.store.getResult(machine.id)).toEqual(result);
  });
});

it('hosts of one service do not disturb each other', async () => {
  const machines = await Promise.all(Array.from({ length: 8 }, () => enrollMachine(house, { tpm: new SoftwareTpm() })));
  const agents = machines.map((each) => new StreamAgent(house, each));
  const results = await Promise.all(agents.map((agent) => agent.round()));
  expect(results.map(({ status, hostId }) => [status, hostId])).toEqual(machines.map(({ id }) => ['affirming', id]));
  await Promise.all(agents.map((agent) => agent[Symbol.asyncDispose]()));
});

describe('streams of one host', () => {
  it('are eight at most, and those of other hosts are not counted', async () => {
    const agents = Array.from({ length: 8 }, () => new StreamAgent(house, machine));
    for (const agent of agents) await agent.challenge();
    await using ninth = new StreamAgent(house, machine);
    expect(await ninth.ended()).toMatchObject({ code: 'STREAM_LIMIT' });
    await using other = new StreamAgent(house, await enrollMachine(house));
    await other.round();
    await agents[0]?.[Symbol.asyncDispose]();
    await using next = new StreamAgent(house, machine);
    await next.round();
    for (const agent of agents) await agent[Symbol.asyncDispose]();
  });
});
