import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AssayClient } from '../../client/sdk/client.ts';
import type { CheckedHost, Selection } from '../../client/sdk/resources.ts';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, noneWhileStale, policy } from '../support/deployment.ts';
import { eventually, run } from '../support/programs.ts';

let deployment: Deployment;
/** An orchestration engine that sees the hosts of one tenant. */
let engine: AssayClient;
let profile = '';
/** Of hosts that are labelled so: news or none within so many seconds. */
const VALIDITY = 4;
const GRACE = 2;

beforeAll(async () => {
  deployment = await Deployment.start();
  const patient = { interval: '1s', validity: '600s', disconnectGrace: '600s' };
  await deployment.operator.policies.apply(policy('base', { quote: patient }));
  const brisk = { interval: '1s', validity: `${VALIDITY}s`, disconnectGrace: `${GRACE}s` };
  await deployment.operator.policies.apply(
    policy('brisk', { quote: brisk, precedence: 1, selector: { matchLabels: { pace: 'brisk' } } }),
  );
  profile = join(deployment.directory, 'engine.json');
  const issue = ['identity', 'issue', 'engine', '--role', 'orchestrator', '--scope', 'tenant=red,zone=eu'];
  const issued = await deployment.assay(...issue, '--out', profile);
  if (issued.code !== 0) throw new Error(issued.stderr);
  engine = await deployment.connectAs(profile);
});

afterAll(async () => {
  engine?.close();
  await deployment?.[Symbol.asyncDispose]();
});

/** A host of the engine's tenant whose agent runs. */
async function startHost(more: Readonly<Record<string, string>> = {}): Promise<AttestedHost> {
  const host = await AttestedHost.enrolled(deployment);
  const labels = { tenant: 'red', zone: 'eu', ...more };
  await deployment.operator.hosts.update(host.id, { labels, nodeName: `n-${host.id}` });
  host.runAgent();
  await selected(host);
  return host;
}

async function selected(host: AttestedHost): Promise<CheckedHost> {
  return eventually('selectable host', async () => {
    const checked = await engine.placement.check({ host: host.id });
    return checked.selectable && (await names()).includes(host.id) ? checked : undefined;
  });
}

/** @param taken hears when it was asked for each answer that takes the host, milliseconds since 1970 */
async function refused(
  host: AttestedHost,
  what: string,
  taken: (asked: number) => void = () => undefined,
): Promise<CheckedHost> {
  return eventually(what, async () => {
    const asked = Date.now();
    const checked = await engine.placement.check({ nodeName: `n-${host.id}` });
    if (checked.selectable) taken(asked);
    return checked.selectable ? undefined : checked;
  });
}

async function select(explain = 0): Promise<Pick<Selection, 'hosts' | 'refused'>> {
  return engine.placement.select({ matchLabels: { zone: 'eu' } }, { count: 10, explain }).catch(noneWhileStale);
}

const names = async (): Promise<readonly string[]> =>
  (await select()).hosts.map(({ host }) => host.slice('hosts/'.length));

describe('a host', () => {
  it('that is tampered with leaves the selection, with the reason', async () => {
    await using host = await startHost();
    await host.tamper();
    expect(await refused(host, 'tampered host')).toMatchObject({
      reasons: ['STATUS_CONTRAINDICATED'],
      checkReasons: ['PCR_MISMATCH'],
    });
    expect(await names()).not.toContain(host.id);
    const told = await eventually('refusal that is told', async () =>
      (await select(10)).refused.find((each) => each.host.host === `hosts/${host.id}`),
    );
    expect(told).toMatchObject({ reasons: ['STATUS_CONTRAINDICATED'], checkReasons: ['PCR_MISMATCH'] });
  });

  it('that goes silent leaves it when its validity ends, and not before', async () => {
    await using host = await startHost({ pace: 'brisk' });
    await host.stopAgent('SIGKILL');
    let asked = 0;
    const gone = await refused(host, 'silent host', (at) => (asked = at));
    expect(gone.reasons).toEqual(['STATUS_NONE']);
    expect(gone.checkReasons).toEqual(['RESULT_EXPIRED']);
    expect(await names()).not.toContain(host.id);
    // Its last verdict, once the history has its end.
    const last = await eventually('end in the history', async () => {
      const { items } = await deployment.operator.results.page({ hosts: [host.id] }, { history: true });
      return items.find(({ status, connectivity }) => status === 'AFFIRMING' && connectivity === 'UNREACHABLE');
    });
    const end = last.validUntil?.getTime() ?? 0;
    expect(asked).toBeLessThan(end);
    expect(gone.answerTime?.getTime()).toBeGreaterThanOrEqual(end);
    // At least the grace, at most the whole validity.
    const held = (end - (last.challengeTime?.getTime() ?? 0)) / 1_000;
    expect(held).toBeGreaterThanOrEqual(GRACE);
    expect(held).toBeLessThanOrEqual(VALIDITY);
    host.runAgent();
    await selected(host);
  });

  it('that was rebooted into something else is out from the first evidence of it, until it has booted well again', async () => {
    await using host = await startHost();
    const before = (await deployment.operator.results.get(host.id)).revision;
    await host.stopAgent();
    await host.tpm.kill();
    await host.tpm.restart();
    await host.tamper();
    host.runAgent();
    await refused(host, 'rebooted host');
    const { revision } = await deployment.result(
      host.id,
      'verdict on the new boot',
      ({ status }) => status === 'CONTRAINDICATED',
    );
    expect(await names()).not.toContain(host.id);
    // Nothing that came of the new boot was ever good.
    const statuses: string[] = [];
    for await (const result of deployment.operator.results.list({ hosts: [host.id] }, { history: true })) {
      const late = result.revision > before && result.revision <= revision;
      if (late && result.connectivity === 'CONNECTED') statuses.push(result.status);
    }
    expect(statuses).toContain('CONTRAINDICATED');
    expect(statuses).not.toContain('AFFIRMING');
    await host.tpm.kill();
    await host.tpm.restart();
    await selected(host);
  });

  it('that enrols with a new key is out until it is appraised again', async () => {
    await using host = await startHost();
    await host.stopAgent();
    await selected(host);
    // The agent has lost its key: it makes another one and proves it over its present TLS identity.
    await host.editState((state) => {
      delete state['ak'];
    });
    const joined = await host.join(deployment);
    expect(joined).toMatchObject({ code: 0 });
    const checked = await engine.placement.check({ host: host.id });
    expect(checked.selectable).toBe(false);
    expect(await names()).not.toContain(host.id);
  });

  it('outside of the scope does not exist for the engine, by the SDK and on the command line', async () => {
    await using host = await startHost();
    await deployment.operator.hosts.update(host.id, { labels: { tenant: 'blue', zone: 'eu' } });
    expect(await names()).not.toContain(host.id);
    await expect(engine.placement.check({ host: host.id })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const asEngine = (...args: readonly string[]) => run('assay', ['placement', ...args, '--profile', profile]);
    expect(await asEngine('check', host.id)).toMatchObject({ code: 1, stdout: '' });
    const none = await asEngine('select', '--label', 'tenant=blue', '--explain', '5');
    expect(none.code).toBe(5);
    expect(none.stdout).toContain('no host is selectable');
    expect(none.stdout).not.toContain(host.id);
    const operator = await eventually('host in its new scope', async () => {
      const ended = await deployment.assay('placement', 'select', '--policy', 'base', '--label', 'tenant=blue');
      return ended.code === 0 ? ended : undefined;
    });
    expect(operator.stdout).toContain(host.id);
    expect(await deployment.assay('placement', 'check', `n-${host.id}`)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/selectable: +yes/) as string,
    });
    expect((await deployment.assay('identity', 'list')).stdout).toMatch(
      /^engine +ORCHESTRATOR +tenant=red,zone=eu +valid/m,
    );
  });
});
