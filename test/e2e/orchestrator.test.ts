/** An orchestration engine in Go, made of generated code alone, places workloads on real hosts and evacuates them. */
import { createPublicKey } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy } from '../support/deployment.ts';
import { isBuilt, startExample, withStrangersAuthority } from '../support/examples.ts';
import { eventually } from '../support/programs.ts';
import type { LogFields, RunningProgram } from '../support/programs.ts';

it.runIf(process.env['CI'] === 'true')('the engine in Go is built', () => {
  expect(isBuilt('go'), 'npm test builds it by the commands of docs/sdks.md where Go 1.21 or newer is').toBe(true);
});

describe.runIf(isBuilt('go'))('an orchestration engine in Go', () => {
  let deployment: Deployment;
  let profile: string;
  let workloads: string;
  let state: string;
  /** Two hosts in rack a, one in rack b, and one of another cluster. */
  let hosts: readonly AttestedHost[];
  let outsider: AttestedHost;
  let engine: RunningProgram;

  beforeAll(async () => {
    deployment = await Deployment.start();
    // A stream that is lost makes a host unknown within seconds.
    const quote = { interval: '1s', validity: '20s', disconnectGrace: '2s' };
    await deployment.operator.policies.apply(policy('base', { quote }));
    profile = join(deployment.directory, 'engine.json');
    const issue = ['identity', 'issue', 'engine', '--role', 'orchestrator', '--scope', 'cluster=c1'];
    const issued = await deployment.assay(...issue, '--out', profile);
    if (issued.code !== 0) throw new Error(issued.stderr);
    hosts = await Promise.all(['a', 'a', 'b'].map((rack) => startHost({ cluster: 'c1', zone: 'eu', rack })));
    outsider = await startHost({ cluster: 'c2', zone: 'eu', rack: 'c' });
    // Each took the verdicts of those before it back by the anchors of its TPM.
    await deployment.selectable([...hosts, outsider].map(({ id }) => id));
    const payments = {
      ...{ name: 'payments', replicas: 2, tier: 'AFFIRMING', policy: 'base' },
      ...{ labels: { zone: 'eu' }, spread_by: 'rack', maximum_age_seconds: 60 },
    };
    workloads = await deployment.file('workloads.json', JSON.stringify([payments]));
    state = join(deployment.directory, 'state.json');
    engine = startEngine();
  });

  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    for (const host of [...(hosts ?? []), outsider]) await host?.[Symbol.asyncDispose]();
    await deployment?.[Symbol.asyncDispose]();
  });

  async function startHost(labels: Readonly<Record<string, string>>): Promise<AttestedHost> {
    const host = await AttestedHost.enrolled(deployment);
    await deployment.operator.hosts.update(host.id, { labels });
    host.runAgent();
    await affirmed(host);
    return host;
  }

  function affirmed(host: AttestedHost) {
    return deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
  }

  function startEngine(...options: readonly string[]): RunningProgram {
    return startExample('go', ['-profile', profile, '-workloads', workloads, '-state', state, ...options]);
  }

  function told(msg: string, after: number, host?: AttestedHost): Promise<LogFields> {
    const wanted = (line: LogFields): boolean =>
      line['msg'] === msg && (host === undefined || line['host'] === `hosts/${host.id}`);
    return engine.logged(wanted, `line that says: ${msg}`, after);
  }

  function messages(after = 0): readonly unknown[] {
    return engine.log.slice(after).map(({ msg }) => msg);
  }

  /** Hosts that hold a replica, as the engine wrote them down. */
  async function held(): Promise<readonly string[]> {
    const { bindings } = JSON.parse(await readFile(state, 'utf8')) as { bindings: readonly { host: string }[] };
    return bindings.map(({ host }) => host.slice('hosts/'.length));
  }

  async function holding(count: number): Promise<readonly string[]> {
    return eventually(
      `${count} replicas on hosts`,
      async () => {
        const present = await held().catch(() => []);
        return present.length === count ? present : undefined;
      },
      () => engine.stderr,
    );
  }

  /** One of the hosts, by what the engine has there. */
  async function find(rack: 'a' | 'b', uses: boolean): Promise<AttestedHost> {
    const present = await held();
    const found = (rack === 'a' ? hosts.slice(0, 2) : hosts.slice(2)).find(({ id }) => present.includes(id) === uses);
    if (found === undefined) throw new Error(`rack ${rack} has no such host`);
    return found;
  }

  async function reboot(host: AttestedHost): Promise<void> {
    await host.tpm.kill();
    await host.tpm.restart();
  }

  it('places replicas on hosts of its cluster, spread over racks', async () => {
    const present = await holding(2);
    expect(present).toContain(hosts[2]?.id);
    expect(present).not.toContain(outsider.id);
    expect(new Set(present).size).toBe(2);
  });

  it('evacuates a host that is tampered with, and places the replica on another one of the rack', async () => {
    const [tampered, spare] = [await find('a', true), await find('a', false)];
    const after = engine.log.length;
    await tampered.tamper();
    expect(await told('a host is contraindicated', after, tampered)).toMatchObject({ reasons: ['PCR_MISMATCH'] });
    await told('a replica was stopped', after, tampered);
    await told('a replica is bound', after, spare);
    await told('a replica runs', after, spare);
    expect([...(await held())].sort()).toEqual([spare.id, hosts[2]?.id].sort());
  });

  it('outlives a restart of the service, and loses nothing of what it watches', async () => {
    const after = engine.log.length;
    await deployment.stop('SIGKILL');
    await told('the watch is interrupted', after);
    await deployment.serve();
    const bad = await find('b', true);
    await bad.tamper();
    await told('a replica is evacuated', after, bad);
    expect(messages(after)).not.toContain('all results are asked for');
  });

  it('tells why a replica waits, and places it when a host has booted well again', async () => {
    const after = engine.log.length;
    // The first line may come of counts that are a second old.
    const both = ({ msg, refused }: LogFields): boolean =>
      msg === 'a replica waits for a host' && (refused as Record<string, unknown>)['STATUS_CONTRAINDICATED'] === 2;
    await engine.logged(both, 'replica that waits because two hosts are contraindicated', after);
    const good = await find('a', false);
    await reboot(good);
    await told('a replica is bound', after, good);
    expect(await holding(2)).toContain(good.id);
  });

  it('knows after its own end what runs where, and what happened meanwhile', async () => {
    await engine.stop('SIGKILL');
    const before = await held();
    const bad = await find('a', true);
    await bad.tamper();
    await deployment.result(bad.id, 'contraindicated host', ({ status }) => status === 'CONTRAINDICATED');
    engine = startEngine();
    await told('a replica is evacuated', 0, bad);
    const runs = engine.log.filter(({ msg }) => msg === 'a replica runs').map(({ host }) => host);
    expect(runs.slice(0, 2)).toEqual(before.map((id) => `hosts/${id}`));
    expect(messages()).not.toContain('all results are asked for');
    // The one in rack b first, and until the replica is there: else the other may be good again before it.
    const [, , spread] = hosts;
    if (spread === undefined) throw new TypeError('three hosts were started');
    await reboot(spread);
    expect(await holding(2)).toContain(spread.id);
    await reboot(bad);
    await affirmed(bad);
  });

  it('begins anew where the service cannot resume, and keeps what runs', async () => {
    const before = await holding(2);
    await engine.stop();
    const { key } = JSON.parse(await readFile(profile, 'utf8')) as { key: string };
    const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
    const scope = { matchLabels: { cluster: 'c1', zone: 'eu' } };
    await deployment.operator.identities.issue('engine', { roles: ['ORCHESTRATOR'], publicKey, scope });
    engine = startEngine();
    const { error } = await told('the watch is interrupted', 0);
    expect(error).toContain('OutOfRange SCOPE_CHANGED');
    await told('all results are known', 0);
    expect(await held()).toEqual(before);
    expect(messages()).not.toContain('a replica is evacuated');
  });

  it('learns after a list that a host was contraindicated before it went silent, and evacuates it', async () => {
    await holding(2);
    await engine.stop();
    const bad = await find('b', true);
    await bad.tamper();
    await deployment.result(bad.id, 'contraindicated host', ({ status }) => status === 'CONTRAINDICATED');
    await bad.stopAgent('SIGKILL');
    await deployment.result(bad.id, 'silent host', ({ status }) => status === 'NONE');
    // As if the service no longer went back so far.
    const kept = JSON.parse(await readFile(state, 'utf8')) as Record<string, unknown>;
    await writeFile(state, JSON.stringify({ ...kept, resume_token: '' }));
    engine = startEngine();
    expect(await told('a host was contraindicated before it went silent', 0, bad)).toMatchObject({
      reasons: ['PCR_MISMATCH'],
    });
    await told('a replica is evacuated', 0, bad);
    expect(await holding(2)).not.toContain(bad.id);
    await reboot(bad);
    bad.runAgent();
    await affirmed(bad);
  });

  it('leaves what runs on a host of which nothing is known', async () => {
    const after = engine.log.length;
    const silent = await find('a', true);
    await silent.stopAgent('SIGKILL');
    await told('nothing is known of a host that is in use', after, silent);
    silent.runAgent();
    await affirmed(silent);
    expect(messages(after)).not.toContain('a replica is evacuated');
    expect(await held()).toContain(silent.id);
  });

  it('takes no answer from a service of another CA', async () => {
    const stranger = await deployment.file('stranger.json', await withStrangersAuthority(profile));
    const files = ['-workloads', workloads, '-state', join(deployment.directory, 'strangers-state.json')];
    await using other = startExample('go', ['-profile', stranger, ...files]);
    const { error } = await other.logged(({ msg }) => msg === 'placement is not available', 'refused service');
    expect(error).toContain('certificate signed by unknown authority');
    expect(other.log.map(({ msg }) => msg)).not.toContain('a replica is bound');
  });

  it('evacuates no more at once than it may, when a wrong policy contraindicates every host', async () => {
    await engine.stop();
    engine = startEngine('-max-evacuations', '1');
    await deployment.operator.policies.apply(
      policy('wrong', { precedence: 1, pcrRules: [{ bank: 'sha256', index: 16, allowed: ['11'.repeat(32)] }] }),
    );
    await told('too many evacuations: the others wait', 0);
    const bad = hosts.map(({ id }) => deployment.result(id, 'bad host', ({ status }) => status === 'CONTRAINDICATED'));
    await Promise.all(bad);
    await told('a replica waits for a host', 0);
    expect(messages().filter((msg) => msg === 'a replica is evacuated')).toHaveLength(1);
    expect(await held()).toHaveLength(1);
  });

  it('ends when its identity is revoked, with the reason', async () => {
    await deployment.operator.identities.revoke('engine');
    const { code } = await engine.end();
    expect(code).toBe(1);
    expect(engine.log.at(-1)).toMatchObject({
      msg: 'the engine ends',
      error: expect.stringContaining('Unauthenticated IDENTITY_REVOKED') as string,
    });
  });
});
