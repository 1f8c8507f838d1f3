import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { digest } from '../../../tpm/crypto/digest.ts';
import { TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { bootedTpm, bootLog, SECURE_BOOT } from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
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
