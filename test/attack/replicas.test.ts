import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { AgentCaller } from '../../server/attestation/check-host.ts';
import { createChallenge, submitEvidence } from '../../server/attestation/single-round.ts';
import type { ResultRecord } from '../../server/store/records.ts';
import type { Store } from '../../server/store/store.ts';
import { answerChallenge, answerEnrollment } from '../support/evidence-builder.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import { caughtUp, enrollMachine, StreamAgent } from '../support/stream-agent.ts';
import type { Machine } from '../support/stream-agent.ts';
import {
  beginEnrollment,
  dump,
  finishEnrollment,
  openHouse,
  openReplica,
  OPERATOR,
  putPolicy,
} from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';

/** Races of each kind; what happens when is drawn. */
const RACES = 40;
const SEED = Number(process.env['ASSAY_FUZZ_SEED'] ?? 20_261_125);

let one: House;
let two: House;
let machine: Machine;
beforeEach(async () => {
  one = await openHouse();
  two = await openReplica(one);
  await putPolicy(one.store);
  machine = await enrollMachine(one);
});
afterEach(async () => {
  await two[Symbol.asyncDispose]();
  await one[Symbol.asyncDispose]();
  expect([...one.faults, ...two.faults]).toEqual([]);
});

const callerOf = ({ id, tls }: Machine): AgentCaller => ({
  hostId: id,
  tlsKeySha256: tls.sha256.toString('hex'),
  expires: one.store.now() + 86_400_000,
});

function draw(house: House) {
  const { resetCount, restartCount } = machine.tpm.clockInfo;
  const boot = { resetCount, restartCount };
  return createChallenge(house.services, callerOf(machine), { akName: machine.ak.name.toString('hex'), boot });
}

type Drawn = Awaited<ReturnType<typeof draw>>;

function submit(house: House, { challenge, token }: Drawn) {
  const { id: hostId, tls } = machine;
  const evidence = answerChallenge(machine.tpm, machine.ak, challenge, {
    hostId,
    tlsKeySha256: tls.sha256.toString('hex'),
  });
  return submitEvidence(house.services, callerOf(machine), { token, evidence, nextChunk: async () => null });
}

async function refused(act: () => Promise<unknown>, code: string): Promise<void> {
  const before = await dump(one.store);
  await expect(act()).rejects.toMatchObject({ code });
  expect(await dump(one.store)).toEqual(before);
}

/** Lets some turns of the event loop pass, so that a race comes out in another way each time. */
async function someTurns(random: SeededRandom): Promise<void> {
  for (let left = random.below(12); left > 0; left -= 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Does something once a verdict has been made and before it is committed; resolves when that is done. */
function beforeCommit(act: () => Promise<unknown>): Promise<void> {
  const { store } = one;
  const commitRounds = store.commitRounds.bind(store);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  Object.assign(store, {
    commitRounds: async (...args: Parameters<Store['commitRounds']>) => {
      Object.assign(store, { commitRounds });
      await act().then(() => resolve(), reject);
      return commitRounds(...args);
    },
  });
  return promise;
}

/** When the one of a race acts: in the first just ahead of the commit, whatever chance makes of the others. */
function atItsMoment(race: number, random: SeededRandom, act: () => Promise<unknown>): Promise<unknown> {
  return race === 0 ? beforeCommit(act) : someTurns(random).then(act);
}

describe('an enrolment that is replayed at another replica', () => {
  const begun = async () => {
    const tpm = new SoftwareTpm();
    const ak = tpm.createAk();
    const { challenge, transcript, tls } = await beginEnrollment(one, tpm, ak);
    return { proof: answerEnrollment(tpm, ak, challenge, { transcript }), tls };
  };

  it('was begun at one and is completed at the other, and then at neither', async () => {
    const { proof, tls } = await begun();
    expect((await finishEnrollment(two, proof, { tls })).host.state).toBe('active');
    await refused(() => finishEnrollment(one, proof, { tls }), 'ENROLLMENT_USED');
    await refused(() => finishEnrollment(two, proof, { tls }), 'ENROLLMENT_USED');
  });

  it('at the same time is completed at one of them', async () => {
    for (let race = 0; race < 5; race += 1) {
      const { proof, tls } = await begun();
      const both = await Promise.allSettled([one, two].map((house) => finishEnrollment(house, proof, { tls })));
      expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      const [lost] = both.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
      expect(lost).toMatchObject({ code: 'ENROLLMENT_USED' });
    }
  });
});

describe('evidence that is replayed at another replica', () => {
  it('was asked for by one and is judged by the other, and then by neither', async () => {
    const drawn = await draw(one);
    expect((await submit(two, drawn)).result.status).toBe('affirming');
    await refused(() => submit(one, drawn), 'HOST_CHANGED');
    await refused(() => submit(two, drawn), 'HOST_CHANGED');
  });

  it('at the same time is judged by one of them', async () => {
    for (let race = 0; race < 10; race += 1) {
      const drawn = await draw(one);
      const round = (await one.store.getHost(machine.id))?.round ?? 0;
      const both = await Promise.allSettled([submit(one, drawn), submit(two, drawn)]);
      expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      expect((await one.store.getHost(machine.id))?.round).toBe(round + 1);
    }
  });

  it('answers no stream of the other', async () => {
    await using here = new StreamAgent(one, machine);
    await using there = new StreamAgent(two, machine);
    const foreign = await here.challenge();
    const own = await there.challenge();
    there.answer({ ...own, nonce: foreign.nonce });
    expect(await there.ended()).toMatchObject({ code: 'EXTRA_DATA_MISMATCH' });
    expect((await one.store.getHost(machine.id))?.round).toBe(0);
  });

  it('takes no stream over: only new evidence does, and the former holder shortens nothing', async () => {
    const here = new StreamAgent(one, machine);
    await here.round();
    await using there = new StreamAgent(two, machine);
    const held = await there.round();
    await here[Symbol.asyncDispose]();
    expect(await one.store.getResult(machine.id)).toMatchObject({
      validUntil: held.validUntil,
      connectivity: 'connected',
    });
  });
});

describe('a ban by one replica', () => {
  it.each([
    ['between two rounds', (agent: StreamAgent) => agent.round()],
    ['while evidence is due', (agent: StreamAgent) => agent.challenge()],
  ])('ends the streams of the other, %s', async (_name, until) => {
    await caughtUp(two);
    await using agent = new StreamAgent(two, machine);
    await until(agent);
    await one.store.revokeHost(machine.id, { ...OPERATOR, reason: '' });
    expect(await agent.ended()).toMatchObject({ code: 'HOST_REVOKED' });
  });

  it(`that races the verdict of the other leaves none behind, ${RACES} times`, async () => {
    const random = new SeededRandom(SEED);
    const lost = { verdict: 0, first: 0 };
    for (let race = 0; race < RACES; race += 1) {
      machine = await enrollMachine(one);
      const drawn = await draw(two);
      const judging = someTurns(random).then(() => submit(two, drawn));
      const outcome = judging.then(
        () => 'committed' as const,
        () => 'refused' as const,
      );
      await atItsMoment(race, random, () => one.store.revokeHost(machine.id, { ...OPERATOR, reason: '' }));
      // What was told to the operator holds from this moment on, whatever the other replica is still doing.
      const told = await one.store.getResult(machine.id);
      lost[(await outcome) === 'refused' ? 'verdict' : 'first'] += 1;
      for (const result of [told, await two.store.getResult(machine.id)])
        expect(result, `seed ${SEED} race ${race}`).toMatchObject({ status: 'contraindicated', validUntil: null });
    }
    process.stdout.write(`seed ${SEED}: ${JSON.stringify(lost)}\n`);
    expect(lost.verdict).toBeGreaterThan(0);
  });
});

describe('a change of policy by one replica', () => {
  const strict = {
    pcrRules: [{ bank: 'sha256', index: 7, allowed: ['11'.repeat(32)], severity: undefined, message: '' }],
  };

  it(`that races the verdict of the other lets none of the old policy through, ${RACES} times`, async () => {
    const random = new SeededRandom(SEED + 1);
    const order = { before: 0, after: 0, fenced: 0 };
    for (let race = 0; race < RACES; race += 1) {
      // A host has two rounds a second.
      one.clock.advance(1_000);
      await putPolicy(one.store);
      await caughtUp(two);
      two.services.policies.refresh();
      const old = (await one.store.getPolicy('base', null))?.version ?? 0;
      const drawn = await draw(two);
      const judging = someTurns(random)
        .then(() => submit(two, drawn))
        .then(({ result }): ResultRecord | null => result)
        .catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'HOST_CHANGED' });
          return null;
        });
      await atItsMoment(race, random, () => putPolicy(one.store, strict));
      const told = await one.store.getResult(machine.id);
      const judged = await judging;
      const last = await two.store.getResult(machine.id);
      for (const result of [told, last]) expect(result?.status, `seed ${SEED} race ${race}`).not.toBe('affirming');
      // A verdict that the other replica told its agent stood before the new policy, or was made under it.
      if (judged === null) order.fenced += 1;
      else if (judged.policyVersion === old) order.before += 1;
      else order.after += 1;
    }
    process.stdout.write(`seed ${SEED}: ${JSON.stringify(order)}\n`);
    expect(order.fenced).toBeGreaterThan(0);
  });

  it('is known to the streams of the other, which judge anew', async () => {
    await using agent = new StreamAgent(two, machine);
    expect((await agent.round()).status).toBe('affirming');
    await putPolicy(one.store, strict);
    expect((await agent.round()).status).toBe('contraindicated');
  });
});
