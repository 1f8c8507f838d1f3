import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { learnFiles } from '../../../server/attestation/learn-files.ts';
import { RuntimeServices } from '../../../server/attestation/runtime-services.ts';
import { ReferenceImports } from '../../../server/reference/import.ts';
import type { ImportOutcome } from '../../../server/reference/import.ts';
import type { LogStore } from '../../../server/store/log-store.ts';
import { TPM_ALG_SHA1 } from '../../../tpm/structures/constants.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { bufferPlan, filePlan, sha256, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES } from '../../support/runtime-policy.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { digestField, nameField } from '../../tpm/ima/list-builder.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const REQUEST = { ...OPERATOR, id: 'base', mode: 'add', expected: 'any' } as const;
const OF_SET = { files: { ...FILES, referenceSets: ['referenceSets/base'] } };

async function learn(
  { machine }: MeasuredHost,
  excludes: readonly string[] = [],
  readLog: LogStore['readLog'] = (...args) => house.store.readLog(...args),
): Promise<ImportOutcome> {
  const host = await house.store.getHost(machine.id);
  if (host === null) throw new Error('the host is gone');
  const store = { getRuntime: (id: string) => house.store.getRuntime(id), readLog };
  const runtimes = new RuntimeServices({
    readLog,
    readReferenceDigests: (...args) => house.store.readReferenceDigests(...args),
    getKeyring: (...args) => house.store.getKeyring(...args),
  });
  return new ReferenceImports(house.store).learn(REQUEST, (take) =>
    learnFiles({ store, runtimes }, { host, excludes }, take),
  );
}

async function learned(): Promise<readonly string[]> {
  const page = { limit: 100, after: '' };
  const found = await house.store.listReferenceEntries({ id: 'base', version: 1 }, page, { pathPrefix: '' });
  return found.items.map(({ path }) => path);
}

describe('a set that is learned from a host', () => {
  it('holds what ran on it, and other hosts that run the same satisfy a policy of it', async () => {
    await putRules(house, { violations: { action: 'ignore', applyExcludes: false, message: '' } });
    await using host = await MeasuredHost.enrolled(house);
    const verity = digestField('verity:sha256', sha256('verity'));
    host.kernel.measure(
      filePlan('/bin/sh', 'sh'),
      filePlan('/bin/sh', 'sh'),
      filePlan('/tmp/x', 'x'),
      violationPlan('/var/log'),
      bufferPlan('kernel_info', Buffer.from('6.1')),
      { template: 'ima-ngv2', fields: [verity, nameField('/v')] },
    );
    await host.round();
    expect(await learn(host, ['/tmp/*'])).toMatchObject({
      changed: true,
      read: 2,
      set: { version: 1, entries: 1 },
      notImported: ['measured buffers: 2', 'excluded files: 1', 'violations: 1', 'fs-verity digests: 1'],
    });
    expect(await learned()).toEqual(['/bin/sh']);

    await putRules(house, OF_SET);
    await using other = await MeasuredHost.enrolled(house);
    other.kernel.measure(filePlan('/usr/bin/sh', 'sh'));
    expect((await other.round()).status).toBe('affirming');
  });

  it('has nothing of a host whose list SHA-1 alone proves', async () => {
    await putRules(house, { violations: { action: 'ignore', applyExcludes: false, message: '' } });
    await using host = await MeasuredHost.enrolled(house, new SoftwareTpm({ banks: [TPM_ALG_SHA1] }));
    host.kernel.measure(filePlan('/bin/sh', 'sh'));
    await host.round();
    await expect(learn(host)).rejects.toMatchObject({
      code: 'RUNTIME_LIST_MISSING',
      message: expect.stringContaining('proven by SHA-1 alone') as string,
    });
  });

  it('has nothing of what no quote covers', async () => {
    await putRules(house, { violations: { action: 'ignore', applyExcludes: false, message: '' } });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'));
    const challenge = await host.agent.challenge();
    // Measured after the quote, and sent with it: it waits for the next one.
    const quoted = host.machine.tpm.pcrs;
    const before = new Map([...quoted].map(([alg, bank]) => [alg, new Map(bank)]));
    host.kernel.measure(filePlan('/bin/late', 'late'));
    for (const [alg, bank] of before) for (const [pcr, value] of bank) quoted.get(alg)?.set(pcr, value);
    host.answer(challenge);
    expect(failures((await host.agent.expect('result')).result.checks)).toEqual([]);
    await learn(host);
    expect(await learned()).toEqual(['/bin/sh']);
  });

  it('is not made where no list is proven', async () => {
    await putPolicy(house.store);
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'));
    expect((await host.round()).status).toBe('affirming');
    await expect(learn(host)).rejects.toMatchObject({ code: 'RUNTIME_LIST_MISSING' });
    expect(await house.store.getReferenceSet('base', null)).toBeNull();
  });

  it('is not made of a list that changes while it is read', async () => {
    await putRules(house, { violations: { action: 'ignore', applyExcludes: false, message: '' } });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'));
    await host.round();
    const changed: LogStore['readLog'] = async (...args) => {
      const bytes = Buffer.from(await house.store.readLog(...args));
      const at = bytes.indexOf(sha256('sh'));
      if (at >= 0) sha256('evil').copy(bytes, at);
      return bytes;
    };
    await expect(learn(host, [], changed)).rejects.toMatchObject({ code: 'RUNTIME_LIST_MISSING' });
    expect(await house.store.getReferenceSet('base', null)).toBeNull();
  });

  it('is not made of a boot that is over', async () => {
    await putRules(house, { violations: { action: 'ignore', applyExcludes: false, message: '' } });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'));
    await host.round();
    const stale = await house.store.getHost(host.machine.id);
    if (stale === null) throw new Error('the host is gone');
    const runtimes = new RuntimeServices(house.store);
    const clock = { ...stale.clock, resetCount: stale.clock.resetCount + 1 };
    const learning = learnFiles({ store: house.store, runtimes }, { host: { ...stale, clock }, excludes: [] }, () =>
      Promise.resolve(),
    );
    await expect(learning).rejects.toMatchObject({ code: 'RUNTIME_LIST_MISSING' });
  });
});
