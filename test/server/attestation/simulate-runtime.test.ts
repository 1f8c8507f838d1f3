import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { RuntimeRulesDraft } from '../../../server/policy/runtime-rules.ts';
import type { ResultRecord } from '../../../server/store/records.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, sha256, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { simulated } from '../../support/simulating.ts';
import { makePolicy } from '../../support/make-policy.ts';
import { openHouse, putPolicy, writePolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const SETS = { ...FILES, referenceSets: ['referenceSets/base'] };

async function simulateRules(host: MeasuredHost, runtime: Partial<RuntimeRulesDraft>) {
  const policy = makePolicy({ pcrRules: [], runtime: { ...NO_RUNTIME_RULES, ...runtime } });
  const outcome = (await simulated(house, policy)).hosts.get(host.machine.id)?.outcome;
  if (outcome === undefined) throw new Error('the host is not concerned');
  return outcome;
}

/** What the rules come to in the next round. */
async function applyRules(host: MeasuredHost, runtime: Partial<RuntimeRulesDraft>): Promise<ResultRecord> {
  await putRules(house, runtime);
  return host.round();
}

describe('run-time rules that are simulated', () => {
  it('judge the kept list anew, and come true in the next round', async () => {
    await importFiles(house.store, ['sh']);
    await importFiles(house.store, ['sh', 'tool'], 'wide');
    await putRules(house, { files: SETS });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'), filePlan('/bin/tool', 'tool'));
    const present = await host.round();
    expect(failures(present.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
    const candidates: readonly Partial<RuntimeRulesDraft>[] = [
      { files: SETS },
      { files: { ...FILES, referenceSets: ['referenceSets/wide'] } },
      {
        files: { ...FILES, referenceSets: ['referenceSets/wide'] },
        forbiddenFiles: { digests: [sha256('sh').toString('hex')], severity: 'warning', message: '' },
      },
      { files: { ...SETS, unknown: 'warning' } },
    ];
    for (const candidate of candidates) {
      const outcome = await simulateRules(host, candidate);
      if (outcome.kind !== 'verdict') throw new Error(JSON.stringify(outcome));
      const real = await applyRules(host, candidate);
      expect(outcome.verdict.status).toBe(real.status);
      expect(failures(outcome.verdict.checks)).toEqual(failures(real.checks));
    }
  });

  it('cannot say it where no round has proven a list, and are refused where they name what is not there', async () => {
    await importFiles(house.store, ['sh']);
    await putPolicy(house.store);
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'));
    expect((await host.round()).status).toBe('affirming');
    expect(await simulateRules(host, { files: SETS })).toMatchObject({
      kind: 'unknown',
      finding: { reason: 'KEPT_RUNTIME_UNKNOWN' },
    });
    const gone = { ...FILES, referenceSets: ['referenceSets/gone'] };
    await expect(simulateRules(host, { files: gone })).rejects.toMatchObject({ code: 'unknown_reference' });
  });
});

describe('an expression over what ran that is simulated', () => {
  const judgedBy = (expression: string) =>
    makePolicy({
      pcrRules: [],
      expressions: [{ id: 'rule', expression, claim: 'configuration', severity: undefined, message: '' }],
    });
  const outcomeOf = async ({ machine }: MeasuredHost, expression: string) =>
    (await simulated(house, judgedBy(expression))).hosts.get(machine.id)?.outcome;

  it('judges the kept list, and comes true in the next round', async () => {
    await putRules(house, { violations: { action: 'warning', message: '', applyExcludes: false } });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'), violationPlan('/var/log/x'));
    expect((await host.round()).status).toBe('warning');
    for (const expression of ['runtime.violations == 1 && runtime.entries == 3', 'runtime.violations == 0']) {
      const outcome = await outcomeOf(host, expression);
      if (outcome?.kind !== 'verdict') throw new Error(JSON.stringify(outcome));
      await writePolicy(house.store, judgedBy(expression));
      const real = await host.round();
      expect(outcome.verdict.status).toBe(real.status);
      const [expected, found] = [real, outcome.verdict].map(({ checks }) => checks.filter(({ id }) => id !== 'clock'));
      expect(found).toEqual(expected);
    }
  });

  it('is unknown where no round has proven a list', async () => {
    await putPolicy(house.store);
    await using host = await MeasuredHost.enrolled(house);
    expect((await host.round()).status).toBe('affirming');
    expect(await outcomeOf(host, 'runtime.violations == 0')).toMatchObject({
      kind: 'unknown',
      finding: { reason: 'KEPT_RUNTIME_UNKNOWN' },
    });
  });
});
