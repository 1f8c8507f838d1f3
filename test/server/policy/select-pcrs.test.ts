import { describe, expect, it } from 'vitest';

import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { NO_POLICY_QUOTE } from '../../../server/policy/policy.ts';
import type { PcrRule } from '../../../server/policy/policy.ts';
import { PolicyResolver } from '../../../server/policy/policy-resolver.ts';
import { selectPcrs } from '../../../server/policy/select-pcrs.ts';
import type { PolicyRecord } from '../../../server/store/records.ts';
import { StoreError } from '../../../server/store/store.ts';

const every = Array.from({ length: 24 }, (_, index) => index);
const BANKS = [
  { hash: TPM_ALG_SHA256, pcrs: every },
  { hash: TPM_ALG_SHA384, pcrs: every },
];
const rule = (bank: string, index: number): PcrRule => ({ bank, index, allowed: [], severity: 'warning', message: '' });
const trustPolicy = (id: string, pcrRules: readonly PcrRule[]) => ({
  id,
  description: '',
  selector: null,
  precedence: 0,
  quote: NO_POLICY_QUOTE,
  pcrRules,
});
const by = (...pcrRules: PcrRule[]) =>
  ({ kind: 'policy', version: 1, references: [], policy: trustPolicy('base', pcrRules) }) as const;

describe('what a round quotes', () => {
  it('is what the policy names, each PCR once and ascending, bank by bank', () => {
    const applicable = by(rule('sha384', 4), rule('sha256', 7), rule('sha256', 0), rule('sha256', 7));
    expect(selectPcrs(applicable, BANKS)).toEqual([
      { hash: TPM_ALG_SHA256, pcrs: [0, 7] },
      { hash: TPM_ALG_SHA384, pcrs: [4] },
    ]);
  });

  it('is what expressions name as well, and what their claims of the boot rest on, in the strongest bank', () => {
    const expression = 'pcrs.sha256[0] == "a" || pcrs.sha1[1] == "b" || has(boot.authorities)';
    const rules = [{ id: 'a', expression, claim: 'configuration', severity: 'warning', message: '' }] as const;
    const applicable = by(rule('sha256', 7));
    const policy = { ...applicable.policy, expressions: rules };
    expect(selectPcrs({ ...applicable, policy }, BANKS)).toEqual([
      { hash: TPM_ALG_SHA256, pcrs: [0, 7] },
      { hash: TPM_ALG_SHA384, pcrs: [7, 14] },
    ]);
  });

  it('is PCR 10 of every strong bank where an expression looks at what ran', () => {
    const expression = 'runtime.violations == 0';
    const rules = [{ id: 'a', expression, claim: 'configuration', severity: 'warning', message: '' }] as const;
    const applicable = by(rule('sha256', 7));
    const policy = { ...applicable.policy, expressions: rules };
    const banks = [{ hash: TPM_ALG_SHA1, pcrs: every }, ...BANKS];
    expect(selectPcrs({ ...applicable, policy }, banks)).toEqual([
      { hash: TPM_ALG_SHA256, pcrs: [7, 10] },
      { hash: TPM_ALG_SHA384, pcrs: [10] },
    ]);
  });

  it('leaves out a bank that is not active', () => {
    expect(selectPcrs(by(rule('sha1', 0), rule('sha256', 7)), BANKS)).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [7] }]);
  });

  it('leaves out a PCR that the bank does not have', () => {
    const narrow = [{ hash: TPM_ALG_SHA256, pcrs: every.slice(0, 16) }];
    expect(selectPcrs(by(rule('sha256', 23), rule('sha256', 7)), narrow)).toEqual([
      { hash: TPM_ALG_SHA256, pcrs: [7] },
    ]);
  });

  it.each([
    ['no policy', { kind: 'none' } as const],
    ['two policies of equal precedence', { kind: 'ambiguous', ids: ['a', 'b'] } as const],
    ['a policy of which no bank is active', by(rule('sha1', 0))],
  ])("is the firmware's PCRs of the first bank with %s", (_name, applicable) => {
    expect(selectPcrs(applicable, BANKS)).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [0, 1, 2, 3, 4, 5, 6, 7] }]);
  });

  it('is nothing where no bank is active', () => {
    expect(selectPcrs(by(rule('sha256', 7)), [])).toEqual([]);
  });

  it('never names a bank that was not proven', () => {
    const hashes = selectPcrs(by(rule('sha1', 0), rule('sha512', 1), rule('sha256', 2)), BANKS).map(({ hash }) => hash);
    expect(hashes).not.toContain(TPM_ALG_SHA1);
    expect(hashes).toEqual([TPM_ALG_SHA256]);
  });
});

function record(id: string, attachment: Partial<PolicyRecord['attachment']>): PolicyRecord {
  return {
    id,
    version: 3,
    attachment: { matchLabels: {}, allHosts: false, precedence: 0, ...attachment },
    references: ['referenceSets/known'],
    body: JSON.stringify(trustPolicy(id, [])),
    createTime: 0,
  };
}

describe('which policy judges a host', () => {
  const policies = [
    record('base', { allHosts: true }),
    record('gpu', { matchLabels: { kind: 'gpu' }, precedence: 5 }),
    record('named', {}),
  ];
  const counting = () => {
    const calls = { count: 0, epoch: 1 };
    const store = {
      allPolicies: () => {
        calls.count += 1;
        return Promise.resolve({
          epochs: { policy: calls.epoch, endorsement: 9 },
          policies,
          references: [
            { name: 'keyrings/other', version: 1 },
            { name: 'referenceSets/known', version: 6 },
          ],
        });
      },
      epochs: () => Promise.resolve({ policy: calls.epoch, endorsement: 9 }),
    };
    return { calls, resolver: new PolicyResolver(store) };
  };

  it.each([
    [{ labels: {}, trustPolicy: '' }, 'base'],
    [{ labels: { kind: 'gpu' }, trustPolicy: '' }, 'gpu'],
    [{ labels: { kind: 'gpu' }, trustPolicy: 'named' }, 'named'],
  ])('of %j is %s', async (host, id) => {
    const { applicable, epoch } = await counting().resolver.resolve(host);
    expect(applicable).toMatchObject({
      kind: 'policy',
      version: 3,
      policy: { id },
      references: [{ name: 'referenceSets/known', version: 6 }],
    });
    expect(epoch).toBe(1);
  });

  it('is none where the named one is gone: a host never falls back to what nobody chose', async () => {
    const { applicable } = await counting().resolver.resolve({ labels: {}, trustPolicy: 'gone' });
    expect(applicable).toEqual({ kind: 'none' });
  });

  it('is read once, and again after a refresh', async () => {
    const { calls, resolver } = counting();
    const host = { labels: {}, trustPolicy: '' };
    await Promise.all([resolver.resolve(host), resolver.resolve(host)]);
    expect(calls.count).toBe(1);
    calls.epoch = 2;
    resolver.refresh();
    expect((await resolver.resolve(host)).epoch).toBe(2);
    expect(calls.count).toBe(2);
  });

  it('is read again by whoever catches up, where the store has another', async () => {
    const { calls, resolver } = counting();
    const host = { labels: {}, trustPolicy: '' };
    await resolver.catchUp();
    await resolver.resolve(host);
    await resolver.catchUp();
    expect((await resolver.resolve(host)).epoch).toBe(1);
    expect(calls.count).toBe(1);
    calls.epoch = 2;
    await resolver.catchUp();
    expect((await resolver.resolve(host)).epoch).toBe(2);
    expect(calls.count).toBe(2);
  });

  it('is read again after a store that failed', async () => {
    let broken = true;
    const store = {
      allPolicies: () =>
        broken
          ? Promise.reject(new StoreError('failed', 'disk'))
          : Promise.resolve({ epochs: { policy: 1, endorsement: 1 }, policies: [], references: [] }),
      epochs: () => Promise.resolve({ policy: 1, endorsement: 1 }),
    };
    const resolver = new PolicyResolver(store);
    const host = { labels: {}, trustPolicy: '' };
    await expect(resolver.resolve(host)).rejects.toMatchObject({ code: 'failed' });
    broken = false;
    expect((await resolver.resolve(host)).applicable).toEqual({ kind: 'none' });
  });
});
