import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { TrustStatus } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { PolicyChoice, PolicyStanding } from '../../../proto/gen/assay/v1/host_explanation_pb.ts';
import { TrustPolicyService, VectorClaim } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { SimulateTrustPolicyResponse } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { Labels } from '../../../server/store/records.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { StreamChange } from '../../support/stream-agent.ts';
import { dump, OPERATOR, putPolicy } from '../../support/test-service.ts';

let running: Running;
let channel: Channel;
let agents: StreamAgent[];
beforeEach(async () => {
  running = await startAssay();
  channel = running.connect(await running.identity('ada', ['operator']));
  agents = [];
});
afterEach(async () => {
  for (const agent of agents) await agent[Symbol.asyncDispose]();
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

const ZERO = '00'.repeat(32);
const ONES = '11'.repeat(32);
const rule = (index: number, allowed: string) => ({ bank: 'sha256', index, allowed: [allowed] });
const candidate = (change: object = {}) => ({
  case: 'trustPolicy' as const,
  value: { name: 'trustPolicies/base', selector: { allHosts: true }, pcrRules: [rule(7, ZERO)], ...change },
});

/** Says that it has booted anew, so that every bank and log is asked for. */
const BOOTED = { boot: { resetCount: 99, restartCount: 0 } };

/** An enrolled host with an open stream and a verdict. */
async function attested(
  labels: Labels = {},
  hello: StreamChange = {},
): Promise<{ readonly name: string; readonly agent: StreamAgent }> {
  const machine = await enrollMachine(running.house);
  await running.house.store.updateHost(machine.id, { labels }, { ...OPERATOR, version: null });
  const agent = new StreamAgent(running.house, machine, hello);
  agents.push(agent);
  await agent.round();
  return { name: `hosts/${machine.id}`, agent };
}

type Request = Parameters<ReturnType<typeof client>['simulateTrustPolicy']>[0];
const client = (through = channel) => through.client(TrustPolicyService);

async function simulate(request: Request, through = channel) {
  const events: SimulateTrustPolicyResponse['event'][] = [];
  for await (const { event } of client(through).simulateTrustPolicy(request)) events.push(event);
  const verdicts = events.flatMap((event) => (event.case === 'verdict' ? [event.value] : []));
  const last = events.at(-1);
  if (last?.case !== 'summary') throw new Error('the simulation ends without a summary');
  return { verdicts, summary: last.value };
}

describe('a simulation', () => {
  it('names whose verdict would change, to what and why, and changes nothing', async () => {
    await putPolicy(running.house.store);
    const { name } = await attested();
    const before = await dump(running.house.store);
    const { verdicts, summary } = await simulate({ change: candidate({ pcrRules: [rule(7, ONES)] }) });
    expect(verdicts).toMatchObject([
      {
        host: name,
        fromStatus: TrustStatus.AFFIRMING,
        fromTrustPolicy: 'trustPolicies/base',
        toTrustPolicy: 'trustPolicies/base',
        outcome: { case: 'toStatus', value: TrustStatus.CONTRAINDICATED },
        checks: [{ id: 'pcr.sha256.7', reason: 'PCR_MISMATCH', observed: ZERO, expected: ONES }],
      },
    ]);
    expect(summary).toMatchObject({
      hostCount: 1n,
      concernedCount: 1n,
      worseCount: 1n,
      transitions: [{ fromStatus: TrustStatus.AFFIRMING, toStatus: TrustStatus.CONTRAINDICATED, hostCount: 1n }],
    });
    expect(await dump(running.house.store)).toEqual(before);
  });

  it('judges expressions over what is kept, and says of the TPM itself that it is not', async () => {
    await putPolicy(running.house.store);
    const { name } = await attested({ role: 'compute' });
    const expressed = async (expression: string) => {
      const rule = { id: 'said', expression, claim: VectorClaim.CONFIGURATION };
      return (await simulate({ change: candidate({ expressions: [rule] }) })).verdicts;
    };
    expect(await expressed('host.labels["role"] == "compute"')).toEqual([]);
    expect(await expressed(`pcrs.sha256[7] == "${ONES}"`)).toMatchObject([
      { host: name, outcome: { case: 'toStatus', value: TrustStatus.CONTRAINDICATED } },
    ]);
    expect(await expressed('tpm.firmware_version > 0')).toMatchObject([
      { host: name, outcome: { case: 'unknown', value: { reason: 'KEPT_EVIDENCE_MISSING' } } },
    ]);
  });

  it('says of a PCR that was not quoted since the boot what it assumes, and of none that it affirms', async () => {
    await putPolicy(running.house.store, { pcrRules: [{ ...rule(7, ONES), severity: undefined, message: '' }] });
    const { name } = await attested({}, BOOTED);
    const { verdicts, summary } = await simulate({ change: candidate({ pcrRules: [rule(8, ZERO)] }) });
    expect(verdicts).toMatchObject([
      {
        host: name,
        outcome: { case: 'assumedStatus', value: TrustStatus.AFFIRMING },
        formerChecks: [{ id: 'pcr.sha256.7' }],
        assumedPcrs: [{ bank: 'sha256', index: 8 }],
      },
    ]);
    expect(summary).toMatchObject({ betterCount: 1n, assumedCount: 1n });
  });

  it('cannot say it of a PCR that no quote covered, of a host that went away, and of one without evidence', async () => {
    await putPolicy(running.house.store);
    const { name, agent } = await attested();
    const ima = await simulate({ change: candidate({ pcrRules: [rule(10, ZERO)] }) });
    expect(ima.verdicts).toMatchObject([{ host: name, outcome: { value: { reason: 'KEPT_PCR_UNKNOWN' } } }]);
    expect(ima.summary).toMatchObject({ unknownCount: 1n, unknownTrustedCount: 1n, worseCount: 0n });
    await agent[Symbol.asyncDispose]();
    running.house.clock.advance(200_000);
    const stale = await simulate({ change: candidate() });
    expect(stale.verdicts).toMatchObject([{ outcome: { value: { reason: 'KEPT_EVIDENCE_STALE' } } }]);
    const silent = await enrollMachine(running.house);
    const none = await simulate({ change: candidate(), hosts: [`hosts/${silent.id}`] });
    expect(none.verdicts).toMatchObject([
      { outcome: { value: { reason: 'KEPT_EVIDENCE_MISSING', observed: 'AWAITING_EVIDENCE' } } },
    ]);
  });

  it('knows no boot where none is kept, and what the host cannot read it does not expect to read', async () => {
    await putPolicy(running.house.store);
    const { name } = await attested();
    const unreadable = await attested({}, BOOTED);
    const { verdicts } = await simulate({ change: candidate({ pcrRules: [], boot: { secureBoot: {} } }) });
    const outcomes = new Map(verdicts.map((verdict) => [verdict.host, verdict]));
    expect(outcomes.get(name)?.outcome).toMatchObject({ case: 'unknown', value: { reason: 'KEPT_BOOT_UNKNOWN' } });
    expect(outcomes.get(unreadable.name)).toMatchObject({
      outcome: { case: 'toStatus', value: TrustStatus.NONE },
      checks: [{ reason: 'BOOT_LOG_UNREADABLE' }, { reason: 'BOOT_UNVERIFIED' }],
    });
  });

  it('says which policy would judge whom: by precedence, by collision, and when one is deleted', async () => {
    await putPolicy(running.house.store);
    await putPolicy(running.house.store, {
      id: 'gpu',
      precedence: 1,
      selector: { allHosts: false, matchLabels: { k: 'gpu' } },
    });
    const { name } = await attested({ k: 'gpu' });
    await attested();
    const judges = async (request: Request) => (await simulate(request)).summary.judges;
    expect(await judges({ change: candidate({ precedence: 2 }) })).toMatchObject([
      { fromTrustPolicy: 'trustPolicies/base', toTrustPolicy: 'trustPolicies/base' },
      { fromTrustPolicy: 'trustPolicies/gpu', toTrustPolicy: 'trustPolicies/base' },
    ]);
    const collision = await simulate({ change: candidate({ name: 'trustPolicies/new', precedence: 1 }) });
    expect(collision.verdicts).toMatchObject([
      { host: name, toTrustPolicy: '', checks: [{ reason: 'POLICY_AMBIGUOUS' }] },
    ]);
    expect(collision.summary.judges).toContainEqual(
      expect.objectContaining({ fromTrustPolicy: 'trustPolicies/gpu', toTrustPolicy: '', ambiguous: true }),
    );
    const deleted = await simulate({ change: { case: 'deletedTrustPolicy', value: 'trustPolicies/base' } });
    expect(deleted.summary).toMatchObject({ hostCount: 2n, concernedCount: 1n, worseCount: 1n });
    expect(deleted.verdicts).toMatchObject([{ checks: [{ reason: 'POLICY_MISSING' }] }]);
  });

  it('looks at the hosts in the scope and the filter alone, and counts those that it does not list', async () => {
    await putPolicy(running.house.store);
    const red = await attested({ tenant: 'red', row: '1' });
    await attested({ tenant: 'red', row: '2' });
    await attested({ tenant: 'blue', row: '1' });
    const change = candidate({ pcrRules: [rule(7, ONES)] });
    const scoped = running.connect(await running.identity('rita', ['auditor'], { tenant: 'red' }));
    expect((await simulate({ change }, scoped)).summary).toMatchObject({ hostCount: 2n, worseCount: 2n });
    const row = await simulate({ change, matchLabels: { row: '1' } }, scoped);
    expect(row.verdicts.map(({ host }) => host)).toEqual([red.name]);
    const bounded = await simulate({ change, maxVerdicts: 1 });
    expect(bounded.verdicts).toHaveLength(1);
    expect(bounded.summary).toMatchObject({ worseCount: 3n, unlistedCount: 2n });
  });

  it('refuses what it does not understand, with the place', async () => {
    const refused = async (request: Request) => {
      const { code, reason, fieldViolations } = await failure(simulate(request));
      return [code, reason, fieldViolations[0]?.field];
    };
    const invalid = 'INVALID_ARGUMENT';
    expect(await refused({})).toEqual([invalid, 'INVALID_FIELD', 'change']);
    expect(await refused({ change: candidate({ pcrRules: [] }) })).toEqual([
      invalid,
      'POLICY_INVALID',
      'trust_policy.pcr_rules',
    ]);
    expect(await refused({ change: { case: 'deletedTrustPolicy', value: 'base' } })).toEqual([
      invalid,
      'INVALID_FIELD',
      'deleted_trust_policy',
    ]);
    expect(await refused({ change: candidate(), maxVerdicts: 10_001 })).toEqual([
      invalid,
      'INVALID_FIELD',
      'max_verdicts',
    ]);
    expect(await refused({ change: candidate(), hosts: ['h-1'] })).toEqual([invalid, 'INVALID_FIELD', 'hosts[0]']);
    expect(await refused({ change: { case: 'deletedTrustPolicy', value: 'trustPolicies/gone' } })).toEqual([
      'NOT_FOUND',
      'NOT_FOUND',
      undefined,
    ]);
  });

  it('runs once for each caller, ends with its call, and makes room for the next', async () => {
    await putPolicy(running.house.store);
    for (let count = 0; count < 3; count++) await enrollMachine(running.house);
    const listHosts = running.house.store.listHosts.bind(running.house.store);
    const held = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    Object.assign(running.house.store, {
      listHosts: async (...args: Parameters<typeof listHosts>) => {
        asked.resolve();
        await held.promise;
        return listHosts(...args);
      },
    });
    const ending = new AbortController();
    const first = (async () => {
      for await (const _ of client().simulateTrustPolicy({ change: candidate() }, { signal: ending.signal }));
    })();
    await asked.promise;
    expect(await failure(simulate({ change: candidate() }))).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'SIMULATION_BUSY',
    });
    ending.abort();
    expect(await failure(first)).toMatchObject({ code: 'CANCELLED' });
    held.resolve();
    await expect
      .poll(async () => (await simulate({ change: candidate() }).catch(() => null))?.summary.hostCount)
      .toBe(3n);
  });
});

describe('an explanation', () => {
  const explain = async (host: string) => {
    const { explanation } = await client().explainHost({ host });
    if (explanation === undefined) throw new Error('no explanation');
    return explanation;
  };

  it('says which policy judges the host and why it, which lost, what it requires and what is missing', async () => {
    await putPolicy(running.house.store);
    await putPolicy(running.house.store, {
      id: 'gpu',
      precedence: 3,
      selector: { allHosts: false, matchLabels: { k: 'gpu' } },
      pcrRules: [
        { ...rule(7, ZERO), severity: undefined, message: '' },
        { ...rule(8, ONES), severity: undefined, message: 'Call Ada.' },
      ],
    });
    const { name } = await attested({ k: 'gpu' });
    const explanation = await explain(name);
    expect(explanation).toMatchObject({
      host: name,
      choice: PolicyChoice.SELECTED,
      trustPolicy: 'trustPolicies/gpu',
      trustPolicyVersion: 1n,
      candidates: [
        { name: 'trustPolicies/gpu', precedence: 3, selects: true, standing: PolicyStanding.JUDGES },
        { name: 'trustPolicies/base', precedence: 0, selects: true, standing: PolicyStanding.OUTRANKED },
      ],
      result: { status: TrustStatus.CONTRAINDICATED, host: name },
      inputs: [{ name: 'engine' }, { name: 'trustPolicies/gpu', version: 1n }, { name: 'endorsements' }],
    });
    expect(explanation.appraisalInputDigest).toBe(explanation.result?.appraisalInputDigest);
    expect(explanation.requirements.map(({ check }) => [check?.id, check?.reason])).toEqual([
      ['endorsement', ''],
      ['pcr-banks', ''],
      [undefined, undefined],
      ['pcr.sha256.7', ''],
      ['pcr.sha256.8', 'PCR_MISMATCH'],
    ]);
    expect(explanation.requirements[4]?.description).toMatch(/^PCR 8 of the sha256 bank holds 1111/);
    expect(explanation.missing).toEqual([expect.stringMatching(/PCR 8 .*Call Ada\.$/)]);
    expect(explanation.otherChecks.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['quote', 'clock', 'pcr-digest', 'policy', 'boot-log']),
    );
  });

  it('says that a named policy is not there, and that selectors are not asked then', async () => {
    await putPolicy(running.house.store);
    const { name, agent } = await attested();
    await running.house.store.updateHost(name.slice(6), { trustPolicy: 'gone' }, { ...OPERATOR, version: null });
    await agent.round();
    expect(await explain(name)).toMatchObject({
      choice: PolicyChoice.NAMED_MISSING,
      trustPolicy: '',
      candidates: [{ name: 'trustPolicies/base', standing: PolicyStanding.NOT_ASKED }],
      requirements: [],
      missing: [expect.stringContaining('No trust policy')],
    });
  });

  it('names those that tie, and takes no verdict of another policy for one of this', async () => {
    await putPolicy(running.house.store);
    const { name, agent } = await attested();
    await agent[Symbol.asyncDispose]();
    await putPolicy(running.house.store, { id: 'twin' });
    expect(await explain(name)).toMatchObject({
      choice: PolicyChoice.AMBIGUOUS,
      candidates: [{ standing: PolicyStanding.TIED }, { standing: PolicyStanding.TIED }],
    });
    await running.house.store.deletePolicy('twin', { ...OPERATOR, expected: 'any' });
    const again = await explain(name);
    expect(again.requirements.every(({ check }) => check === undefined)).toBe(true);
    expect(again.appraisalInputDigest).not.toBe(again.result?.appraisalInputDigest);
    expect(again.missing).toEqual([expect.stringContaining('has not been judged anew yet')]);
  });
});
