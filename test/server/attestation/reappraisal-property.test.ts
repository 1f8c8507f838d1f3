import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { bootedTpm, bootLog, NO_SECURE_BOOT, SECURE_BOOT } from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { OneShotHost } from '../../support/one-shot-host.ts';
import { moveOne, randomPolicy } from '../../support/random-policy.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { TestReappraiser } from '../../support/test-reappraiser.ts';
import { openHouse, OPERATOR, writePolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
let reappraiser: TestReappraiser;
beforeEach(async () => {
  house = await openHouse();
  reappraiser = new TestReappraiser(house);
});
afterEach(async () => {
  await reappraiser[Symbol.asyncDispose]();
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

/** Rounds until everything that was asked for has come. */
async function attest(host: OneShotHost) {
  const result = await host.attest();
  return result.checks.some(({ reason }) => reason === 'BOOT_PCRS_MOVED') ? await host.attest() : result;
}

describe.skipIf(!dataIsHere('measured-boot'))('a verdict from kept evidence', () => {
  it.each([1, 2, 3])(
    'is what the next round says of the same host, and ends with the evidence (seed %i)',
    async (seed) => {
      const random = new SeededRandom(seed);
      const hosts = [
        await OneShotHost.enrolled(house, { tpm: bootedTpm(SECURE_BOOT), logs: [bootLog(SECURE_BOOT)] }),
        await OneShotHost.enrolled(house, { tpm: bootedTpm(NO_SECURE_BOOT), logs: [bootLog(NO_SECURE_BOOT)] }),
        await OneShotHost.enrolled(house, { tpm: new SoftwareTpm() }),
      ];
      const tpms = hosts.map(({ machine }) => machine.tpm);
      const seen = { judged: 0, waiting: 0 };
      for (let step = 0; step < 25; step++) {
        if (random.below(3) === 0) moveOne(random, random.pick(tpms));
        for (const host of hosts) await attest(host);
        const ends = await Promise.all(hosts.map(async (host) => (await host.result())?.validUntil ?? null));
        house.clock.advance(random.below(60_000));
        const changes = 1 + random.below(3);
        for (let change = 0; change < changes; change++) {
          const candidate = randomPolicy(random, tpms);
          const known = (await house.store.getPolicy(candidate.id, null)) !== null;
          if (known && random.below(4) === 0)
            await house.store.deletePolicy(candidate.id, { ...OPERATOR, expected: 'any' });
          else await writePolicy(house.store, candidate);
          // What came of a change in between is judged anew by the next one.
          if (random.below(2) === 0) await reappraiser.judgePage();
        }
        await reappraiser.settle();
        for (const [index, host] of hosts.entries()) {
          const said = await host.result();
          const [last] = (await house.store.changesSince((said?.revision ?? 0) - 1, 1)).map(({ cause }) => cause);
          const end = ends[index] ?? null;
          if (last === 'reappraised') {
            const waits = said?.checks.some(({ id }) => id === 'kept-evidence') === true;
            seen[waits ? 'waiting' : 'judged'] += 1;
            // What is not known trusts nobody, and what is known against a host stands.
            if (waits) expect(['none', 'contraindicated']).toContain(said?.status);
            if (end !== null) expect(said?.validUntil ?? 0).toBeLessThanOrEqual(end);
            const next = await attest(host);
            if (!waits || said?.status === 'contraindicated') expect(next.status).toBe(said?.status);
          }
        }
      }
      expect(seen.judged).toBeGreaterThan(10);
      expect(seen.waiting).toBeGreaterThan(5);
    },
  );
});
