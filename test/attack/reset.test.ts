import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { enrollMachine, StreamAgent } from '../support/stream-agent.ts';
import type { Machine } from '../support/stream-agent.ts';
import { openHouse, putPolicy } from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';

let house: House;
let machine: Machine;
beforeEach(async () => {
  house = await openHouse();
  await putPolicy(house.store);
  machine = await enrollMachine(house);
  machine.tpm.extend(7);
});
afterEach(() => house[Symbol.asyncDispose]());

const status = async () => (await house.store.getResult(machine.id))?.status;

describe('a host that resets its TPM in the middle of a round', () => {
  it('between quote and reading, to show the clean PCRs of the next boot beside the quote of this one, has no verdict', async () => {
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('contraindicated');
    house.clock.advance(2_000);
    agent.send({ kind: 'wish' });
    agent.answer(await agent.challenge(), { afterQuote: () => machine.tpm.reset() });
    await agent.expect('torn');
    expect(await status()).toBe('contraindicated');
  });

  it('between quote and logs, to show the log of another boot, is found by the next quote: trust is gone and all is asked for', async () => {
    machine.tpm.reset();
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    house.clock.advance(2_000);
    agent.send({ kind: 'wish' });
    const challenge = await agent.challenge();
    expect(challenge.logs.some(({ kind }) => kind === 'boot')).toBe(false);
    agent.answer(challenge, { afterQuote: () => machine.tpm.tick() });
    await agent.expect('result');
    machine.tpm.reset();
    house.clock.advance(2_000);
    agent.send({ kind: 'wish' });
    agent.answer(await agent.challenge());
    expect((await agent.expect('result')).result.status).not.toBe('affirming');
    const next = await agent.challenge();
    expect(next.selection).toBe('all');
    expect(next.logs.map(({ kind, offset }) => [kind, offset])).toContainEqual(['boot', 0]);
    // A log that is not of this boot's values is no way back to trust.
    agent.answer(next, { logs: [{ kind: 'boot', data: Buffer.from('the log of another boot') }] });
    expect((await agent.expect('result')).result.status).toBe('warning');
  });

  it('cannot bring a log that was not announced before the quote was judged', async () => {
    machine.tpm.reset();
    await using agent = new StreamAgent(house, machine);
    const before = await status();
    const challenge = await agent.challenge();
    const announced = { kind: 'boot', data: Buffer.from('the log of this boot') } as const;
    agent.send({ kind: 'evidence', evidence: agent.evidence(challenge, { logs: [announced] }) });
    agent.send({ kind: 'chunk', chunk: { kind: 'boot', offset: 0, data: Buffer.from('the log of that boot') } });
    expect(await agent.ended()).toMatchObject({ code: 'LOG_DIGEST_MISMATCH' });
    expect(await status()).toBe(before);
  });
});
