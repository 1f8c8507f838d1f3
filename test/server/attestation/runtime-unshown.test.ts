/** What is kept of a list, where its host shows no more of it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readState } from '../../../server/policy/runtime-state.ts';
import type { ResultRecord } from '../../../server/store/records.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles } from '../../support/runtime-policy.ts';
import { caughtUp } from '../../support/stream-agent.ts';
import { TestReappraiser } from '../../support/test-reappraiser.ts';
import { openHouse, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { makeRecord } from '../../tpm/ima/list-builder.ts';

let house: House;
let host: MeasuredHost;
const good = (path: string) => filePlan(path, 'good');
const evil = () => filePlan('/tmp/evil', 'evil');
const strict = { ...FILES, referenceSets: ['referenceSets/base'] };
const UNKNOWN = 'runtime.files failed FILE_UNKNOWN';

beforeEach(async () => {
  house = await openHouse();
  await importFiles(house.store, ['good']);
  await importFiles(house.store, ['good', 'evil'], 'wide');
  await putRules(house, { files: strict });
  host = await MeasuredHost.enrolled(house);
});
afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const stateOf = async () => readState(await house.store.getRuntime(host.machine.id));

describe('rules that change while the list explains nothing', () => {
  const UNREADABLE = 'runtime.list error RUNTIME_LIST_UNREADABLE';
  /** The TPM has another value, and nothing of the list leads to it. */
  const unread = async (): Promise<ResultRecord> => {
    host.kernel.measure(good('/usr/bin/a'));
    return host.round({ logs: [] });
  };

  it('find in what was proven what they forbid, and nothing in what they allow', async () => {
    host.kernel.measure(evil());
    expect((await host.round()).status).toBe('contraindicated');
    await putRules(house, { files: { ...strict, message: 'other words' } });
    await caughtUp(house);
    const result = await unread();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(expect.arrayContaining([UNREADABLE, UNKNOWN]));
    // Once, and the checkpoint is where it was.
    expect((await stateOf())?.tally.faults.FILE_UNKNOWN?.count).toBe(1);
    const { sequence } = (await house.store.getRuntime(host.machine.id)) ?? {};
    expect((await host.next({ logs: [] })).revision).toBe(result.revision);
    expect((await house.store.getRuntime(host.machine.id))?.sequence).toBe(sequence);
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/wide'] } });
    await caughtUp(house);
    expect((await unread()).status).toBe('none');
    expect((await host.next()).status).toBe('affirming');
    await putRules(house, { files: strict });
    await caughtUp(house);
    expect(failures((await unread()).checks)).toEqual(expect.arrayContaining([UNREADABLE, UNKNOWN]));
  });

  it('do not make a list that was proven one that is not there', async () => {
    const list = { severity: undefined, message: '' };
    await putRules(house, { list, files: strict });
    await caughtUp(house);
    host.kernel.measure(good('/usr/bin/b'));
    expect((await host.round()).status).toBe('affirming');
    await putRules(house, { list, files: { ...strict, message: 'other words' } });
    await caughtUp(house);
    const result = await unread();
    expect(failures(result.checks)).toContain(UNREADABLE);
    expect(result.status).toBe('none');
    expect((await host.next({ logs: [] })).revision).toBe(result.revision);
  });

  it('find it beside other bytes, too', async () => {
    host.kernel.measure(evil());
    expect((await host.round()).status).toBe('contraindicated');
    await putRules(house, { files: { ...strict, message: 'other words' } });
    await caughtUp(house);
    const offset = host.kernel.list.length;
    host.kernel.measure(good('/usr/bin/a'));
    const garbage = { logs: [{ kind: 'ima', data: Buffer.alloc(400, 0xee), offset } as const] };
    const result = await host.torn(await host.agent.challenge(), garbage);
    expect(failures(result.checks)).toEqual(
      expect.arrayContaining(['runtime.list failed IMA_LOG_INCOMPLETE', UNKNOWN]),
    );
    expect(failures((await host.next()).checks)).toEqual([UNKNOWN]);
  });
});

describe('a host that is not there', () => {
  it.each([
    ['cannot be read', 'IMA_ENTRY_UNREADABLE', { ...good('/usr/bin/a'), template: 'ima-new' }],
    ['is inconsistent', 'IMA_LIST_INCONSISTENT', { ...good('/usr/bin/a'), claimedHash: Buffer.alloc(20, 7) }],
  ])('keeps what stands against it under other rules where an entry %s', async (_name, reason, plan) => {
    await using reappraiser = new TestReappraiser(house);
    host.kernel.measure(evil());
    const list = Buffer.concat([host.kernel.list, makeRecord(plan)]);
    host.kernel.extend({ ...good('/usr/bin/a'), template: plan.template });
    const first = await host.round({ logs: [{ kind: 'ima', data: list, offset: 0 }] });
    expect(first.status).toBe('contraindicated');
    await host.agent[Symbol.asyncDispose]();
    await putRules(house, { files: { ...strict, message: 'other words' } });
    await reappraiser.settle();
    const result = await house.store.getResult(host.machine.id);
    expect(result?.status).toBe('contraindicated');
    expect(failures(result?.checks ?? [])).toEqual(failures(first.checks));
    expect(failures(first.checks).some((line) => line.endsWith(reason))).toBe(true);
    expect(result?.revision).not.toBe(first.revision);
  });
});

describe('a host that was suspended while no policy asked what ran, and is not there', () => {
  it.each([
    ['stands against it by other rules', 'contraindicated', { ...strict, message: 'other words' }],
    ['is judged by rules that allow it', 'none', { ...FILES, referenceSets: ['referenceSets/wide'] }],
  ])('has shown its list since: what it ran %s', async (_name, status, files) => {
    await using reappraiser = new TestReappraiser(house);
    host.kernel.measure(evil());
    expect((await host.round()).status).toBe('contraindicated');
    await putPolicy(house.store);
    await caughtUp(house);
    await host.round();
    host.machine.tpm.resume();
    await host.next({ logs: [] });
    expect((await host.round()).status).toBe('affirming');
    await host.agent[Symbol.asyncDispose]();
    await putRules(house, { files });
    await reappraiser.settle();
    const result = await house.store.getResult(host.machine.id);
    expect(result?.checks.map(({ reason }) => reason)).toContain('KEPT_RUNTIME_UNKNOWN');
    expect(result?.status).toBe(status);
  });
});
