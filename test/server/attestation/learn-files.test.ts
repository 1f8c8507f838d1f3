import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { learnFiles } from '../../../server/attestation/learn-files.ts';
import { RuntimeServices } from '../../../server/attestation/runtime-services.ts';
import { ReferenceImports } from '../../../server/reference/import.ts';
import type { ImportOutcome } from '../../../server/reference/import.ts';
import type { LogStore } from '../../../server/store/log-store.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { bufferPlan, filePlan, MeasuringKernel, sha256, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles } from '../../support/runtime-policy.ts';
import { caughtUp } from '../../support/stream-agent.ts';
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
  options: { readonly excludes?: readonly string[]; readonly despiteFindings?: boolean } = {},
  readLog: LogStore['readLog'] = (...args) => house.store.readLog(...args),
): Promise<ImportOutcome> {
  const { excludes = [], despiteFindings = false } = options;
  const host = await house.store.getHost(machine.id);
  const result = await house.store.getResult(machine.id);
  if (host === null || result === null) throw new Error('the host is gone');
  const store = { getRuntime: (id: string) => house.store.getRuntime(id), readLog };
  const runtimes = new RuntimeServices({
    readLog,
    readReferenceDigests: (...args) => house.store.readReferenceDigests(...args),
    getKeyring: (...args) => house.store.getKeyring(...args),
  });
  return new ReferenceImports(house.store).learn(REQUEST, async (take) => {
    const request = { host, result, excludes, despiteFindings };
    return { ...(await learnFiles({ store, runtimes }, request, take)), origin: 'a host' };
  });
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
    expect(await learn(host, { excludes: ['/tmp/*'], despiteFindings: true })).toMatchObject({
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
    await expect(learn(host, { despiteFindings: true })).rejects.toMatchObject({
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
    await expect(learn(host, {}, changed)).rejects.toMatchObject({ code: 'RUNTIME_LIST_MISSING' });
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
    const request = { host: { ...stale, clock }, result: { checks: [] }, excludes: [], despiteFindings: true };
    const learning = learnFiles({ store: house.store, runtimes }, request, () => Promise.resolve());
    await expect(learning).rejects.toMatchObject({ code: 'RUNTIME_LIST_MISSING' });
  });
});

describe('a host that is learned from', () => {
  const warned = { violations: { action: 'warning', applyExcludes: false, message: '' } } as const;
  const ignored = { violations: { action: 'ignore', applyExcludes: false, message: '' } } as const;

  it('may have files that nothing allows yet', async () => {
    await importFiles(house.store, ['other'], 'other');
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/other'] } });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'));
    expect((await host.round()).status).toBe('contraindicated');
    expect(await learn(host)).toMatchObject({ changed: true });
    expect(await learned()).toEqual(['/bin/sh']);
  });

  it.each([
    ['that its policy warns of', warned, 'warning', 'IMA_VIOLATION'],
    ['that its policy does not mind', ignored, 'affirming', 'IMA_VIOLATION'],
  ] as const)('may have no finding %s, unless that is said', async (_name, rules, status, reason) => {
    await putRules(house, rules);
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'), violationPlan('/var/log/x'));
    expect((await host.round()).status).toBe(status);
    await expect(learn(host)).rejects.toMatchObject({
      code: 'HOST_HAS_FINDINGS',
      message: expect.stringMatching(new RegExp(`looked at: ${reason}$`)) as string,
    });
    // Nothing is written: not a version, and not a draft of one.
    expect(await house.store.getReferenceSet('base', null)).toBeNull();
    expect(await learn(host, { despiteFindings: true })).toMatchObject({ changed: true });
  });

  it('is one of which something is known now: what its last verdict rested on has not changed, nor ended', async () => {
    await putRules(house, { list: { severity: 'contraindicated', message: '' } });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/bin/sh', 'sh'));
    expect((await host.round()).status).toBe('affirming');
    await putRules(house, ignored);
    await expect(learn(host)).rejects.toMatchObject({
      code: 'HOST_HAS_FINDINGS',
      message: expect.stringContaining('APPRAISAL_INPUT_CHANGED') as string,
    });
    await caughtUp(house);
    expect((await host.round()).status).toBe('affirming');
    house.clock.advance(60 * 60_000);
    await expect(learn(host)).rejects.toMatchObject({ message: expect.stringContaining('RESULT_EXPIRED') as string });
  });

  it('is one whose policy asks what ran: nobody else looks at the list, nor at the boot that it began in', async () => {
    await putRules(house, ignored);
    const tpm = new SoftwareTpm();
    const kernel = new MeasuringKernel(tpm).measure(filePlan('/bin/sh', 'sh'));
    tpm.extend(4);
    await using host = await MeasuredHost.enrolled(house, tpm);
    host.kernel = kernel;
    tpm.pcrs.get(TPM_ALG_SHA256)?.set(10, Buffer.alloc(32));
    kernel.replay();
    expect(failures((await host.round()).checks)).toEqual([
      'runtime.boot-aggregate failed IMA_BOOT_AGGREGATE_MISMATCH',
    ]);
    await expect(learn(host)).rejects.toMatchObject({ code: 'HOST_HAS_FINDINGS' });
    await putPolicy(house.store);
    await caughtUp(house);
    expect((await host.round()).status).not.toBe('contraindicated');
    await expect(learn(host)).rejects.toMatchObject({ code: 'RUNTIME_LIST_MISSING' });
  });

  it('is none that is banned, or whose list was inconsistent before', async () => {
    await putRules(house, ignored);
    await using host = await MeasuredHost.enrolled(house);
    const claimed = { ...filePlan('/bin/sh', 'sh'), claimedHash: Buffer.alloc(20, 7) };
    host.kernel.measure(claimed);
    await host.round();
    await expect(learn(host)).rejects.toMatchObject({
      message: expect.stringContaining('IMA_LIST_INCONSISTENT') as string,
    });
    await house.store.revokeHost(host.machine.id, { ...OPERATOR, scope: {}, reason: '' });
    await expect(learn(host)).rejects.toMatchObject({ message: expect.stringContaining('HOST_REVOKED') as string });
  });
});
