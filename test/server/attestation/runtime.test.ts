import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import type { RuntimeRulesDraft } from '../../../server/policy/runtime-rules.ts';
import { filePlan, MeasuringKernel, sha256, violationPlan } from '../../support/measuring-kernel.ts';
import { importFiles, importKeys, NO_RUNTIME_RULES, FILES } from '../../support/runtime-policy.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Answer, Machine } from '../../support/stream-agent.ts';
import { openHouse, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { ecSigner, rsaSigner, signV2 } from '../../tpm/ima/signing.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const signer = rsaSigner();
const signed = (path: string, content: string) => filePlan(path, content, signV2(signer, 'sha256', sha256(content)));

function putRules(runtime: Partial<RuntimeRulesDraft>): Promise<void> {
  return putPolicy(house.store, { pcrRules: [], runtime: { ...NO_RUNTIME_RULES, ...runtime } });
}

const failures = (checks: readonly { readonly id: string; readonly outcome: string; readonly reason: string }[]) =>
  checks.filter(({ outcome }) => outcome !== 'passed').map(({ id, outcome, reason }) => `${id} ${outcome} ${reason}`);

/** A host whose kernel measures, with its stream. */
class MeasuredHost implements AsyncDisposable {
  readonly kernel: MeasuringKernel;
  readonly machine: Machine;
  readonly agent: StreamAgent;

  constructor(kernel: MeasuringKernel, machine: Machine) {
    this.kernel = kernel;
    this.machine = machine;
    this.agent = new StreamAgent(house, machine);
  }

  static async enrolled(): Promise<MeasuredHost> {
    const tpm = new SoftwareTpm();
    const kernel = new MeasuringKernel(tpm);
    return new MeasuredHost(kernel, await enrollMachine(house, { tpm }));
  }

  /** One round as an honest agent answers it. */
  async round(answer: Answer = {}) {
    const challenge = await this.agent.challenge();
    const asked = challenge.logs.find(({ kind }) => kind === 'ima');
    const logs = asked === undefined ? [] : [this.kernel.log(asked.offset)];
    this.agent.answer(challenge, { logs, ...answer });
    return { challenge, result: (await this.agent.expect('result')).result };
  }

  async next(answer: Answer = {}) {
    house.clock.advance(2_000);
    this.agent.send({ kind: 'wish' });
    return (await this.round(answer)).result;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.agent[Symbol.asyncDispose]();
  }
}

describe('a host with a list of run-time measurements', () => {
  it('is affirmed while every file that it used is allowed or signed', async () => {
    await importFiles(house.store, ['good']);
    await importKeys(house.store, [signer]);
    await putRules({ files: { ...FILES, referenceSets: ['referenceSets/base'], keyrings: ['keyrings/vendor'] } });
    await using host = await MeasuredHost.enrolled();
    host.kernel.measure(filePlan('/usr/bin/good', 'good'), signed('/usr/bin/signed', 'signed'));
    const { challenge, result } = await host.round();
    expect(failures(result.checks)).toEqual([]);
    expect(result).toMatchObject({ status: 'affirming', vector: { executables: -3 } });
    expect(challenge.selection).toBe('all');
    house.clock.advance(2_000);
    host.agent.send({ kind: 'wish' });
    host.kernel.measure(signed('/usr/bin/more', 'more'));
    const next = await host.round();
    expect(next.challenge.selection).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [10] }]);
    expect(next.result).toMatchObject({ status: 'affirming', revision: result.revision, confirmations: 1 });
  });

  it.each([
    ['an unsigned file', filePlan('/tmp/x', 'evil'), 'runtime.files failed FILE_UNKNOWN'],
    [
      'a file that was signed before it was changed',
      filePlan('/usr/bin/signed', 'changed', signV2(signer, 'sha256', sha256('signed'))),
      'runtime.signatures failed FILE_SIGNATURE_INVALID',
    ],
    ['a violation', violationPlan('/var/log/x'), 'runtime.violations failed IMA_VIOLATION'],
    [
      'a file signed by another key',
      filePlan('/usr/bin/x', 'x', signV2(ecSigner('P-256'), 'sha256', sha256('x'))),
      'runtime.files failed FILE_UNKNOWN',
    ],
  ])('turns within one round of %s, and stays so', async (_name, plan, failure) => {
    await importKeys(house.store, [signer]);
    await putRules({ files: { ...FILES, keyrings: ['keyrings/vendor'] } });
    await using host = await MeasuredHost.enrolled();
    expect((await host.round()).result.status).toBe('affirming');
    host.kernel.measure(plan);
    const bad = await host.next();
    expect(bad.status).toBe('contraindicated');
    expect(failures(bad.checks)).toContain(failure);
    host.kernel.measure(signed('/usr/bin/later', 'later'));
    expect((await host.next()).revision).toBe(bad.revision);
  });
});
