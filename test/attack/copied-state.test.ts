import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { SoftwareTpm } from '../support/software-tpm.ts';
import { enrollMachine, StreamAgent } from '../support/stream-agent.ts';
import type { Machine } from '../support/stream-agent.ts';
import { dump, enroll, openHouse, putPolicy } from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';

let house: House;
let machine: Machine;
beforeEach(async () => {
  house = await openHouse();
  await putPolicy(house.store);
  machine = await enrollMachine(house);
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

/** Answers until there is a verdict: where evidence of the other agent came between, the service asks again. */
async function affirmed(agent: StreamAgent): Promise<string> {
  let message = await agent.next();
  while (message.kind === 'challenge') {
    agent.answer(message.challenge);
    message = await agent.next();
  }
  if (message.kind !== 'result') throw new Error(`a ${message.kind} was not due`);
  return message.result.status;
}

describe('two agents with one state on one TPM', () => {
  it('are both answered, and the host stays what it is, whichever of them goes', async () => {
    const one = new StreamAgent(house, machine);
    await using two = new StreamAgent(house, machine);
    const agents = [one, two] as const;
    for (let round = 0; round < 4; round += 1) {
      for (const agent of agents) {
        expect(await affirmed(agent)).toBe('affirming');
        house.clock.advance(2_000);
        agent.send({ kind: 'wish' });
      }
    }
    await one[Symbol.asyncDispose]();
    expect(await house.store.getResult(machine.id)).toMatchObject({ status: 'affirming', connectivity: 'connected' });
  });
});

describe('a copy of a state directory on a machine with another TPM', () => {
  const elsewhere = (): Machine => {
    const tpm = new SoftwareTpm();
    // The name of the AK is in the state; the key is not to be had without its TPM.
    return {
      ...machine,
      tpm,
      ak: { ...tpm.createAk(), name: machine.ak.name, qualifiedName: machine.ak.qualifiedName },
    };
  };

  it('signs nothing, takes no stream over and changes nothing', async () => {
    await using holder = new StreamAgent(house, machine);
    await holder.round();
    const before = await dump(house.store);
    await using thief = new StreamAgent(house, elsewhere());
    thief.answer(await thief.challenge());
    expect(await thief.ended()).toMatchObject({ code: 'SIGNATURE_INVALID' });
    expect(await dump(house.store)).toEqual(before);
    house.clock.advance(2_000);
    holder.send({ kind: 'wish' });
    expect((await holder.round()).status).toBe('affirming');
  });

  it('replaces no AK by the TLS key that it has: another TPM is another host', async () => {
    await using holder = new StreamAgent(house, machine);
    await holder.round();
    const tpm = new SoftwareTpm();
    const other = await enroll(house, tpm, tpm.createAk(), { tls: machine.tls, callerHostId: machine.id });
    expect(other.host.id).not.toBe(machine.id);
    expect((await house.store.getHost(machine.id))?.ak.name).toBe(machine.ak.name.toString('hex'));
    expect(await house.store.getResult(machine.id)).toMatchObject({ status: 'affirming' });
  });
});
