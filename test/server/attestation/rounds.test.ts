import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { CHALLENGE_LIFETIME } from '../../../server/attestation/challenge.ts';
import { TPM_ALG_SHA256, TPM_ALG_SHA3_256, TPM_ALG_SHA512 } from '../../../tpm/structures/constants.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { openHouse, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
let machine: Machine;
beforeEach(async () => {
  house = await openHouse();
  machine = await enrollMachine(house);
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

/** Lets time pass and asks for the next challenge. */
function hurry(agent: StreamAgent, milliseconds = 2_000): void {
  house.clock.advance(milliseconds);
  agent.send({ kind: 'wish' });
}

const reasons = (checks: readonly { readonly outcome: string; readonly reason: string }[]) =>
  checks.filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason);

describe('a stream of attestation', () => {
  it('affirms a host that satisfies its policy, durable before it is told', async () => {
    await putPolicy(house.store);
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    expect(challenge.nonce).toHaveLength(32);
    expect(challenge.selection).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [7] }]);
    agent.answer(challenge);
    const { result } = await agent.expect('result');
    expect(result).toMatchObject({
      status: 'affirming',
      policyId: 'base',
      policyVersion: 1,
      connectivity: 'connected',
      akName: machine.ak.name.toString('hex'),
      challengeTime: challenge.time,
      validUntil: challenge.time + 180_000,
    });
    expect(await house.store.getResult(machine.id)).toEqual(result);
  });

  it('confirms an equal verdict: the same revision, a later end', async () => {
    await putPolicy(house.store);
    await using agent = new StreamAgent(house, machine);
    const first = await agent.round();
    for (let count = 1; count <= 3; count++) {
      hurry(agent);
      const result = await agent.round();
      expect(result).toMatchObject({ revision: first.revision, confirmations: count });
      expect(result.validUntil).toBe((first.validUntil ?? 0) + 2_000 * count);
      expect(result.evidenceDigest).not.toBe(first.evidenceDigest);
    }
  });

  it('confirms it also after hosts whose TPMs list the same banks in another order', async () => {
    await putPolicy(house.store);
    const judged = async (banks: readonly number[]) => {
      const other = await enrollMachine(house, { tpm: new SoftwareTpm({ banks }) });
      return { agent: new StreamAgent(house, other), banks };
    };
    const one = await judged([TPM_ALG_SHA256, TPM_ALG_SHA512, TPM_ALG_SHA3_256]);
    await using agent = one.agent;
    const first = await agent.round();
    for (const banks of [[TPM_ALG_SHA256], one.banks.toReversed()]) {
      await using another = (await judged(banks)).agent;
      await another.round();
    }
    hurry(agent);
    expect(await agent.round()).toMatchObject({ revision: first.revision, confirmations: 1 });
  });

  it('draws a nonce of its own for each challenge', async () => {
    await putPolicy(house.store);
    await using agent = new StreamAgent(house, machine);
    const nonces = new Set<string>();
    for (let count = 0; count < 4; count++) {
      const challenge = await agent.challenge();
      nonces.add(challenge.nonce.toString('hex'));
      agent.answer(challenge);
      await agent.expect('result');
      hurry(agent);
    }
    expect(nonces.size).toBe(4);
  });

  it('says nothing of a host without a policy, and watches it all the same', async () => {
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    expect(challenge.selection).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [0, 1, 2, 3, 4, 5, 6, 7] }]);
    agent.answer(challenge);
    const { result } = await agent.expect('result');
    expect(result).toMatchObject({ status: 'none', validUntil: null, connectivity: 'connected' });
    expect(reasons(result.checks)).toEqual(['POLICY_MISSING']);
  });

  it('turns when a PCR does, and turns back when that does', async () => {
    await putPolicy(house.store);
    const good = machine.tpm.read();
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    machine.tpm.extend(7);
    hurry(agent);
    const bad = await agent.round();
    expect(bad.status).toBe('contraindicated');
    expect(bad.checks[0]).toMatchObject({ id: 'pcr.sha256.7', reason: 'PCR_MISMATCH' });
    machine.tpm.pcrs.set(TPM_ALG_SHA256, new Map(good.get(TPM_ALG_SHA256)));
    hurry(agent);
    expect((await agent.round()).status).toBe('affirming');
  });

  it('asks for every bank, proven, as long as none is', async () => {
    await putPolicy(house.store);
    const unproven = await enrollMachine(house, { bankLie: (truth) => ({ ...truth, extraData: Buffer.alloc(32) }) });
    expect(unproven.host.banksProven).toBe(false);
    await using agent = new StreamAgent(house, unproven);
    const challenge = await agent.challenge();
    expect(challenge.selection).toBe('all');
    agent.answer(challenge, { bankLie: (truth) => ({ ...truth, extraData: Buffer.alloc(32) }) });
    const { result } = await agent.expect('result');
    expect(result.status).toBe('warning');
    expect(reasons(result.checks)).toEqual(['BANKS_UNPROVEN']);
    hurry(agent);
    expect((await agent.round()).status).toBe('affirming');
    hurry(agent);
    expect((await agent.challenge()).selection).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [7] }]);
  });

  it('calls an answer over other PCRs than were asked for a result, not an error', async () => {
    await putPolicy(house.store);
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    const narrow = [{ hash: TPM_ALG_SHA256, pcrs: [8] }];
    const evidence = agent.evidence({ ...challenge, selection: narrow });
    agent.send({ kind: 'evidence', evidence });
    const { result } = await agent.expect('result');
    expect(result.status).toBe('contraindicated');
    expect(reasons(result.checks)).toEqual(['PCR_SELECTION_MISMATCH']);
  });

  it('follows the interval of the policy, a little earlier for the sake of jitter', async () => {
    await putPolicy(house.store, { quote: { interval: 1_000, validity: 3_000 } });
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    const start = performance.now();
    await agent.challenge();
    const elapsed = performance.now() - start;
    expect(elapsed).toBeGreaterThan(850);
    // Far sooner than another interval would have it, on a machine that is busy, too.
    expect(elapsed).toBeLessThan(20_000);
  });
});

describe('a wish', () => {
  it('brings the next challenge at once, a second after the last at the earliest', async () => {
    await putPolicy(house.store);
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    const start = performance.now();
    agent.send({ kind: 'wish' });
    await agent.challenge();
    const elapsed = performance.now() - start;
    expect(elapsed).toBeGreaterThan(900);
    expect(elapsed).toBeLessThan(20_000);
  });

  it('while evidence is due changes nothing', async () => {
    await putPolicy(house.store);
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    agent.send({ kind: 'wish' });
    agent.answer(challenge);
    expect((await agent.expect('result')).result.status).toBe('affirming');
  });
});

describe('logs', () => {
  const random = new SeededRandom(3);
  const boot = { kind: 'boot', data: random.bytes(3_000) } as const;
  const ima = random.bytes(9_000);

  it('come whole after a reboot, and then only what they have grown by', async () => {
    await putPolicy(house.store);
    await using agent = new StreamAgent(house, machine, { boot: { resetCount: 99, restartCount: 0 } });
    const all = await agent.challenge();
    expect(all.logs).toEqual(['boot', 'userspace', 'ima'].map((kind) => ({ kind, offset: 0 })));
    agent.answer(all, { logs: [boot, { kind: 'ima', data: ima.subarray(0, 4_000) }] });
    await agent.expect('result');
    hurry(agent);
    const next = await agent.challenge();
    expect(next.logs).toEqual([{ kind: 'ima', offset: 4_000 }]);
    agent.answer(next, { logs: [{ kind: 'ima', data: ima.subarray(4_000), offset: 4_000 }] });
    await agent.expect('result');
    expect(Buffer.from(await house.store.readLog(machine.id, 'ima', 0, 10_000))).toEqual(ima);
    expect(Buffer.from(await house.store.readLog(machine.id, 'boot', 0, 10_000))).toEqual(boot.data);
  });

  it.each([['from another offset', { kind: 'ima', data: ima, offset: 7 }, 'LOG_OUT_OF_ORDER']] as const)(
    '%s end the stream and are not kept',
    async (_name, log, code) => {
      await putPolicy(house.store);
      const hello = { resetCount: 99, restartCount: 0 };
      await using agent = new StreamAgent(house, machine, { boot: hello });
      agent.answer(await agent.challenge(), { logs: [log] });
      expect(await agent.ended()).toMatchObject({ code });
      expect(await house.store.logStates(machine.id)).toEqual([]);
      expect((await house.store.getHost(machine.id))?.round).toBe(0);
    },
  );

  it('that were not asked for end the stream, and what is kept stays', async () => {
    await putPolicy(house.store);
    await using agent = new StreamAgent(house, machine);
    agent.answer(await agent.challenge(), { logs: [boot] });
    await agent.expect('result');
    hurry(agent);
    const next = await agent.challenge();
    expect(next.logs.map(({ kind }) => kind)).not.toContain('boot');
    agent.answer(next, { logs: [{ kind: 'boot', data: Buffer.from('another boot') }] });
    expect(await agent.ended()).toMatchObject({ code: 'LOG_UNREQUESTED' });
    expect(Buffer.from(await house.store.readLog(machine.id, 'boot', 0, 10_000))).toEqual(boot.data);
  });

  it('that end with the stream are no evidence', async () => {
    await putPolicy(house.store);
    const agent = new StreamAgent(house, machine, { boot: { resetCount: 99, restartCount: 0 } });
    const evidence = agent.evidence(await agent.challenge(), { logs: [boot] });
    agent.send({ kind: 'evidence', evidence });
    await agent[Symbol.asyncDispose]();
    expect(await agent.ended()).toMatchObject({ code: 'LOG_INCOMPLETE' });
    expect((await house.store.getHost(machine.id))?.round).toBe(0);
  });
});

describe('a message that is not due', () => {
  const hello = { kind: 'hello', akName: '00', boot: { resetCount: 1, restartCount: 1 } } as const;
  const chunk = { kind: 'chunk', chunk: { kind: 'ima', offset: 0, data: Buffer.from([1]) } } as const;

  it('in place of the hello ends the stream', async () => {
    await using agent = new StreamAgent(house, machine, { hello: { kind: 'wish' } });
    expect(await agent.ended()).toMatchObject({ code: 'HELLO_MISSING' });
  });

  it.each([
    ['a second hello', hello],
    ['a chunk', chunk],
  ] as const)('%s in place of evidence ends the stream', async (_name, message) => {
    await using agent = new StreamAgent(house, machine);
    await agent.challenge();
    agent.send(message);
    expect(await agent.ended()).toMatchObject({ code: 'MESSAGE_UNEXPECTED' });
  });

  it.each([
    ['a second hello', () => hello],
    ['a chunk', () => chunk],
    [
      'evidence that nobody asked for',
      (agent: StreamAgent) =>
        ({
          kind: 'evidence',
          evidence: agent.evidence({ nonce: Buffer.alloc(32), selection: 'all', logs: [], time: 0 }),
        }) as const,
    ],
  ])('%s before the next challenge ends the stream', async (_name, message) => {
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    agent.send(message(agent));
    expect(await agent.ended()).toMatchObject({ code: 'MESSAGE_UNEXPECTED' });
  });

  it('evidence in place of a chunk ends the stream', async () => {
    await using agent = new StreamAgent(house, machine, { boot: { resetCount: 99, restartCount: 0 } });
    const evidence = agent.evidence(await agent.challenge(), { logs: [{ kind: 'ima', data: Buffer.alloc(10) }] });
    agent.send({ kind: 'evidence', evidence });
    agent.send({ kind: 'evidence', evidence });
    expect(await agent.ended()).toMatchObject({ code: 'MESSAGE_UNEXPECTED' });
  });

  it('nothing at all until the deadline ends the stream', async () => {
    await using agent = new StreamAgent(house, machine);
    await agent.challenge();
    hurry(agent, CHALLENGE_LIFETIME);
    expect(await agent.ended()).toMatchObject({ code: 'CHALLENGE_EXPIRED' });
    expect((await house.store.getHost(machine.id))?.round).toBe(0);
  });

  it('evidence after the deadline ends the stream', async () => {
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    house.clock.advance(CHALLENGE_LIFETIME);
    agent.answer(challenge);
    expect(await agent.ended()).toMatchObject({ code: 'CHALLENGE_EXPIRED' });
    expect((await house.store.getHost(machine.id))?.round).toBe(0);
  });
});
