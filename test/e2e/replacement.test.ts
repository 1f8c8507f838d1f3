import { readFile, rm, stat } from 'node:fs/promises';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AttestationResult } from '../../client/sdk/resources.ts';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { eventually, start } from '../support/programs.ts';

let deployment: Deployment;

beforeAll(async () => {
  deployment = await Deployment.start();
  await deployment.operator.policies.apply(policy('base'));
});

afterAll(() => deployment?.[Symbol.asyncDispose]());

async function attesting(): Promise<AttestedHost> {
  const host = await AttestedHost.enrolled(deployment);
  host.runAgent();
  await affirmed(host);
  return host;
}

function standing(result: AttestationResult): readonly string[] {
  return [result.status, ...reasons(result)];
}

function affirmed(host: AttestedHost) {
  return deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
}

describe('a host that lost its AK', () => {
  it('and kept its TLS key gets a new one by itself, and is not affirmed until an operator acknowledges it', async () => {
    await using host = await attesting();
    await host.stopAgent();
    const before = await deployment.operator.hosts.get(host.id);

    await host.editState((state) => delete state['ak']);
    const agent = host.runAgent();
    await agent.logged(({ event }) => event === 'enrolled', 'an enrolment');
    const replaced = await deployment.result(host.id, 'verdict on the new AK', (result) =>
      result.checks.some(({ reason, id }) => id === 'standing' && reason === 'AK_REPLACED'),
    );
    expect(replaced.status).not.toBe('AFFIRMING');
    const after = await deployment.operator.hosts.get(host.id);
    expect(after).toMatchObject({ state: 'ACTIVE', findings: ['AK_REPLACED'], createTime: before.createTime });
    expect(after.akName).not.toBe(before.akName);

    const acknowledged = await deployment.assay('host', 'approve', host.id, '--acknowledge');
    expect(acknowledged).toMatchObject({ code: 0, stderr: '' });
    await affirmed(host);
    expect((await deployment.operator.hosts.get(host.id)).findings).toEqual([]);
  });

  it('and its TLS key waits for approval, and changes nothing until then', async () => {
    await using host = await attesting();
    await host.stopAgent();
    const before = await deployment.operator.hosts.get(host.id);

    await rm(host.state, { recursive: true });
    expect(await host.join(deployment)).toMatchObject({
      code: 0,
      stdout: `${host.id}: the new attestation key waits for approval (assay host approve ${host.id})\n`,
    });
    const waiting = await deployment.operator.hosts.get(host.id);
    expect(waiting.pendingAkName).toMatch(/^000b[0-9a-f]{64}$/);
    expect(waiting).toMatchObject({ akName: before.akName, findings: [], state: 'ACTIVE' });

    const agent = host.runAgent();
    await agent.logged(({ event }) => event === 'replacement_pending', 'an agent that waits');
    // To let the key in is one decision; to trust the host as before is another.
    const approved = await deployment.assay('host', 'approve', host.id);
    expect(approved).toMatchObject({ code: 0, stderr: '' });
    await agent.logged(({ event }) => event === 'enrolled', 'an enrolment');
    const replaced = await deployment.result(host.id, 'verdict', ({ trustPolicy }) => trustPolicy !== '');
    expect(reasons(replaced)).toEqual(['AK_REPLACED']);
    expect((await deployment.assay('host', 'approve', host.id, '--acknowledge')).code).toBe(0);
    await affirmed(host);
    expect(await deployment.operator.hosts.get(host.id)).toMatchObject({
      akName: waiting.pendingAkName,
      pendingAkName: '',
      findings: [],
    });
  });
});

describe('a host that is revoked', () => {
  it('is contraindicated at once, its stream ends, and it does not come back until it is deleted', async () => {
    await using host = await attesting();
    await using watch = start('assay', ['result', 'watch', host.id, '--profile', deployment.profile]);
    await eventually('present results', () => (watch.stdout.includes('changes follow') ? true : undefined));

    const revoked = await deployment.assay('host', 'revoke', host.id, '--reason', 'stolen');
    expect(revoked).toMatchObject({ code: 0, stderr: '' });
    expect(revoked.stdout).toMatch(/^state: +REVOKED$/m);
    expect(standing(await deployment.operator.results.get(host.id))).toEqual(['CONTRAINDICATED', 'HOST_REVOKED']);
    await deployment.result(host.id, 'end of its stream', ({ connectivity }) => connectivity === 'UNREACHABLE');

    // The agent comes back later and later, for an operator may delete the host; nothing of it reaches the service's results.
    const told = await host.agent.logged(({ event }) => event === 'host_revoked', 'an agent that knows');
    expect(told['retryMillis']).toBeGreaterThanOrEqual(300_000);
    expect(await host.stopAgent()).toMatchObject({ code: 0 });
    const banned = await host.join(deployment);
    expect(banned).toMatchObject({ code: 6, stdout: '' });
    expect(banned.stderr).toMatch(/^assay: HOST_REVOKED: /);
    await rm(host.state, { recursive: true });
    expect(await host.join(deployment)).toMatchObject({ code: 6, stdout: '' });
    expect(standing(await deployment.operator.results.get(host.id))).toEqual(['CONTRAINDICATED', 'HOST_REVOKED']);

    expect(await deployment.assay('host', 'delete', host.id)).toMatchObject({
      code: 0,
      stdout: `deleted ${host.id}\n`,
    });
    await eventually('removal', () => (watch.stdout.includes('left the watch: DELETED') ? true : undefined));
    expect(await host.join(deployment)).toMatchObject({ code: 0, stdout: `enrolled as ${host.id} (ACTIVE)\n` });
    host.runAgent();
    await affirmed(host);
  });
});

describe('a host that is deleted', () => {
  it('while its agent runs is enrolled anew, without what was known of it', async () => {
    await using host = await attesting();
    await deployment.operator.hosts.update(host.id, { labels: { rack: 'a1' }, nodeName: 'node-1' });
    await affirmed(host);

    await deployment.operator.hosts.delete(host.id);
    await host.agent.logged(({ event }) => event === 'enrolled', 'an enrolment');
    await affirmed(host);
    expect(await deployment.operator.hosts.get(host.id)).toMatchObject({ labels: {}, nodeName: '', findings: [] });
  });
});

describe("the operator's name for a host", () => {
  it('is one host’s at a time', async () => {
    await using first = await AttestedHost.enrolled(deployment);
    await using second = await AttestedHost.enrolled(deployment);
    expect(await deployment.assay('host', 'name', first.id, 'node-7')).toMatchObject({ code: 0 });
    const taken = await deployment.assay('host', 'name', second.id, 'node-7');
    expect(taken).toMatchObject({ code: 1, stdout: '' });
    expect(taken.stderr).toMatch(/^assay: ALREADY_EXISTS: /);
    expect(await deployment.assay('host', 'name', first.id)).toMatchObject({ code: 0 });
    expect(await deployment.assay('host', 'name', second.id, 'node-7')).toMatchObject({ code: 0 });
  });
});

describe('the state of an agent', () => {
  it('is readable to its owner alone', async () => {
    await using host = await AttestedHost.enrolled(deployment);
    const state = await readFile(`${host.state}/state.json`, 'utf8');
    expect(state).toContain('PRIVATE KEY');
    expect((await stat(host.state)).mode & 0o777).toBe(0o700);
    expect((await stat(`${host.state}/state.json`)).mode & 0o777).toBe(0o600);
  });
});
