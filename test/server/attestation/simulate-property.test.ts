import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { TrustPolicy } from '../../../server/policy/policy.ts';
import type { ResultRecord } from '../../../server/store/records.ts';
import { bootedTpm, bootLog, NO_SECURE_BOOT, SECURE_BOOT } from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import type { Log } from '../../support/evidence-builder.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { simulated } from '../../support/simulating.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { caughtUp, enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { moveOne, randomPolicy } from '../../support/random-policy.ts';
import { openHouse, OPERATOR, writePolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

/** A host with its stream, and the PCRs that moved since its first quote. */
interface Attested {
  readonly machine: Machine;
  readonly agent: StreamAgent;
  readonly logs: readonly Log[];
  readonly moved: Set<number>;
}

let house: House;
let hosts: Attested[];
beforeEach(async () => {
  house = await openHouse({ admission: ['certificate', 'approval'] });
  hosts = [];
});
afterEach(async () => {
  for (const { agent } of hosts) await agent[Symbol.asyncDispose]();
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

async function add(labels: Readonly<Record<string, string>>, tpm: SoftwareTpm, logs: readonly Log[], vouched = true) {
  const machine = await enrollMachine(house, { tpm, logs, ...(vouched ? {} : { certificates: [undefined] }) });
  const host = await house.store.updateHost(machine.id, { labels }, { ...OPERATOR, version: null });
  if (host.state === 'pending') {
    const approval = { acknowledgeFindings: false, akCertificate: '', expectedVersion: host.version };
    await house.store.approveHost(machine.id, { ...OPERATOR, ...approval });
  }
  await caughtUp(house);
  hosts.push({ machine, agent: new StreamAgent(house, machine), logs, moved: new Set() });
}

/** One round, again where its policies had changed meanwhile, and those that follow at once because everything is asked for. */
async function judge(host: Attested): Promise<ResultRecord> {
  const result = await round(host);
  if (result.checks.some(({ reason }) => reason === 'BOOT_PCRS_MOVED')) await round(host);
  return result;
}

async function round({ agent, logs }: Attested): Promise<ResultRecord> {
  for (;;) {
    const message = await agent.next();
    if (message.kind === 'result') return message.result;
    if (message.kind !== 'challenge') throw new Error(`a challenge or a result was due, not a ${message.kind}`);
    agent.answer(message.challenge, message.challenge.selection === 'all' ? { logs } : {});
  }
}

const tpms = (): readonly SoftwareTpm[] => hosts.map(({ machine }) => machine.tpm);

describe.skipIf(!dataIsHere('measured-boot'))('what a simulation says', () => {
  it.each([1, 2, 3, 4])(
    'comes true in the next round, and of what is in force it says nothing (seed %i)',
    async (seed) => {
      const random = new SeededRandom(seed);
      const drift = (): void => {
        const { machine, moved } = random.pick(hosts);
        moved.add(moveOne(random, machine.tpm));
      };
      await add({ kind: 'a' }, bootedTpm(SECURE_BOOT), [bootLog(SECURE_BOOT)]);
      await add({ kind: 'b' }, bootedTpm(NO_SECURE_BOOT), [bootLog(NO_SECURE_BOOT)]);
      await add({ kind: 'a' }, new SoftwareTpm(), []);
      await add({}, bootedTpm(SECURE_BOOT), [bootLog(SECURE_BOOT)], false);
      for (const host of hosts) await judge(host);
      const seen = { verdict: 0, assumed: 0, unknown: 0 };
      for (let step = 0; step < 25; step++) {
        if (random.below(3) === 0) drift();
        for (const host of hosts) {
          house.clock.advance(2_000);
          host.agent.send({ kind: 'wish' });
          await judge(host);
        }
        for (const { body } of (await house.store.allPolicies()).policies) {
          const { hosts: concerned } = await simulated(house, JSON.parse(body) as TrustPolicy);
          const differing = [...concerned.values()].filter(
            ({ outcome, result }) => outcome.kind !== 'verdict' || outcome.verdict.status !== result.status,
          );
          expect(differing.map(({ outcome, result }) => [result.checks, outcome])).toEqual([]);
        }
        const candidate = randomPolicy(random, tpms());
        const known = (await house.store.getPolicy(candidate.id, null)) !== null;
        const deleting = known && random.below(4) === 0;
        const said = await simulated(house, deleting ? { deleted: candidate.id } : candidate);
        const before = new Map<string, ResultRecord | null>();
        for (const { machine } of hosts) before.set(machine.id, await house.store.getResult(machine.id));
        if (deleting) await house.store.deletePolicy(candidate.id, { ...OPERATOR, expected: 'any' });
        else await writePolicy(house.store, candidate);
        let concerned = 0;
        for (const host of hosts) {
          const { id } = host.machine;
          const present = await house.store.getResult(id);
          if (present?.revision === before.get(id)?.revision) {
            expect(said.hosts.has(id)).toBe(false);
            continue;
          }
          concerned += 1;
          const { outcome } = said.hosts.get(id) ?? {};
          const { status } = await judge(host);
          seen[outcome?.kind ?? 'unknown'] += 1;
          if (outcome?.kind === 'verdict') expect(status).toBe(outcome.verdict.status);
          // Only a PCR that moved unseen may make it otherwise.
          if (outcome?.kind === 'assumed' && status !== outcome.verdict.status) {
            expect(outcome.pcrs.some(({ pcr }) => host.moved.has(pcr))).toBe(true);
          }
        }
        expect(said.summary).toMatchObject({ hosts: hosts.length, concerned });
      }
      expect(seen.verdict).toBeGreaterThan(10);
      expect(seen.assumed).toBeGreaterThan(5);
    },
  );
});
