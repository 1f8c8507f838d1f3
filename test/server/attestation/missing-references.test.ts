/** What was found on a host stays while a set that its policy names is not there to judge it again. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, MeasuringKernel, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles } from '../../support/runtime-policy.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { caughtUp } from '../../support/stream-agent.ts';
import { TestReappraiser } from '../../support/test-reappraiser.ts';
import { openHouse } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

const RULES = { files: { ...FILES, referenceSets: ['referenceSets/base'] } };
const WARNED = { ...RULES, violations: { action: 'warning', message: '', applyExcludes: false } } as const;
const MISSING = 'runtime.list error REFERENCE_MISSING';
const UNKNOWN = 'runtime.files failed FILE_UNKNOWN';

let house: House;
let host: MeasuredHost;
beforeEach(async () => {
  house = await openHouse();
  await importFiles(house.store, ['good']);
  await putRules(house, RULES);
  host = await MeasuredHost.enrolled(house);
});
afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

/** The newest version of the set, with these files, cannot be read from now on; the function that is returned ends that. */
async function loseSet(...files: readonly string[]): Promise<() => void> {
  const { store } = house;
  const readReferenceDigests = store.readReferenceDigests.bind(store);
  await importFiles(store, ['good', ...files]);
  Object.assign(store, {
    readReferenceDigests: async (set: { id: string; version: number }) =>
      readReferenceDigests({ ...set, version: set.version + 1 }, { limit: 1, after: '' }),
  });
  await caughtUp(house);
  return () => void Object.assign(store, { readReferenceDigests });
}

async function runEvil(): Promise<void> {
  host.kernel.measure(filePlan('/tmp/evil', 'evil'));
  expect(failures((await host.round()).checks)).toEqual([UNKNOWN]);
}

describe('a host that was contraindicated', () => {
  it('is so while a set cannot be read, and is judged by it once it can', async () => {
    await runEvil();
    const restore = await loseSet('evil');
    const result = await host.round();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(expect.arrayContaining([UNKNOWN, MISSING]));
    // Nobody looked at what came meanwhile.
    host.kernel.measure(filePlan('/tmp/other', 'other'));
    expect((await host.next()).status).toBe('contraindicated');
    restore();
    expect(failures((await host.next()).checks)).toEqual([UNKNOWN]);
    await importFiles(house.store, ['good', 'evil', 'other']);
    await caughtUp(house);
    expect((await host.round()).status).toBe('affirming');
  });

  it('is so by what is kept of it, too', async () => {
    await runEvil();
    host.agent.draining.abort();
    await loseSet('evil');
    house.clock.advance(60_000);
    await using reappraiser = new TestReappraiser(house);
    await reappraiser.settle();
    const result = await house.store.getResult(host.machine.id);
    expect(result?.status).toBe('contraindicated');
    expect(failures(result?.checks ?? [])).toEqual(expect.arrayContaining([UNKNOWN]));
    expect(result?.checks.map(({ reason }) => reason)).toContain('KEPT_RUNTIME_UNKNOWN');
  });

  it('is so after a resume, and no more after a reset', async () => {
    await runEvil();
    const restore = await loseSet('other');
    host.machine.tpm.resume();
    await host.next({ logs: [] });
    expect((await host.round()).status).toBe('contraindicated');
    host.machine.tpm.reset();
    await host.next({ logs: [] });
    expect(failures((await host.round({ logs: [] })).checks)).toContain(MISSING);
    expect((await house.store.getResult(host.machine.id))?.status).toBe('none');
    restore();
  });
});

describe('a host whose list began in another boot', () => {
  const OTHER_BOOT = 'runtime.boot-aggregate failed IMA_BOOT_AGGREGATE_MISMATCH';

  beforeEach(async () => {
    await host[Symbol.asyncDispose]();
    const tpm = new SoftwareTpm();
    const kernel = new MeasuringKernel(tpm);
    tpm.extend(4);
    host = await MeasuredHost.enrolled(house, tpm);
    host.kernel = kernel;
    tpm.pcrs.get(TPM_ALG_SHA256)?.set(10, Buffer.alloc(32));
    kernel.replay();
    expect(failures((await host.round()).checks)).toEqual([OTHER_BOOT]);
  });

  it('is contraindicated while a set cannot be read', async () => {
    await loseSet('other');
    const result = await host.round();
    expect(failures(result.checks)).toEqual(expect.arrayContaining([OTHER_BOOT, MISSING]));
    expect(result.status).toBe('contraindicated');
  });

  it('is so where it does not show the list any more, and no more after a reset', async () => {
    const result = await host.next({ logs: [] });
    expect(failures(result.checks)).toContain(OTHER_BOOT);
    expect(result.status).toBe('contraindicated');
    host.machine.tpm.reset();
    await host.next({ logs: [] });
    expect((await host.round({ logs: [] })).status).toBe('none');
  });

  it('is so by what is kept of it, too', async () => {
    host.agent.draining.abort();
    await loseSet('other');
    house.clock.advance(60_000);
    await using reappraiser = new TestReappraiser(house);
    await reappraiser.settle();
    const result = await house.store.getResult(host.machine.id);
    expect(failures(result?.checks ?? [])).toContain(OTHER_BOOT);
    expect(result?.status).toBe('contraindicated');
  });
});

it('a host that was warned of is NONE, which is worse, and what was found is told', async () => {
  await putRules(house, WARNED);
  await caughtUp(house);
  host.kernel.measure(violationPlan('/var/log/x'));
  expect((await host.round()).status).toBe('warning');
  const restore = await loseSet('other');
  const result = await host.round();
  expect(result.status).toBe('none');
  expect(failures(result.checks)).toEqual(expect.arrayContaining(['runtime.violations failed IMA_VIOLATION', MISSING]));
  restore();
  expect((await host.next()).status).toBe('warning');
});
