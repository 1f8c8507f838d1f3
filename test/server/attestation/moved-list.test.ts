/** IMA extends PCR 10 at any time, also between a quote and the reading of the PCRs that it covers. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { NO_RULES, RULE } from '../../support/booted-machine.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, MeasuringKernel, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles } from '../../support/runtime-policy.ts';
import { OneShotHost } from '../../support/one-shot-host.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { caughtUp } from '../../support/stream-agent.ts';
import { openHouse, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';

let house: House;
let host: MeasuredHost;
const good = (path: string) => filePlan(path, 'good');

beforeEach(async () => {
  house = await openHouse();
  await importFiles(house.store, ['good']);
  await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
  host = await MeasuredHost.enrolled(house, new SoftwareTpm({ banks: [TPM_ALG_SHA1, TPM_ALG_SHA256] }));
});
afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

/** Answers a challenge, with files that are measured before the PCRs are read and before the list is. */
async function answered(plans: readonly ReturnType<typeof filePlan>[], alsoMoved: () => void = () => undefined) {
  const challenge = await host.agent.challenge();
  const offset = challenge.logs.find(({ kind }) => kind === 'ima')?.offset ?? 0;
  const list = new MeasuringKernel(new SoftwareTpm(), []).measure(...plans).list;
  host.agent.answer(challenge, {
    logs: [{ kind: 'ima', data: Buffer.concat([host.kernel.list.subarray(offset), list]), offset }],
    afterQuote: () => {
      host.kernel.measure(...plans);
      alsoMoved();
    },
  });
}

describe('a PCR 10 that moves between quote and reading', () => {
  it('is sought among the prefixes of the list, in every round', async () => {
    for (const path of ['/usr/bin/a', '/usr/bin/b', '/usr/bin/c']) {
      // oxlint-disable-next-line no-await-in-loop -- one round after another
      await answered([good(path), violationPlan('/var/log/x'), good(`${path}/more`)]);
      // oxlint-disable-next-line no-await-in-loop -- one round after another
      const { result } = await host.agent.expect('result');
      // What was measured after the quote waits for the next one.
      expect(failures(result.checks)).toEqual(path === '/usr/bin/a' ? [] : ['runtime.violations failed IMA_VIOLATION']);
      house.clock.advance(2_000);
      host.agent.send({ kind: 'wish' });
    }
  });

  it('is sought in a quote of every PCR too, and where nobody asks what ran', async () => {
    await putPolicy(house.store, { pcrRules: [], boot: { ...NO_RULES, secureBoot: RULE } });
    await caughtUp(house);
    await answered([good('/usr/bin/a')]);
    const { result } = await host.agent.expect('result');
    expect(result.checks.find(({ id }) => id === 'pcr-digest')?.outcome).toBe('passed');
  });

  it('is sought in a round without a stream', async () => {
    const single = await OneShotHost.enrolled(house);
    const result = await single.attest(() => single.kernel.measure(good('/usr/bin/a')));
    expect(failures(result.checks)).toEqual([]);
    // What was measured after the quote was not judged, and is with the next one.
    const evil = filePlan('/tmp/evil', 'evil');
    expect((await single.attest(() => single.kernel.measure(evil))).status).toBe('affirming');
    expect(failures((await single.attest()).checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
  });

  it('is torn as before where another PCR moves with it', async () => {
    await host.round();
    await host.reconnect({ boot: { resetCount: 99, restartCount: 0 } });
    await answered([good('/usr/bin/a')], () => host.machine.tpm.extend(0, Buffer.alloc(32, 1)));
    expect((await host.agent.expect('torn')).attempt).toBe(1);
  });

  it('is torn where the list does not lead to what was quoted', async () => {
    const challenge = await host.agent.challenge();
    host.kernel.extend(good('/usr/bin/hidden'));
    host.agent.answer(challenge, {
      logs: [host.kernel.log()],
      afterQuote: () => host.kernel.measure(good('/usr/bin/a')),
    });
    expect((await host.agent.expect('torn')).attempt).toBe(1);
  });

  it('is torn where the list cannot be read', async () => {
    host.agent.answer(await host.agent.challenge(), { afterQuote: () => host.kernel.measure(good('/usr/bin/a')) });
    expect((await host.agent.expect('torn')).attempt).toBe(1);
  });
});
