/** What is kept of a host that is not there, beside what is not known of it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan } from '../../support/measuring-kernel.ts';
import { OneShotHost } from '../../support/one-shot-host.ts';
import { FILES, importFiles, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { TestReappraiser } from '../../support/test-reappraiser.ts';
import { openHouse, putPolicy } from '../../support/test-service.ts';
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

const rule = (index: number) => ({
  bank: 'sha256',
  index,
  allowed: ['00'.repeat(32)],
  severity: undefined,
  message: '',
});

describe('a PCR that an expression alone names', () => {
  const named = (expression: string, description = '') =>
    putPolicy(house.store, {
      pcrRules: [],
      expressions: [{ id: 'said', expression, claim: 'configuration', severity: undefined, message: '' }],
      description,
    });
  const isZero = (index: number) => `pcrs.sha256[${index}] == "${'00'.repeat(32)}"`;
  const isNoOther = (index: number) => `pcrs.sha256[${index}] != "${'ff'.repeat(32)}"`;
  let host: OneShotHost;

  async function quoted(): Promise<void> {
    host = await OneShotHost.enrolled(house);
    expect((await host.attest()).status).toBe('affirming');
  }

  it('has the value that the last quote proved', async () => {
    await named(isZero(14));
    await quoted();
    const { challengeTime, validUntil } = (await host.result()) ?? {};
    await named(isZero(14), 'another version');
    await reappraiser.settle();
    expect(await host.result()).toMatchObject({ status: 'affirming', policyVersion: 2, challengeTime, validUntil });
    await putPolicy(house.store, { pcrRules: [rule(14)] });
    await reappraiser.settle();
    expect(await host.result()).toMatchObject({ status: 'affirming', policyVersion: 3, challengeTime, validUntil });
  });

  it('has it also where it has moved', async () => {
    await named(isNoOther(14));
    await quoted();
    host.machine.tpm.extend(14);
    expect((await host.attest()).status).toBe('affirming');
    await named(isZero(14));
    await reappraiser.settle();
    expect(failures((await host.result())?.checks ?? [])).toEqual(['expression.said failed EXPRESSION_FALSE']);
  });

  it('makes another verdict where it moves and nobody would see it', async () => {
    await named(`${[0, 1, 2, 3, 4, 5].map(isNoOther).join(' && ')} && ${isNoOther(14)}`);
    await quoted();
    const before = await host.result();
    host.machine.tpm.extend(14);
    expect((await host.attest()).revision).not.toBe(before?.revision);
    await named(isZero(14));
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('contraindicated');
  });

  it('decides nothing by being told', async () => {
    await named('pcrs.sha256[14] == "x"');
    host = await OneShotHost.enrolled(house);
    const { status, checks } = await host.attest();
    expect(status).toBe('contraindicated');
    expect(checks.find(({ id }) => id === 'quoted.sha256.14')).toMatchObject({ observed: '00'.repeat(32) });
  });

  it('waits for the next evidence where the last quote did not cover it', async () => {
    await named(isZero(14));
    await quoted();
    await named(`${isZero(14)} && ${isZero(4)}`);
    await reappraiser.settle();
    const result = await host.result();
    expect(result?.status).toBe('none');
    expect(result?.checks.at(-1)).toMatchObject({ id: 'kept-evidence', reason: 'KEPT_PCR_UNKNOWN' });
  });
});

describe('what stands against a host that is not there', () => {
  const rules = { ...FILES, referenceSets: ['referenceSets/base'] };
  const UNKNOWN = 'runtime.files failed FILE_UNKNOWN';
  beforeEach(async () => {
    await importFiles(house.store, ['good']);
    await importFiles(house.store, ['good', 'bad'], 'wide');
    await putRules(house, { files: rules });
  });

  async function ranBad(): Promise<OneShotHost> {
    const host = await OneShotHost.enrolled(house);
    host.kernel.measure(filePlan('/usr/bin/bad', 'bad'));
    for (const _round of ['first', 'second']) expect((await host.attest()).status).toBe('contraindicated');
    return host;
  }

  it('is its list that explained nothing at last, and what was found in it before', async () => {
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/usr/bin/bad', 'bad'));
    await host.round();
    const garbage = {
      logs: [{ kind: 'ima', data: Buffer.alloc(400, 0xee), offset: host.kernel.list.length }],
    } as const;
    host.kernel.measure(filePlan('/usr/bin/good', 'good'));
    const found = await host.torn(await host.hurry(), garbage);
    expect(failures(found.checks)).toEqual(expect.arrayContaining(['runtime.list failed IMA_LOG_INCOMPLETE', UNKNOWN]));
    await host.agent[Symbol.asyncDispose]();
    await putRules(house, { files: { ...rules, message: 'other words' } });
    await reappraiser.settle();
    const result = await house.store.getResult(host.machine.id);
    expect(result).toMatchObject({ status: 'contraindicated', policyVersion: 2 });
    expect(failures(result?.checks ?? [])).toEqual(
      expect.arrayContaining(['runtime.list failed IMA_LOG_INCOMPLETE', UNKNOWN]),
    );
  });

  it.each([
    ['a PCR that was not quoted', { pcrRules: [rule(4)] }, 'KEPT_PCR_UNQUOTED'],
    [
      'the TPM itself',
      {
        expressions: [
          {
            id: 'firmware',
            expression: 'tpm.firmware_version == 1',
            claim: 'hardware',
            severity: undefined,
            message: '',
          },
        ],
      },
      'KEPT_EVIDENCE_MISSING',
    ],
  ] as const)('is what ran, where the policy looks at %s', async (_name, more, reason) => {
    const host = await ranBad();
    await putPolicy(house.store, {
      pcrRules: [],
      runtime: { ...NO_RUNTIME_RULES, files: { ...rules, message: 'other words' } },
      ...more,
    });
    await reappraiser.settle();
    const result = await host.result();
    expect(result).toMatchObject({ status: 'contraindicated', policyVersion: 2 });
    expect(failures(result?.checks ?? [])).toContain(UNKNOWN);
    expect(result?.checks.at(-1)).toMatchObject({ id: 'kept-evidence', reason });
    // Nothing else does.
    expect(failures(result?.checks ?? []).filter((line) => line.includes(' failed '))).toEqual([UNKNOWN]);
  });

  it('is what ran before another policy asked for nothing of it, unless rules allow that', async () => {
    const host = await ranBad();
    await putPolicy(house.store, { pcrRules: [rule(7)] });
    expect((await host.attest()).status).toBe('affirming');
    await putRules(house, { files: rules });
    await reappraiser.settle();
    expect(failures((await host.result())?.checks ?? [])).toContain(UNKNOWN);
    await putRules(house, { files: { ...rules, referenceSets: ['referenceSets/wide'] } });
    await reappraiser.settle();
    const result = await host.result();
    expect(result?.status).toBe('none');
    expect(result?.checks.at(-1)).toMatchObject({ reason: 'KEPT_RUNTIME_UNKNOWN' });
  });

  it('is a TPM that was rolled back', async () => {
    await putPolicy(house.store);
    const host = await OneShotHost.enrolled(house);
    await host.attest();
    const { tpm } = host.machine;
    tpm.clockInfo = { ...tpm.clockInfo, resetCount: tpm.clockInfo.resetCount - 1 };
    expect((await host.attest()).status).toBe('contraindicated');
    await putPolicy(house.store, { description: 'another version' });
    await reappraiser.settle();
    const result = await host.result();
    expect(result?.status).toBe('contraindicated');
    expect(failures(result?.checks ?? [])).toContain('standing failed CLOCK_REGRESSED');
  });
});
