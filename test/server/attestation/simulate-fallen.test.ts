import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { makePolicy } from '../../support/make-policy.ts';
import type { PolicyDeviation } from '../../support/make-policy.ts';
import { OneShotHost } from '../../support/one-shot-host.ts';
import { simulated } from '../../support/simulating.ts';
import { TestReappraiser } from '../../support/test-reappraiser.ts';
import { openHouse, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
let host: OneShotHost;
let reappraiser: TestReappraiser;
beforeEach(async () => {
  house = await openHouse();
  reappraiser = new TestReappraiser(house);
  await putPolicy(house.store, wide);
  host = await OneShotHost.enrolled(house);
  expect((await host.attest()).status).toBe('affirming');
});
afterEach(async () => {
  await reappraiser[Symbol.asyncDispose]();
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const rule = (index: number, value = '00') => ({
  bank: 'sha256',
  index,
  allowed: [value.repeat(32)],
  severity: undefined,
  message: '',
});
const wide = { pcrRules: [rule(7), rule(14)] };
const narrow = { pcrRules: [rule(7)] };
const false7 = { pcrRules: [rule(7, '11')] };

async function simulate(candidate: PolicyDeviation) {
  const { hosts } = await simulated(house, makePolicy(candidate));
  const found = hosts.get(host.id);
  if (found === undefined) throw new Error('the host is not concerned');
  return found;
}

describe('a simulation after a verdict has fallen', () => {
  it.each([
    ['before it is made anew', () => Promise.resolve(), 'none'],
    ['once it is made anew', () => reappraiser.settle(), 'contraindicated'],
  ] as const)('judges what is kept of the present boot %s', async (_name, act, from) => {
    await putPolicy(house.store, false7);
    await act();
    const good = await simulate({ ...wide, description: 'again' });
    expect(good.result.status).toBe(from);
    expect(good.outcome).toMatchObject({ kind: 'verdict', verdict: { status: 'affirming' } });
    const bad = await simulate({ pcrRules: [rule(14, '11')] });
    expect(bad.outcome).toMatchObject({ kind: 'verdict', verdict: { status: 'contraindicated' } });
    // What it says comes true.
    await putPolicy(house.store, wide);
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('affirming');
  });

  it('says that its evidence is over', async () => {
    await putPolicy(house.store, false7);
    house.clock.advance(180_000);
    // The service may have written already that it is over.
    const over: unknown = expect.stringMatching(/^KEPT_EVIDENCE_(STALE|MISSING)$/);
    expect((await simulate(wide)).outcome).toMatchObject({ kind: 'unknown', finding: { reason: over } });
  });

  it('judges the last evidence, which confirmed the verdict that was made anew', async () => {
    await putPolicy(house.store, narrow);
    await reappraiser.settle();
    host.machine.tpm.extend(14);
    expect(await host.attest()).toMatchObject({ status: 'affirming', confirmations: 1 });
    // The quote did not cover PCR 14.
    expect((await simulate(wide)).outcome.kind).toBe('unknown');
  });
});
