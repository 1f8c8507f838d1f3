import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Reappraiser } from '../../../server/attestation/reappraiser.ts';
import { StoreError } from '../../../server/store/store.ts';
import type { Store } from '../../../server/store/store.ts';
import { OneShotHost } from '../../support/one-shot-host.ts';
import { openHouse, openReplica, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
let errors: unknown[];
let reappraiser: Reappraiser;
beforeEach(async () => {
  house = await openHouse();
  errors = [];
  reappraiser = over(house);
  await putPolicy(house.store);
});
afterEach(async () => {
  await reappraiser.close();
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const over = ({ services }: House): Reappraiser =>
  new Reappraiser({ services, onError: (error) => errors.push(error) });
const strict = (value: string) => ({
  pcrRules: [{ bank: 'sha256', index: 7, allowed: [value.repeat(32)], severity: undefined, message: '' }],
});
const STRICT = strict('11');

async function attested(count: number): Promise<readonly OneShotHost[]> {
  const hosts: OneShotHost[] = [];
  for (let index = 0; index < count; index++) {
    const host = await OneShotHost.enrolled(house);
    await host.attest();
    hosts.push(host);
  }
  return hosts;
}

/** Something that happens after hosts were judged and before that is written, once. */
function beforeWriting(act: () => Promise<unknown>): void {
  const { store } = house;
  const commitReappraisals = store.commitReappraisals.bind(store);
  Object.assign(store, {
    commitReappraisals: async (...args: Parameters<Store['commitReappraisals']>) => {
      Object.assign(store, { commitReappraisals });
      await act();
      return commitReappraisals(...args);
    },
  });
}

async function revisionsOf({ id }: OneShotHost): Promise<readonly string[]> {
  const changes = await house.store.changesSince(0, 1000);
  return changes.filter(({ hostId }) => hostId === id).map(({ cause, result }) => `${cause} ${result.status}`);
}

describe('a verdict from kept evidence', () => {
  it('loses to a round that came meanwhile', async () => {
    const [host] = await attested(1);
    await putPolicy(house.store, STRICT);
    beforeWriting(async () => {
      host?.machine.tpm.pcrs.get(11)?.set(7, Buffer.alloc(32, 0x11));
      await host?.attest();
    });
    await reappraiser.judgePage();
    expect(await host?.result()).toMatchObject({ status: 'affirming', policyVersion: 2 });
    expect(await reappraiser.judgePage()).toBe(0);
  });

  it('loses to another change of policies, and is made again by these', async () => {
    const [host] = await attested(1);
    await putPolicy(house.store, STRICT);
    beforeWriting(() => putPolicy(house.store));
    await reappraiser.judgePage();
    expect((await host?.result())?.status).toBe('none');
    await reappraiser.judgePage();
    expect(await host?.result()).toMatchObject({ status: 'affirming', policyVersion: 3 });
  });

  it('loses to a removed anchor, and is made again without it', async () => {
    const [host] = await attested(1);
    await putPolicy(house.store, { description: 'another version' });
    beforeWriting(async () => {
      for (const { fingerprint } of await house.store.allTrustAnchors())
        await house.store.removeTrustAnchor(fingerprint, { ...OPERATOR, expected: 'any' });
    });
    await reappraiser.judgePage();
    expect((await host?.result())?.status).toBe('none');
    await reappraiser.judgePage();
    expect((await host?.result())?.status).toBe('warning');
  });

  it('loses to a ban', async () => {
    const [host] = await attested(1);
    await putPolicy(house.store, { description: 'another version' });
    beforeWriting(() => house.store.revokeHost(host?.id ?? '', { ...OPERATOR, reason: '' }));
    await reappraiser.judgePage();
    expect((await host?.result())?.checks.map(({ reason }) => reason)).toEqual(['HOST_REVOKED']);
    expect(await reappraiser.judgePage()).toBe(0);
  });
});

describe('a service that judges anew', () => {
  it('goes on after a crash where it was', async () => {
    const hosts = await attested(30);
    await putPolicy(house.store, STRICT);
    await reappraiser.judgePage();
    beforeWriting(() => Promise.reject(new StoreError('closed', 'the process was killed')));
    await expect(reappraiser.judgePage()).rejects.toMatchObject({ code: 'closed' });
    const before = await Promise.all(hosts.map(async (host) => (await host.result())?.status));
    expect(before.filter((status) => status === 'none')).toHaveLength(5);
    await using again = await openReplica(house);
    await over(again).judgePage();
    for (const host of hosts) expect((await host.result())?.status).toBe('contraindicated');
  });

  it('shares the work with another replica, and each host is told once', async () => {
    const hosts = await attested(30);
    await putPolicy(house.store, STRICT);
    await using replica = await openReplica(house);
    const both = [reappraiser, over(replica)];
    while ((await Promise.all(both.map((each) => each.judgePage()))).some((looked) => looked > 0));
    for (const host of hosts) {
      expect(await revisionsOf(host)).toEqual([
        'enrolled none',
        'verdict affirming',
        'input_changed none',
        'reappraised contraindicated',
      ]);
    }
  });

  it('takes so many at once, and the rest one page after another', async () => {
    const hosts = await attested(30);
    await putPolicy(house.store, STRICT);
    const pages: number[] = [];
    const { store } = house;
    const commitReappraisals = store.commitReappraisals.bind(store);
    const times: number[] = [];
    Object.assign(store, {
      commitReappraisals: (inputs: Parameters<Store['commitReappraisals']>[0]) => {
        pages.push(inputs.length);
        times.push(performance.now());
        return commitReappraisals(inputs);
      },
    });
    reappraiser.start();
    const last = hosts.at(-1);
    await expect.poll(async () => (await last?.result())?.status).toBe('contraindicated');
    await expect.poll(() => pages).toEqual([25, 5]);
    const [first = 0, second = 0] = times;
    expect(second - first).toBeGreaterThanOrEqual(95);
    await reappraiser.close();
    await putPolicy(house.store);
    expect((await last?.result())?.status).toBe('none');
    expect(errors).toEqual([]);
  });

  it('is not held up by one host that it cannot judge', async () => {
    const [odd, good] = await attested(2);
    await putPolicy(house.store, STRICT);
    const { store } = house;
    const getBoot = store.getBoot.bind(store);
    Object.assign(store, {
      getBoot: (id: string) => (id === odd?.id ? Promise.reject(new TypeError('a defect')) : getBoot(id)),
    });
    await reappraiser.judgePage();
    expect(errors).toMatchObject([{ message: 'a defect' }]);
    expect((await good?.result())?.status).toBe('contraindicated');
    const result = await odd?.result();
    expect(result?.status).toBe('none');
    expect(result?.checks.at(-1)).toMatchObject({ reason: 'KEPT_EVIDENCE_UNJUDGED' });
    Object.assign(store, { getBoot });
    expect((await odd?.attest())?.status).toBe('contraindicated');
  });
});
