import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { makePolicy } from '../../support/make-policy.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, MeasuringKernel } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { simulated } from '../../support/simulating.ts';
import { openHouse } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
  await importFiles(house.store, ['good']);
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

/** Its kernel has no policy for IMA. */
async function bare(): Promise<MeasuredHost> {
  const host = await MeasuredHost.enrolled(house);
  const { tpm } = host.machine;
  tpm.pcrs.get(TPM_ALG_SHA256)?.set(10, Buffer.alloc(32));
  host.kernel = new MeasuringKernel(tpm, [host.kernel.aggregatePlan()]);
  return host;
}

describe('a host whose list holds boot_aggregate alone', () => {
  it.each([
    ['contraindicated', 'for one', { severity: undefined, message: '' }, 'failed'],
    ['warning', 'for one', { severity: 'warning', message: '' }, 'failed'],
    ['none', 'for files alone', undefined, 'error'],
  ] as const)('is %s where the policy asks %s', async (status, _what, list, outcome) => {
    const files = { ...FILES, referenceSets: ['referenceSets/base'] };
    await putRules(house, { list, files });
    await using host = await bare();
    const result = await host.round();
    expect(result.status).toBe(status);
    expect(failures(result.checks)).toEqual([`runtime.list ${outcome} RUNTIME_NOTHING_MEASURED`]);
    // The kept list says so too, where another judge looks at it.
    const violations = { action: 'warning', message: '', applyExcludes: false } as const;
    const candidate = makePolicy({ pcrRules: [], runtime: { ...NO_RUNTIME_RULES, list, files, violations } });
    const told = (await simulated(house, candidate)).hosts.get(host.machine.id)?.outcome;
    expect(told).toMatchObject({ kind: 'verdict', verdict: { status } });
    host.kernel.measure(filePlan('/usr/bin/a', 'good'));
    expect((await host.next()).status).toBe('affirming');
  });

  it('is judged by rules that need no file', async () => {
    await putRules(house, { violations: { action: undefined, message: '', applyExcludes: false } });
    await using host = await bare();
    expect((await host.round()).status).toBe('affirming');
  });
});
