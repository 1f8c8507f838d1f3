import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { digest } from '../../../tpm/crypto/digest.ts';
import { TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { bootedTpm, bootLog, SECURE_BOOT } from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { failures, MeasuredHost } from '../../support/measured-host.ts';
import { bufferPlan, filePlan, violationPlan } from '../../support/measuring-kernel.ts';
import { enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import { openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

function hurry(agent: StreamAgent): void {
  house.clock.advance(2_000);
  agent.send({ kind: 'wish' });
}

const reasons = (checks: readonly { readonly outcome: string; readonly reason: string }[]) =>
  checks.filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason);

const putExpression = (expression: string): Promise<void> =>
  putPolicy(house.store, {
    pcrRules: [],
    expressions: [{ id: 'rule', expression, claim: 'configuration', severity: undefined, message: '' }],
  });

describe.skipIf(!dataIsHere('measured-boot'))('a host that is judged by an expression over its boot', () => {
  it('quotes what the claims rest on, is judged by its labels of now, and loses its verdict with a PCR', async () => {
    await putExpression('boot.secure_boot.mode == "enabled" && host.labels["role"] == "compute"');
    const machine = await enrollMachine(house, { tpm: bootedTpm(SECURE_BOOT), logs: [bootLog(SECURE_BOOT)] });
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    expect(challenge.selection).toEqual([{ hash: TPM_ALG_SHA384, pcrs: [7, 14] }]);
    agent.answer(challenge);
    const unlabelled = (await agent.expect('result')).result;
    expect(unlabelled.status).toBe('none');
    expect(reasons(unlabelled.checks)).toEqual(['EXPRESSION_CLAIM_MISSING']);

    await house.store.updateHost(machine.id, { labels: { role: 'compute' } }, { ...OPERATOR, version: null });
    const first = await agent.round();
    expect(first.status).toBe('affirming');
    hurry(agent);
    expect(await agent.round()).toMatchObject({ revision: first.revision, confirmations: 1 });

    machine.tpm.extend(14, Buffer.from(digest(TPM_ALG_SHA384, Buffer.from('later'))), TPM_ALG_SHA384);
    hurry(agent);
    expect(reasons((await agent.round()).checks)).toEqual(['BOOT_PCRS_MOVED', 'EXPRESSION_CLAIM_MISSING']);
  });
});

describe('a host that is judged by an expression over a PCR', () => {
  it('quotes it in each round, and is judged by its value of now', async () => {
    const zero = '00'.repeat(32);
    await putExpression(`pcrs.sha256[16] == "${zero}"`);
    const machine = await enrollMachine(house);
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    expect(challenge.selection).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [16] }]);
    agent.answer(challenge);
    expect((await agent.expect('result')).result.status).toBe('affirming');
    machine.tpm.extend(16, Buffer.from(digest(TPM_ALG_SHA256, Buffer.from('later'))), TPM_ALG_SHA256);
    hurry(agent);
    const { status, checks } = await agent.round();
    expect(status).toBe('contraindicated');
    expect(reasons(checks)).toEqual(['EXPRESSION_FALSE']);
  });
});

describe('a host that is judged by an expression over what ran', () => {
  const CLEAN = 'runtime.violations == 0 && runtime.other_kernels == 0 && runtime.boot_aggregate && runtime.files > 10';
  const file = (name: string) => filePlan(`/usr/bin/${name}`, name);
  const FILES = Array.from({ length: 12 }, (_, index) => file(`tool${index}`));

  it('brings its list, is confirmed while it runs more, and turns with a violation for good', async () => {
    await putExpression(CLEAN);
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(...FILES);
    const first = await host.round();
    expect(failures(first.checks)).toEqual([]);
    expect(first.status).toBe('affirming');
    const size = host.kernel.list.length;
    host.kernel.measure(file('more'));
    const next = await host.hurry();
    expect(next.selection).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [10] }]);
    expect(next.logs).toEqual([{ kind: 'ima', offset: size }]);
    host.answer(next);
    const { result } = await host.agent.expect('result');
    expect(result).toMatchObject({ revision: first.revision, confirmations: 1 });

    host.kernel.measure(violationPlan('/var/log/x'));
    const bad = await host.next();
    expect(bad.status).toBe('contraindicated');
    expect(failures(bad.checks)).toEqual(['expression.rule failed EXPRESSION_FALSE']);
    host.kernel.measure(file('later'));
    expect((await host.next()).revision).toBe(bad.revision);
  });

  it('turns when another kernel is loaded', async () => {
    await putExpression(CLEAN);
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(...FILES);
    expect((await host.round()).status).toBe('affirming');
    host.kernel.measure(bufferPlan('kexec-cmdline', Buffer.from('quiet')));
    expect(failures((await host.next()).checks)).toEqual(['expression.rule failed EXPRESSION_FALSE']);
  });

  it('is held to a violation of before a restart that did not reset the TPM', async () => {
    await putExpression('runtime.violations == 0');
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(violationPlan('/var/log/x'));
    expect((await host.round()).status).toBe('contraindicated');
    host.restart();
    await host.next({ logs: [] });
    const result = await host.round();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(['expression.rule failed EXPRESSION_FALSE']);
  });

  it('is not affirmed by a list that hides an entry', async () => {
    await putExpression(CLEAN);
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(...FILES);
    expect((await host.round()).status).toBe('affirming');
    host.kernel.extend(violationPlan('/var/log/x'));
    const result = await host.torn(await host.hurry());
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(
      expect.arrayContaining([
        'runtime.list failed IMA_LOG_INCOMPLETE',
        'expression.rule error EXPRESSION_CLAIM_MISSING',
      ]),
    );
  });

  it('is not affirmed without a list', async () => {
    await putExpression('runtime.violations == 0');
    const machine = await enrollMachine(house);
    await using agent = new StreamAgent(house, machine);
    const { status, checks } = await agent.round();
    expect(status).toBe('none');
    expect(failures(checks)).toContain('expression.rule error EXPRESSION_CLAIM_MISSING');
  });
});
