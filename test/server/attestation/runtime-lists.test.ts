import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { isFinding, readMeasurement } from '../../../tpm/ima/fields.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import type { Challenge } from '../../../server/attestation/messages.ts';
import { readState } from '../../../server/policy/runtime-state.ts';
import type { Store } from '../../../server/store/store.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, MeasuringKernel } from '../../support/measuring-kernel.ts';
import { FILES, importFiles } from '../../support/runtime-policy.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { caughtUp, StreamAgent } from '../../support/stream-agent.ts';
import { openHouse, openReplica, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { makeRecord } from '../../tpm/ima/list-builder.ts';
import { readAll } from '../../tpm/ima/read-entries.ts';

let house: House;
let host: MeasuredHost;
const good = (path: string) => filePlan(path, 'good');
const evil = (path = '/tmp/evil') => filePlan(path, 'evil');

beforeEach(async () => {
  house = await openHouse();
  await importFiles(house.store, ['good']);
  await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
  host = await MeasuredHost.enrolled(house);
});
afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const checkpointOf = async (store: Store, id: string) =>
  JSON.parse(readState(await store.getRuntime(id))?.checkpoint ?? '{}') as { entries: number; offset: number };
const ima = (data: Buffer, offset = 0) => ({ logs: [{ kind: 'ima', data, offset } as const] });

describe('entries that the quote does not cover', () => {
  it('wait for the next quote: they are neither judged nor in the checkpoint', async () => {
    const challenge = await host.agent.challenge();
    const before = host.kernel.list.length;
    const evidence = host.agent.evidence(challenge, {
      // Read after the quote, when more had been measured.
      ...ima(Buffer.concat([host.kernel.list, makeRecord(evil())])),
    });
    host.agent.send({ kind: 'evidence', evidence });
    const list = Buffer.concat([host.kernel.list, makeRecord(evil())]);
    host.agent.send({ kind: 'chunk', chunk: { kind: 'ima', offset: 0, data: list } });
    const { result } = await host.agent.expect('result');
    expect(result.status).toBe('affirming');
    expect(await checkpointOf(house.store, host.machine.id)).toMatchObject({ entries: 2, offset: before });
    host.kernel.measure(evil());
    const next = await host.hurry();
    expect(next.logs).toEqual([{ kind: 'ima', offset: list.length }]);
    host.answer(next);
    expect((await host.agent.expect('result')).result.status).toBe('contraindicated');
  });

  it('may end in the middle of one', async () => {
    const record = makeRecord(good('/usr/bin/a'));
    const half = Buffer.concat([host.kernel.list, record.subarray(0, 40)]);
    expect((await host.round(ima(half))).status).toBe('affirming');
    host.kernel.measure(good('/usr/bin/a'));
    expect((await host.next()).status).toBe('affirming');
    expect(await checkpointOf(house.store, host.machine.id)).toMatchObject({ entries: 3 });
  });
});

/** As `ascii_runtime_measurements` shows it. */
function asciiOf(list: Buffer): Buffer {
  const lines = readAll(list).map((entry) => {
    const read = readMeasurement(entry);
    if (isFinding(read)) throw new Error(read.message);
    const digest = `${read.digest.algorithm}:${read.digest.value.toString('hex')}`;
    return `${entry.pcr} ${entry.templateHash.toString('hex')} ${entry.template.name} ${digest} ${read.name} `;
  });
  return Buffer.from(lines.join('\n'));
}

describe('a list that cannot explain PCR 10', () => {
  it.each([
    ['lacks an entry', (list: Buffer, _record: Buffer) => list],
    ['has another entry in its place', (list: Buffer) => Buffer.concat([list, makeRecord(good('/usr/bin/b'))])],
    ['is the one that is made for people', (list: Buffer, record: Buffer) => asciiOf(Buffer.concat([list, record]))],
    ['is of no form', (list: Buffer) => Buffer.concat([list, Buffer.alloc(400, 0xee)])],
    ['began anew', (_list: Buffer, record: Buffer) => record],
  ])('is torn twice and then a result where it %s', async (_name, make) => {
    const list = host.kernel.list;
    host.kernel.measure(evil());
    const data = make(list, makeRecord(evil()));
    const result = await host.torn(await host.agent.challenge(), ima(data));
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toContain('runtime.list failed IMA_LOG_INCOMPLETE');
    // Nothing of it is kept: the whole list is asked for, and what it hid comes to light.
    const next = await host.hurry();
    expect(next.logs.find(({ kind }) => kind === 'ima')?.offset).toBe(0);
    host.answer(next);
    const later = (await host.agent.expect('result')).result;
    expect(failures(later.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
  });

  it.each([
    ['shrinks', () => Buffer.alloc(0), /shorter than what was proven before, or began anew/],
    ['repeats', (all: Buffer) => all, /does not lead to the PCR values/],
  ])('is asked for from its last proven byte where it %s', async (_name, make, message) => {
    host.kernel.measure(good('/usr/bin/a'));
    expect((await host.round()).status).toBe('affirming');
    const offset = host.kernel.list.length;
    host.kernel.measure(evil());
    const result = await host.torn(await host.hurry(), ima(make(host.kernel.list), offset));
    expect(result.checks[0]).toMatchObject({ id: 'runtime.list', reason: 'IMA_LOG_INCOMPLETE' });
    expect(result.checks[0]?.message).toMatch(message);
    const next = await host.hurry();
    expect(next.logs).toEqual([{ kind: 'ima', offset }]);
    host.answer(next);
    const later = (await host.agent.expect('result')).result;
    expect(failures(later.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
  });

  it('keeps what was found before it', async () => {
    host.kernel.measure(evil('/tmp/first'));
    expect((await host.round()).status).toBe('contraindicated');
    const offset = host.kernel.list.length;
    host.kernel.measure(good('/usr/bin/a'));
    const result = await host.torn(await host.hurry(), ima(Buffer.alloc(0), offset));
    expect(failures(result.checks)).toContain('runtime.files failed FILE_UNKNOWN');
  });

  it('is told by a template hash that the list makes up', async () => {
    const plan = good('/usr/bin/a');
    const list = Buffer.concat([host.kernel.list, makeRecord({ ...plan, claimedHash: Buffer.alloc(20, 7) })]);
    host.kernel.extend(plan);
    const result = await host.round(ima(list));
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(['runtime.list failed IMA_LIST_INCONSISTENT']);
  });

  it('leaves nothing to affirm where an entry cannot be read', async () => {
    host.kernel.measure({ ...good('/usr/bin/a'), template: 'ima-new' });
    const result = await host.round();
    expect(result.status).toBe('none');
    expect(failures(result.checks)).toEqual(['runtime.list error IMA_ENTRY_UNREADABLE']);
  });
});

describe('a host without a list', () => {
  async function silent(): Promise<MeasuredHost> {
    const tpm = new SoftwareTpm();
    const made = await MeasuredHost.enrolled(house, tpm);
    tpm.pcrs.get(TPM_ALG_SHA256)?.set(10, Buffer.alloc(32));
    return made;
  }

  it.each([
    ['that measured nothing', {}, 'RUNTIME_LIST_EMPTY'],
    ['that cannot read it', { logs: [] }, 'RUNTIME_LIST_UNREADABLE'],
  ])('%s is not judged', async (_name, answer, reason) => {
    await using other = await silent();
    const result = await other.round(answer);
    expect(result.status).toBe('none');
    expect(failures(result.checks)).toEqual(
      expect.arrayContaining([`runtime.list error ${reason}`, 'runtime.files error RUNTIME_UNVERIFIED']),
    );
  });

  it.each([
    ['contraindicated', undefined],
    ['none', 'warning'],
  ] as const)('is %s where the policy asks for one (%s)', async (status, severity) => {
    await putRules(house, {
      list: { severity, message: '' },
      files: { ...FILES, referenceSets: ['referenceSets/base'] },
    });
    await using other = await silent();
    const result = await other.round();
    expect(result.status).toBe(status);
    expect(failures(result.checks)).toContain('runtime.list failed RUNTIME_LIST_EMPTY');
  });

  it('is asked for it again as soon as it can be read', async () => {
    const unread = await host.round({ logs: [] });
    expect(failures(unread.checks)).toContain('runtime.list error RUNTIME_LIST_UNREADABLE');
    expect((await host.next()).status).toBe('affirming');
  });
});

describe('a list that extends more than PCR 10', () => {
  it('is judged once every PCR that it extends is quoted', async () => {
    expect((await host.round()).status).toBe('affirming');
    host.kernel.measure({ ...evil(), pcr: 11 }, good('/usr/bin/a'));
    const first = await host.next();
    expect(first.status).toBe('none');
    expect(failures(first.checks)).toContain('runtime.list error RUNTIME_PCRS_UNCOVERED');
    // The next challenge follows at once.
    const challenge = await host.agent.challenge();
    expect(challenge.selection).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [10, 11] }]);
    host.answer(challenge);
    const { result } = await host.agent.expect('result');
    expect(failures(result.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
  });

  it('is judged at once where every PCR is quoted', async () => {
    host.kernel.measure({ ...evil(), pcr: 11 }, good('/usr/bin/a'));
    expect(failures((await host.round()).checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
  });

  it('hides nothing of it by leaving out what extended the other one', async () => {
    expect((await host.round()).status).toBe('affirming');
    host.kernel.measure({ ...good('/usr/bin/b'), pcr: 11 });
    // Behind all that PCR 10 tells of: seen, and asked for at once.
    expect((await host.next()).status).toBe('affirming');
    const challenge = await host.agent.challenge();
    expect(challenge.selection).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [10, 11] }]);
    host.answer(challenge);
    expect((await host.agent.expect('result')).result.status).toBe('affirming');
    expect(await checkpointOf(house.store, host.machine.id)).toMatchObject({ entries: 3 });
    const before = host.kernel.list.length;
    host.kernel.measure({ ...evil(), pcr: 11 });
    const result = await host.torn(await host.hurry(), ima(Buffer.alloc(0), before));
    expect(failures(result.checks)).toContain('runtime.list failed IMA_LOG_INCOMPLETE');
  });
});

describe('the boot that a list began in', () => {
  it('is another one where boot_aggregate is not over the PCRs of this boot', async () => {
    const tpm = new SoftwareTpm();
    const kernel = new MeasuringKernel(tpm);
    tpm.extend(4);
    await using other = await MeasuredHost.enrolled(house, tpm);
    other.kernel = kernel;
    tpm.pcrs.get(TPM_ALG_SHA256)?.set(10, Buffer.alloc(32));
    kernel.replay();
    const result = await other.round();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(['runtime.boot-aggregate failed IMA_BOOT_AGGREGATE_MISMATCH']);
  });

  it('is not told where the first entry is none', async () => {
    const tpm = new SoftwareTpm();
    await using other = await MeasuredHost.enrolled(house, tpm);
    tpm.pcrs.get(TPM_ALG_SHA256)?.set(10, Buffer.alloc(32));
    other.kernel = new MeasuringKernel(tpm, [good('/usr/bin/a')]);
    const result = await other.round();
    expect(failures(result.checks)).toEqual(['runtime.boot-aggregate failed IMA_BOOT_AGGREGATE_MISSING']);
  });
});

describe('a reset', () => {
  async function reboot(): Promise<void> {
    host.machine.tpm.reset();
    host.kernel = new MeasuringKernel(host.machine.tpm);
    const told = await host.next({ logs: [] });
    expect(failures(told.checks)).toEqual(['boot error TPM_RESET']);
  }

  it('starts the list from zero, and what was found in the boot before is over', async () => {
    host.kernel.measure(evil());
    expect((await host.round()).status).toBe('contraindicated');
    await reboot();
    const challenge = await host.agent.challenge();
    expect(challenge.logs.find(({ kind }) => kind === 'ima')?.offset).toBe(0);
    host.answer(challenge);
    expect((await host.agent.expect('result')).result.status).toBe('affirming');
    expect(await checkpointOf(house.store, host.machine.id)).toMatchObject({ entries: 2 });
  });

  it('after which the list cannot be read at first asks for all of it later', async () => {
    host.kernel.measure(good('/usr/bin/a'));
    expect((await host.round()).status).toBe('affirming');
    await reboot();
    expect(failures((await host.round({ logs: [] })).checks)).toContain('runtime.list error RUNTIME_LIST_UNREADABLE');
    const next = await host.hurry();
    expect(next.logs.find(({ kind }) => kind === 'ima')?.offset).toBe(0);
    host.answer(next);
    expect((await host.agent.expect('result')).result.status).toBe('affirming');
  });

  it('ends the account also where the policy asks for nothing of the run time', async () => {
    host.kernel.measure(evil());
    await host.round();
    await putPolicy(house.store);
    await caughtUp(house);
    await host.round();
    await reboot();
    expect(await house.store.getRuntime(host.machine.id)).not.toBeNull();
    await host.round();
    expect(await house.store.getRuntime(host.machine.id)).toBeNull();
  });
});

describe('two replicas over one store', () => {
  it('cannot lead a checkpoint apart: one of two rounds from the same record is dropped', async () => {
    await host.round();
    await using replica = await openReplica(house);
    await using other = new StreamAgent(replica, host.machine);
    const second = await other.challenge();
    host.kernel.measure(good('/usr/bin/a'));
    const first = await host.hurry();
    const answer = (agent: StreamAgent, challenge: Challenge): void => {
      agent.answer(challenge, { logs: [host.kernel.log(challenge.logs[0]?.offset)] });
    };
    answer(host.agent, first);
    expect((await host.agent.expect('result')).result.status).toBe('affirming');
    host.kernel.measure(evil());
    answer(other, second);
    // Fenced: another challenge in place of a result.
    answer(other, await other.challenge());
    expect((await other.expect('result')).result.status).toBe('contraindicated');
    expect(await checkpointOf(house.store, host.machine.id)).toMatchObject({ entries: 4 });
    expect((await house.store.getRuntime(host.machine.id))?.sequence).toBe(3);
  });
});
