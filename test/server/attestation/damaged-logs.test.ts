import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { StoreError } from '../../../server/store/store.ts';
import { bootedTpm, bootLog, NO_RULES, RULE, SECURE_BOOT } from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { makePolicy } from '../../support/make-policy.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { simulated } from '../../support/simulating.ts';
import { caughtUp, enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import { openHouse, openReplica, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

const RULES = { files: { ...FILES, referenceSets: ['referenceSets/base'] } };
/** Another judge than that of the rules alone: it follows the kept list from its start. */
const OTHER_RULES = { ...RULES, violations: { action: 'warning', message: '', applyExcludes: false } } as const;

let house: House;
let damaged: boolean;
beforeEach(async () => {
  house = await openHouse();
  damaged = false;
  const { store } = house;
  const readLog = store.readLog.bind(store);
  Object.assign(store, {
    readLog: async (...args: Parameters<typeof readLog>) => {
      if (damaged) throw new StoreError('corrupt', 'what is kept is not that');
      return readLog(...args);
    },
  });
  await importFiles(store, ['good']);
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

describe('a kept log that is damaged', () => {
  it('is no evidence: the host is NONE until it has sent the whole list again, which it is asked for at once', async () => {
    await putRules(house, RULES);
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/usr/bin/good', 'good'));
    expect((await host.round()).status).toBe('affirming');
    damaged = true;
    await putRules(house, OTHER_RULES);
    await caughtUp(house);
    const result = await host.round();
    expect(result.status).toBe('none');
    expect(failures(result.checks)).toContain('runtime.list error RUNTIME_LIST_DAMAGED');
    damaged = false;
    const challenge = await host.agent.challenge();
    expect(challenge.logs).toEqual([{ kind: 'ima', offset: 0 }]);
    host.answer(challenge);
    expect((await host.agent.expect('result')).result.status).toBe('affirming');
    expect(Buffer.from(await house.store.readLog(host.machine.id, 'ima', 0, 1e6))).toEqual(host.kernel.list);
  });

  it('takes nothing back that was found in it, whoever judges now', async () => {
    await putRules(house, RULES);
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/tmp/evil', 'evil'));
    expect((await host.round()).status).toBe('contraindicated');
    damaged = true;
    await putRules(house, OTHER_RULES);
    await caughtUp(house);
    const result = await host.round();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(
      expect.arrayContaining(['runtime.list error RUNTIME_LIST_DAMAGED', 'runtime.files failed FILE_UNKNOWN']),
    );
    damaged = false;
    host.answer(await host.agent.challenge());
    expect(failures((await host.agent.expect('result')).result.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
  });

  it('tells a simulation nothing', async () => {
    await putRules(house, RULES);
    await using host = await MeasuredHost.enrolled(house);
    expect((await host.round()).status).toBe('affirming');
    damaged = true;
    const candidate = makePolicy({ pcrRules: [], runtime: { ...NO_RUNTIME_RULES, ...OTHER_RULES } });
    const { hosts } = await simulated(house, candidate);
    expect(hosts.get(host.machine.id)?.outcome).toMatchObject({
      kind: 'unknown',
      finding: { reason: 'KEPT_RUNTIME_UNKNOWN', observed: 'a list that is damaged' },
    });
  });

  it.skipIf(!dataIsHere('measured-boot'))('says nothing of a boot: the host is asked for its log again', async () => {
    await putPolicy(house.store, { pcrRules: [], boot: { ...NO_RULES, secureBoot: RULE } });
    const machine = await enrollMachine(house, { tpm: bootedTpm(SECURE_BOOT), logs: [bootLog(SECURE_BOOT)] });
    damaged = true;
    await using restarted = await openReplica(house);
    await using agent = new StreamAgent(restarted, machine);
    const challenge = await agent.challenge();
    expect(challenge).toMatchObject({ selection: 'all', logs: [{ kind: 'boot', offset: 0 }, {}, {}] });
    agent.answer(challenge, { logs: [bootLog(SECURE_BOOT)] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
  });
});
