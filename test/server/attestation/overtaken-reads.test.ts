import { afterEach, beforeEach, expect, it } from 'vitest';

import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { caughtUp, enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
let machine: Machine;
beforeEach(async () => {
  house = await openHouse();
  await putPolicy(house.store);
  await putPolicy(house.store, {
    id: 'strict',
    selector: { matchLabels: { role: 'vault' }, allHosts: false },
    precedence: 1,
    pcrRules: [{ bank: 'sha256', index: 7, allowed: ['11'.repeat(32)], severity: undefined, message: '' }],
  });
  machine = await enrollMachine(house);
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

/** Something that happens, and is told, while a stream reads what its host is judged by, once. */
function whileReading(act: () => Promise<unknown>): void {
  const { store } = house;
  const logStates = store.logStates.bind(store);
  Object.assign(store, {
    logStates: async (hostId: string) => {
      Object.assign(store, { logStates });
      await act();
      await caughtUp(house);
      return logStates(hostId);
    },
  });
}

it('what was read while it changed judges no round but that one, also where that one brings no verdict', async () => {
  whileReading(() => house.store.updateHost(machine.id, { labels: { role: 'vault' } }, { ...OPERATOR, version: null }));
  await using agent = new StreamAgent(house, machine);
  const evidence = agent.evidence(await agent.challenge());
  const pcrValues = new Map([[TPM_ALG_SHA256, new Map([[7, Buffer.alloc(32, 1)]])]]);
  agent.send({ kind: 'evidence', evidence: { ...evidence, pcrValues } });
  await agent.expect('torn');
  expect(await agent.round()).toMatchObject({ policyId: 'strict', status: 'contraindicated' });
});
