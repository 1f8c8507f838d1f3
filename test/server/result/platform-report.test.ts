import { describe, expect, it } from 'vitest';

import { PlatformReporter, reportPlatform } from '../../../server/result/platform-report.ts';
import type { PlatformReport } from '../../../server/result/platform-report.ts';
import type { CheckRecord, PlatformRecord, ResultRecord } from '../../../server/store/records.ts';

const EMPTY: PlatformRecord = {
  ...{
    time: 5,
    revision: 3,
    groups: [],
    oldestChallenge: null,
    earliestValidUntil: null,
    exceptions: [],
    policies: [],
  },
};

async function reportOf(record: Partial<PlatformRecord>): Promise<PlatformReport> {
  const platform = () => Promise.resolve({ ...EMPTY, ...record });
  return reportPlatform({ platform, deployment: 'd-a' }, { selectors: [{ a: 'b' }, {}], maxExceptions: 10 });
}

const check = (index: number, change: Partial<CheckRecord> = {}): CheckRecord => ({
  ...{ id: `pcr.sha256.${index}`, outcome: 'failed', reason: 'PCR_MISMATCH', observed: '', expected: '', message: 'm' },
  ...change,
});
const result = (checks: readonly CheckRecord[]): ResultRecord => ({ hostId: 'h-a', checks }) as ResultRecord;

const body = (rules: number, message = ''): string =>
  JSON.stringify({
    ...{ id: 'base', description: 'what it is for', selector: null, precedence: 0 },
    quote: { interval: 1000, validity: 1000, disconnectGrace: 1000, allowUnprovenBanks: false, allowUnendorsed: false },
    pcrRules: Array.from({ length: rules }, (_, index) => ({
      ...{ bank: 'sha256', index, allowed: ['00'.repeat(32)], severity: 'warning', message },
    })),
  });
const attachment = { matchLabels: {}, allHosts: true, precedence: 0 };
const base = { id: 'base', version: 2, attachment, references: [], createTime: 0 };

describe('the report of the platform', () => {
  it('adds up: by status over all policies, and for each policy', async () => {
    const report = await reportOf({
      groups: [
        { policyId: '', policyVersion: 0, status: 'none', hosts: 4 },
        { policyId: 'base', policyVersion: 1, status: 'affirming', hosts: 10 },
        { policyId: 'base', policyVersion: 2, status: 'affirming', hosts: 3 },
        { policyId: 'base', policyVersion: 2, status: 'contraindicated', hosts: 2 },
      ],
      policies: [{ ...base, body: body(1) }],
    });
    expect(report.hosts).toEqual({ none: 4, affirming: 13, warning: 0, contraindicated: 2 });
    expect(report.exceptions).toEqual({ listed: [], total: 6 });
    expect(report.policies.total).toBe(2);
    expect(report.matchLabels).toEqual({ a: 'b' });
    expect(report.policies.listed).toMatchObject([
      { id: 'base', version: 2, hosts: { none: 0, affirming: 3, warning: 0, contraindicated: 2 } },
    ]);
  });

  it('tells why a host is not affirmed by the checks that did not pass, four of them', async () => {
    const checks = [...[1, 2, 3, 4, 5].map((index) => check(index)), check(6, { outcome: 'passed', reason: '' })];
    const { exceptions } = await reportOf({ exceptions: [result(checks)] });
    expect(exceptions.listed[0]?.reasons.total).toBe(5);
    expect(exceptions.listed[0]?.reasons.listed.map(({ id }) => id)).toEqual(
      [1, 2, 3, 4].map((n) => `pcr.sha256.${n}`),
    );
  });

  it('is read once for all who ask for the same at once, and anew for who comes later', async () => {
    let reads = 0;
    const platform = () => Promise.resolve({ ...EMPTY, revision: ++reads });
    const reporter = new PlatformReporter({ platform, deployment: 'd-a', now: () => 0 });
    const ask = async (zone: string): Promise<number> =>
      (await reporter.report({ selectors: [{ zone }], maxExceptions: 1 })).revision;
    expect(await Promise.all([ask('n'), ask('n'), ask('s')])).toEqual([1, 1, 2]);
    expect(await ask('n')).toBe(3);
  });

  it('is asked for anew after a read that failed', async () => {
    let reads = 0;
    const platform = () => (reads++ === 0 ? Promise.reject(new Error('no')) : Promise.resolve(EMPTY));
    const reporter = new PlatformReporter({ platform, deployment: 'd-a', now: () => 0 });
    const demand = { selectors: [], maxExceptions: 1 };
    await expect(reporter.report(demand)).rejects.toThrow('no');
    expect(await reporter.report(demand)).toMatchObject({ deployment: 'd-a' });
  });

  it('cuts what is very long, at a character', async () => {
    const { exceptions } = await reportOf({ exceptions: [result([check(1, { message: `a${'€'.repeat(500)}` })])] });
    expect(exceptions.listed[0]?.reasons.listed[0]?.message).toBe(`a${'€'.repeat(85)}…`);
  });

  it('lists 32 requirements of a policy and says how many it has', async () => {
    const groups = [{ policyId: 'base', policyVersion: 2, status: 'affirming' as const, hosts: 1 }];
    const { policies } = await reportOf({ groups, policies: [{ ...base, body: body(100, 'x'.repeat(512)) }] });
    const [{ requirements } = { requirements: { listed: [], total: 0 } }] = policies.listed;
    expect(requirements.total).toBe(103);
    expect(requirements.listed).toHaveLength(32);
    for (const sentence of requirements.listed) expect(Buffer.byteLength(sentence)).toBeLessThanOrEqual(515);
  });
});
