import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AssayClient } from '../../client/sdk/client.ts';
import type { CheckedHost, Selection } from '../../client/sdk/resources.ts';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy } from '../support/deployment.ts';
import { eventually, run } from '../support/programs.ts';

let deployment: Deployment;
/** An orchestration engine that sees the hosts of one tenant. */
let engine: AssayClient;
let profile = '';

beforeAll(async () => {
  deployment = await Deployment.start();
  // News or none within seconds.
  const quote = { interval: '1s', validity: '4s', disconnectGrace: '2s' };
  await deployment.operator.policies.apply(policy('base', { quote }));
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
async function startHost(): Promise<AttestedHost> {
  const host = await AttestedHost.enrolled(deployment);
  await deployment.operator.hosts.update(host.id, { labels: { tenant: 'red', zone: 'eu' }, nodeName: `n-${host.id}` });
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

async function refused(host: AttestedHost, what: string): Promise<CheckedHost> {
  return eventually(what, async () => {
    const checked = await engine.placement.check({ nodeName: `n-${host.id}` });
    return checked.selectable ? undefined : checked;
  });
}

async function select(explain = 0): Promise<Selection> {
  return engine.placement.select({ trustPolicy: 'base', matchLabels: { zone: 'eu' } }, { count: 10, explain });
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
    await using host = await startHost();
    const { host: known } = await selected(host);
    await host.stopAgent('SIGKILL');
    const gone = await refused(host, 'silent host');
    expect(gone.reasons).toEqual(['STATUS_NONE']);
    expect(gone.checkReasons).toEqual(['RESULT_EXPIRED']);
    expect(await names()).not.toContain(host.id);
    // At least the grace of what was last known, at most the whole validity of a round that came after it.
    const left = (gone.answerTime?.getTime() ?? 0) - (known.challengeTime?.getTime() ?? 0);
    expect(left).toBeGreaterThan(1_900);
    expect(left).toBeLessThan(10_000);
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
    const operator = await deployment.assay('placement', 'select', '--policy', 'base', '--label', 'tenant=blue');
    expect(operator).toMatchObject({ code: 0, stdout: expect.stringContaining(host.id) as string });
    expect(await deployment.assay('placement', 'check', `n-${host.id}`)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/selectable: +yes/) as string,
    });
    expect((await deployment.assay('identity', 'list')).stdout).toMatch(
      /^engine +ORCHESTRATOR +tenant=red,zone=eu +valid/m,
    );
  });
});
