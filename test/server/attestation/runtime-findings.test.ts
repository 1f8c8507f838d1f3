/** What was found stays until a reset, also where the host shows its list once more: what no template hash covers is its word alone. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readState } from '../../../server/policy/runtime-state.ts';
import type { ResultRecord } from '../../../server/store/records.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, MeasuringKernel, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles } from '../../support/runtime-policy.ts';
import { caughtUp } from '../../support/stream-agent.ts';
import { openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { makeRecord } from '../../tpm/ima/list-builder.ts';

let house: House;
let host: MeasuredHost;
const good = (path: string) => filePlan(path, 'good');
const evil = (path = '/tmp/evil') => filePlan(path, 'evil');
const strict = { ...FILES, referenceSets: ['referenceSets/base'] };
const violations = { action: 'contraindicated', message: '', applyExcludes: true } as const;
const INCONSISTENT = 'runtime.list failed IMA_LIST_INCONSISTENT';
const UNKNOWN = 'runtime.files failed FILE_UNKNOWN';
const VIOLATED = 'runtime.violations failed IMA_VIOLATION';

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

const ima = (data: Buffer, offset = 0) => ({ logs: [{ kind: 'ima', data, offset } as const] });
const stateOf = async () => readState(await house.store.getRuntime(host.machine.id));

/** The agent comes anew and says that the TPM was reset, which it was not: it is asked for the whole list. */
async function pretendReset() {
  await host.reconnect({ boot: { resetCount: 99, restartCount: 0 } });
  const challenge = await host.agent.challenge();
  expect(challenge.selection).toBe('all');
  return challenge;
}

/** What the host shows then, as its list or as that of its kernel. */
async function shownAnew(list = host.kernel.list): Promise<ResultRecord> {
  host.answer(await pretendReset(), ima(list));
  return (await host.agent.expect('result')).result;
}

/** Three times in a row the whole list is asked for, and what comes explains nothing. */
async function nothingExplained(): Promise<ResultRecord> {
  for (let attempt = 1; attempt <= 3; attempt++) {
    host.answer(await pretendReset(), ima(Buffer.alloc(400, 0xee)));
    expect((await host.agent.expect('torn')).attempt).toBe(attempt);
    house.clock.advance(2_000);
  }
  return (await host.agent.expect('result')).result;
}

/** The machine is suspended, and the round that shows it is over. */
async function resume(): Promise<void> {
  host.machine.tpm.resume();
  await host.next({ logs: [] });
}

async function allowEvil(): Promise<void> {
  await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/wide'] } });
  await caughtUp(house);
}

/** A list with a template hash that its data does not yield. */
async function showInconsistent(): Promise<void> {
  const list = Buffer.concat([
    host.kernel.list,
    makeRecord({ ...good('/usr/bin/a'), claimedHash: Buffer.alloc(20, 7) }),
  ]);
  host.kernel.measure(good('/usr/bin/a'));
  expect(failures((await host.round(ima(list))).checks)).toEqual([INCONSISTENT]);
}

/** The same list for the TPM: an entry says that it is of a template which nobody knows. */
async function hideEvil(): Promise<Buffer> {
  const before = host.kernel.list;
  host.kernel.measure(evil());
  expect(failures((await host.round()).checks)).toEqual([UNKNOWN]);
  return Buffer.concat([before, makeRecord({ ...evil(), template: 'ima-new' })]);
}

describe('a list that comes anew and hides what was found', () => {
  const ways = [
    ['where the host says that it was reset', shownAnew],
    [
      'after a resume',
      async () => {
        await resume();
        return host.round();
      },
    ],
  ] as const;

  it.each(ways)('has its inconsistency all the same %s', async (_name, show) => {
    await showInconsistent();
    const result = await show();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual([INCONSISTENT]);
    expect((await stateOf())?.former.IMA_LIST_INCONSISTENT?.count).toBe(1);
    // Nor do clean rounds end it, and it is counted once.
    host.kernel.measure(good('/usr/bin/b'));
    expect((await host.next()).revision).toBe(result.revision);
    await resume();
    expect(failures((await host.round()).checks)).toEqual([INCONSISTENT]);
    expect((await stateOf())?.former.IMA_LIST_INCONSISTENT?.count).toBe(1);
    // A reset does.
    host.machine.tpm.reset();
    host.kernel = new MeasuringKernel(host.machine.tpm);
    await host.next({ logs: [] });
    expect((await host.round()).status).toBe('affirming');
  });

  it('has a file that it calls something else now', async () => {
    const hidden = await hideEvil();
    expect(failures((await shownAnew(hidden)).checks)).toContain(UNKNOWN);
    // The true list again: the file ran once, and no more than what was made up beside it is added.
    expect(failures((await shownAnew()).checks)).toContain(UNKNOWN);
    for (const list of [hidden, host.kernel.list, hidden]) {
      // oxlint-disable-next-line no-await-in-loop -- one after another is the point
      await shownAnew(list);
    }
    expect((await stateOf())?.former.FILE_UNKNOWN?.count).toBe(1);
  });

  it.each([
    ['while the host says that it was reset', shownAnew],
    [
      'while the machine was suspended',
      async (list: Buffer) => {
        await resume();
        return host.round(ima(list));
      },
    ],
  ])('hides no file behind rules that change %s', async (_name, show) => {
    const hidden = await hideEvil();
    await putRules(house, { files: { ...strict, message: 'other words' } });
    await caughtUp(house);
    expect(failures((await show(hidden)).checks)).toContain(UNKNOWN);
  });

  it('hides nothing while no policy asks what ran', async () => {
    const rules = { files: { ...strict, excludes: ['/var/log/*'] }, violations };
    await putRules(house, rules);
    await caughtUp(house);
    const before = host.kernel.list;
    host.kernel.measure(violationPlan('/usr/bin/x'));
    expect(failures((await host.round()).checks)).toEqual([VIOLATED]);
    await putPolicy(house.store);
    await caughtUp(house);
    const hidden = Buffer.concat([before, makeRecord(violationPlan('/var/log/x'))]);
    expect((await shownAnew(hidden)).status).toBe('affirming');
    await putRules(house, rules);
    await caughtUp(house);
    const next = ima(Buffer.alloc(0), hidden.length);
    expect(failures((await host.round(next)).checks)).toEqual([VIOLATED]);
    await putRules(house, { ...rules, violations: { ...violations, message: 'other words' } });
    await caughtUp(house);
    expect(failures((await host.round(next)).checks)).toEqual([VIOLATED]);
  });

  it('hides nothing among findings that are not kept one by one', async () => {
    const told = [0, 1, 2, 3, 4, 5, 6, 7].map((number) => `/usr/bin/${number}`);
    const rules = { files: { ...strict, excludes: ['/var/log/*'] }, violations };
    await putRules(house, rules);
    await caughtUp(house);
    const before = host.kernel.list;
    host.kernel.measure(...[...told, '/usr/bin/evil', '/var/log/x'].map(violationPlan));
    expect(failures((await host.round()).checks)).toEqual([VIOLATED]);
    const harmless = [...told, '/var/log/evil', '/usr/bin/x'];
    const hidden = Buffer.concat([before, ...harmless.map((path) => makeRecord(violationPlan(path)))]);
    for (const list of [hidden, host.kernel.list, hidden]) {
      // oxlint-disable-next-line no-await-in-loop -- one after another is the point
      expect(failures((await shownAnew(list)).checks)).toEqual([VIOLATED]);
    }
    expect((await stateOf())?.former.IMA_VIOLATION?.count).toBe(1);
    await putRules(house, { ...rules, files: { ...rules.files, excludes: ['/var/log/*', ...told, '/usr/bin/x'] } });
    await caughtUp(house);
    expect(failures((await host.round(ima(Buffer.alloc(0), hidden.length))).checks)).toEqual([VIOLATED]);
  });

  it('ends nothing where it explains nothing', async () => {
    await showInconsistent();
    const { checkpoint } = (await stateOf()) ?? {};
    const result = await nothingExplained();
    expect(failures(result.checks)).toContain(INCONSISTENT);
    // What was proven stays, and none of the other bytes do.
    expect((await stateOf())?.checkpoint).toBe(checkpoint);
    const next = await host.hurry();
    expect(next.logs.find(({ kind }) => kind === 'ima')?.offset).toBe(0);
    host.answer(next);
    expect(failures((await host.agent.expect('result')).result.checks)).toEqual([INCONSISTENT]);
  });

  it('takes the place of nothing while a set that the policy names cannot be read', async () => {
    const hidden = await hideEvil();
    const readReferenceDigests = house.store.readReferenceDigests.bind(house.store);
    await importFiles(house.store, ['good', 'other']);
    Object.assign(house.store, {
      readReferenceDigests: async (set: { id: string; version: number }) =>
        readReferenceDigests({ ...set, version: set.version + 1 }, { limit: 1, after: '' }),
    });
    await caughtUp(house);
    expect(failures((await shownAnew(hidden)).checks)).toContain('runtime.list error REFERENCE_MISSING');
    Object.assign(house.store, { readReferenceDigests });
    // Nobody has followed it: all of it is asked for.
    const next = await host.hurry();
    expect(next.logs.find(({ kind }) => kind === 'ima')?.offset).toBe(0);
    host.answer(next, ima(hidden));
    expect(failures((await host.agent.expect('result')).result.checks)).toContain(UNKNOWN);
  });
});

describe('a list that comes anew as it was', () => {
  it('is counted once, and rules that allow what it holds clear the host', async () => {
    host.kernel.measure(evil());
    expect((await host.round()).status).toBe('contraindicated');
    const result = await shownAnew();
    expect(failures(result.checks)).toEqual([UNKNOWN]);
    const state = await stateOf();
    expect([state?.former, state?.tally.faults.FILE_UNKNOWN?.count]).toEqual([{}, 1]);
    await allowEvil();
    expect((await shownAnew()).status).toBe('affirming');
  });

  it('clears the host by other rules also where no policy asked what ran when it came', async () => {
    host.kernel.measure(evil());
    expect((await host.round()).status).toBe('contraindicated');
    await putPolicy(house.store);
    await caughtUp(house);
    expect((await shownAnew()).status).toBe('affirming');
    await allowEvil();
    host.kernel.measure(good('/usr/bin/b'));
    expect((await host.round()).status).toBe('affirming');
    expect((await stateOf())?.former).toEqual({});
    // What they found stays what it was by the rules of before.
    await putRules(house, { files: strict });
    await caughtUp(house);
    expect(failures((await host.round()).checks)).toEqual([UNKNOWN]);
  });

  it('is judged anew also after one that explained nothing', async () => {
    host.kernel.measure(evil());
    expect((await host.round()).status).toBe('contraindicated');
    const result = await nothingExplained();
    expect(failures(result.checks)).toContain(UNKNOWN);
    await allowEvil();
    // Rules of now say nothing of a list that is not there.
    expect(failures((await host.next()).checks)).toEqual([]);
  });
});

describe('a while in which nothing asks what ran', () => {
  const pauses = [
    ['another policy', () => putPolicy(house.store)],
    ['no policy', () => house.store.deletePolicy('base', { ...OPERATOR, expected: 'any' })],
  ] as const;
  const returns = [
    ['the same rules', strict],
    ['other rules', { ...strict, message: 'other words' }],
  ] as const;
  const shown = [
    ['shows another list, as after a reset', (hidden: Buffer) => shownAnew(hidden)],
    [
      'shows another list after a suspend',
      async (hidden: Buffer) => {
        await resume();
        return host.round(ima(hidden));
      },
    ],
    ['shows none, as after a reset', () => shownAnew(Buffer.alloc(0))],
    ['goes on with its list', () => host.round()],
  ] as const;
  const cases = pauses.flatMap(([pause, begin]) =>
    returns.flatMap(([rules, files]) =>
      shown.map(([name, show]) => ({ pause, rules, name, begin: begin as () => Promise<unknown>, files, show })),
    ),
  );

  it.each(cases)('($pause, then $rules) ends nothing where the host $name', async ({ begin, files, show }) => {
    await showInconsistent();
    await begin();
    await caughtUp(house);
    // The hash that the data yields takes the place of the false one.
    await show(host.kernel.list);
    await putRules(house, { files });
    await caughtUp(house);
    const result = await host.round();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toContain(INCONSISTENT);
    // Nor do clean rounds.
    host.kernel.measure(good('/usr/bin/b'));
    expect(failures((await host.next()).checks)).toContain(INCONSISTENT);
  });

  it('hides no file', async () => {
    const hidden = await hideEvil();
    await putPolicy(house.store);
    await caughtUp(house);
    await shownAnew(hidden);
    await putRules(house, { files: strict });
    await caughtUp(house);
    expect(failures((await host.round()).checks)).toContain(UNKNOWN);
  });

  it.each(shown.slice(0, 2))('is over where rules allow what the host ran, which %s', async (_name, show) => {
    host.kernel.measure(evil());
    expect((await host.round()).status).toBe('contraindicated');
    await putPolicy(house.store);
    await caughtUp(house);
    await show(host.kernel.list);
    await allowEvil();
    expect((await host.round()).status).toBe('affirming');
  });

  it('is over with the reset', async () => {
    await showInconsistent();
    await putPolicy(house.store);
    await caughtUp(house);
    await host.round();
    host.machine.tpm.reset();
    host.kernel = new MeasuringKernel(host.machine.tpm);
    await host.next({ logs: [] });
    await host.round();
    await putRules(house, { files: strict });
    await caughtUp(house);
    expect((await host.round()).status).toBe('affirming');
  });
});

it('what was found in a list that is gone stays over a release that judges otherwise', async () => {
  await showInconsistent();
  await shownAnew();
  const former = (await stateOf())?.former;
  expect(former?.IMA_LIST_INCONSISTENT?.count).toBe(1);
  // The form of before, by another judgement.
  const body = JSON.stringify({ ...(await stateOf()), version: 3, judge: 'of another release' });
  expect(readState({ sequence: 1, updateTime: 0, body })?.former).toEqual(former);
});
