/** A suspend changes restartCount and nothing else: what was found since the last reset of the TPM stands. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readState } from '../../../server/policy/runtime-state.ts';
import { BootCache } from '../../../server/verifier/boot-cache.ts';
import {
  bootAs,
  bootedTpm,
  bootLog,
  NO_RULES,
  NO_SECURE_BOOT,
  RULE,
  SECURE_BOOT,
} from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, MeasuringKernel } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { simulated } from '../../support/simulating.ts';
import { makePolicy } from '../../support/make-policy.ts';
import { caughtUp, enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { openHouse, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

async function next(agent: StreamAgent, answer: Parameters<StreamAgent['answer']>[1] = {}) {
  house.clock.advance(2_000);
  agent.send({ kind: 'wish' });
  const challenge = await agent.challenge();
  agent.answer(challenge, answer);
  return { challenge, result: (await agent.expect('result')).result };
}

describe.skipIf(!dataIsHere('measured-boot'))('a resume after a false boot log', () => {
  const policies = [
    ['a policy that asks for the boot', () => ({ boot: { ...NO_RULES, secureBoot: RULE } }), 'contraindicated'],
    [
      'a policy that does not ask for it',
      () => ({ pcrRules: [{ ...RULE, bank: 'sha256', index: 16, allowed: ['00'.repeat(32)] }] }),
      'warning',
    ],
  ] as const;

  it.each(policies)(
    'leaves the host as it was under %s, also when it shows the true one',
    async (_name, make, status) => {
      await putPolicy(house.store, { pcrRules: [], ...make() });
      const machine = await enrollMachine(house, {
        tpm: bootedTpm(SECURE_BOOT),
        logs: [bootLog(NO_SECURE_BOOT)],
      });
      const truth = { logs: [bootLog(SECURE_BOOT)] };
      {
        await using agent = new StreamAgent(house, machine);
        expect((await agent.round()).status).toBe(status);
        machine.tpm.resume();
        // The round that shows the resume: trust falls, and guilt does not.
        const shown = await next(agent);
        expect(shown.result.status).toBe(status === 'warning' ? 'none' : status);
        const challenge = await agent.challenge();
        expect(challenge.selection).toBe('all');
        agent.answer(challenge, truth);
        const { result } = await agent.expect('result');
        expect(result.status).toBe(status);
        expect(failures(result.checks)).toContain('boot-log failed BOOT_LOG_MISMATCH');
        expect((await next(agent)).result.status).toBe(status);
      }
      // Nor does an agent that says at once that it was resumed, on a service that was started again.
      machine.tpm.resume();
      const { resetCount, restartCount } = machine.tpm.clockInfo;
      const fresh: House = { ...house, services: { ...house.services, boots: new BootCache() } };
      await using agent = new StreamAgent(fresh, machine, { boot: { resetCount, restartCount } });
      agent.answer(await agent.challenge(), truth);
      expect((await agent.expect('result')).result.status).toBe(status);
      expect((await next(agent)).result.status).toBe(status);
    },
  );

  it('ends with a reset', async () => {
    await putPolicy(house.store, { pcrRules: [], boot: { ...NO_RULES, secureBoot: RULE } });
    const machine = await enrollMachine(house, { tpm: bootedTpm(SECURE_BOOT), logs: [bootLog(NO_SECURE_BOOT)] });
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('contraindicated');
    machine.tpm.resume();
    await next(agent);
    machine.tpm.reset();
    bootAs(machine.tpm, SECURE_BOOT);
    agent.answer(await agent.challenge(), { logs: [bootLog(SECURE_BOOT)] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
  });

  it('has no hold on a host whose log was true: it shows it again and is affirmed', async () => {
    await putPolicy(house.store, { pcrRules: [], boot: { ...NO_RULES, secureBoot: RULE } });
    const machine: Machine = await enrollMachine(house, { tpm: bootedTpm(SECURE_BOOT), logs: [bootLog(SECURE_BOOT)] });
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    machine.tpm.resume();
    expect(failures((await next(agent)).result.checks)).toEqual(['boot error TPM_RESET']);
    expect(await house.store.getBoot(machine.id)).toBeNull();
    agent.answer(await agent.challenge(), { logs: [bootLog(SECURE_BOOT)] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
  });
});

describe('a resume after a file that is not allowed', () => {
  it('leaves the host as it was; its list goes on, so that rules which allow the file find nothing', async () => {
    await importFiles(house.store, ['good']);
    await importFiles(house.store, ['good', 'evil'], 'wide');
    const rules = (set: string) => ({ files: { ...FILES, referenceSets: [`referenceSets/${set}`] } });
    await putRules(house, rules('base'));
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/tmp/evil', 'evil'));
    expect((await host.round()).status).toBe('contraindicated');
    host.machine.tpm.resume();
    expect((await host.next({ logs: [] })).status).toBe('contraindicated');
    host.kernel.measure(filePlan('/usr/bin/a', 'good'));
    const result = await host.round();
    expect(failures(result.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
    const state = readState(await house.store.getRuntime(host.machine.id));
    // The file ran once and is counted once.
    expect([state?.former, state?.tally.faults.FILE_UNKNOWN?.count]).toEqual([{}, 1]);
    await putRules(house, rules('wide'));
    await caughtUp(house);
    expect((await host.round()).status).toBe('affirming');
  });
});

describe('a restart after a file that is not allowed', () => {
  const good = (path: string) => filePlan(path, 'good');
  const STRICT = { files: { ...FILES, referenceSets: ['referenceSets/base'] } };
  let host: MeasuredHost;

  beforeEach(async () => {
    await importFiles(house.store, ['good']);
    await putRules(house, STRICT);
    host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/tmp/evil', 'evil'));
    expect((await host.round()).status).toBe('contraindicated');
    host.restart();
  });
  afterEach(() => host[Symbol.asyncDispose]());

  it('leaves the host contraindicated in the very round that shows the restart', async () => {
    const result = await host.next({ logs: [] });
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toContain('runtime.files failed FILE_UNKNOWN');
  });

  it('is not forgotten by the list that begins then', async () => {
    await host.next({ logs: [] });
    const result = await host.round();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
    host.kernel.measure(good('/usr/bin/a'));
    expect((await host.next()).revision).toBe(result.revision);
  });

  it('is not forgotten when the rules change: the list that they would judge anew is gone', async () => {
    await host.next({ logs: [] });
    await host.round();
    await putRules(house, {
      ...STRICT,
      violations: { action: 'ignore', applyExcludes: false, message: 'of no matter' },
    });
    await caughtUp(house);
    const result = await host.round();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
    // Nor does a simulation forget it.
    const candidate = makePolicy({ pcrRules: [], runtime: { ...NO_RUNTIME_RULES, ...STRICT } });
    const told = (await simulated(house, candidate)).hosts.get(host.machine.id)?.outcome;
    expect(told).toMatchObject({ kind: 'verdict', verdict: { status: 'contraindicated' } });
  });

  it('is not forgotten when the rules change with the restart', async () => {
    await putRules(house, {
      ...STRICT,
      violations: { action: 'ignore', applyExcludes: false, message: 'of no matter' },
    });
    await caughtUp(house);
    await host.round({ logs: [] });
    expect(failures((await host.round()).checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
  });

  it('is not forgotten while a policy asks for nothing of the run time', async () => {
    await putPolicy(house.store);
    await caughtUp(house);
    await host.round({ logs: [] });
    await host.round();
    await putRules(house, STRICT);
    await caughtUp(house);
    expect(failures((await host.round()).checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
    // A reset ends it.
    host.machine.tpm.reset();
    host.kernel = new MeasuringKernel(host.machine.tpm);
    await host.next({ logs: [] });
    host.kernel.measure(good('/usr/bin/a'));
    expect((await host.round()).status).toBe('affirming');
  });
});
