import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { eventually, start } from '../support/programs.ts';

let deployment: Deployment;

beforeAll(async () => {
  deployment = await Deployment.start();
  await deployment.operator.policies.apply(policy('base'));
  // News or none within seconds.
  const quote = { interval: '1s', validity: '4s', disconnectGrace: '1s' };
  await deployment.operator.policies.apply(
    policy('brisk', { quote, precedence: 1, selector: { matchLabels: { pace: 'brisk' } } }),
  );
});

afterAll(() => deployment?.[Symbol.asyncDispose]());

function affirmed(host: AttestedHost) {
  return deployment.result(
    host.id,
    'affirmed host',
    ({ status, connectivity }) => status === 'AFFIRMING' && connectivity === 'CONNECTED',
  );
}

async function makeBrisk(host: AttestedHost): Promise<void> {
  await deployment.operator.hosts.update(host.id, { labels: { pace: 'brisk' } });
}

/** What the agent has said, from a line on. */
function events(host: AttestedHost, after = 0): readonly unknown[] {
  return host.agent.log.slice(after).map(({ event }) => event);
}

describe('the service', () => {
  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'that ends by %s and starts again is found again by agents and watchers, and nothing looks better for it',
    async (signal) => {
      await using good = await AttestedHost.enrolled(deployment);
      await using bad = await AttestedHost.enrolled(deployment);
      for (const host of [good, bad]) host.runAgent();
      await bad.tamper();
      await affirmed(good);
      await deployment.result(bad.id, 'contraindicated host', ({ status }) => status === 'CONTRAINDICATED');
      const enrolled = await deployment.operator.hosts.get(good.id);
      const watch = start('assay', ['result', 'watch', '--output', 'json', '--profile', deployment.profile]);
      await using _watch = watch;
      await eventually('present results', () => (watch.stdout.includes('synced') ? true : undefined));
      const seen = watch.objects.length;
      const said = events(good).length;

      await deployment.stop(signal);
      await eventually('agent that noticed', () => (events(good).length > said ? true : undefined));
      const unreachable = await deployment.assay('result', 'get', good.id);
      expect(unreachable).toMatchObject({ code: 3, stdout: '' });
      await deployment.serve();

      const first = await deployment.operator.results.get(bad.id);
      expect(['CONTRAINDICATED', 'NONE']).toContain(first.status);
      for (const host of [good, bad]) {
        const before = roundOf(await deployment.operator.results.get(host.id));
        await deployment.result(host.id, 'new round', (result) => roundOf(result) > before);
      }
      expect(await affirmed(good)).toMatchObject({ trustPolicy: 'trustPolicies/base' });
      expect((await deployment.operator.results.get(bad.id)).status).toBe('CONTRAINDICATED');
      const after = await deployment.operator.hosts.get(good.id);
      expect([after.enrollTime, after.akName]).toEqual([enrolled.enrollTime, enrolled.akName]);
      expect(events(good)).not.toContain('enrolled');

      // A change behind the interruption is the next that the watch tells.
      await deployment.operator.hosts.update(good.id, { labels: { after: signal.toLowerCase() } });
      await eventually('watch that goes on', () => (resumed(watch.objects.slice(seen)) ? true : undefined));
      expect(watch.objects.slice(seen).filter(isInitial)).toEqual([]);
    },
  );
});

describe('a service that was away while a verdict ran out', () => {
  it('does not bring it back, and takes the agent that was there before it', async () => {
    await using host = await AttestedHost.enrolled(deployment);
    await makeBrisk(host);
    host.runAgent();
    await affirmed(host);
    await deployment.stop('SIGKILL');
    await host.stopAgent();
    // A round that was accepted behind the last look holds as long from now at the most.
    const end = Date.now() + 4_000;
    await eventually('end of the validity', () => (Date.now() > end ? true : undefined));

    await deployment.serve();
    const first = await deployment.operator.results.get(host.id);
    expect([first.status, reasons(first)]).toEqual(['NONE', ['RESULT_EXPIRED']]);
    await deployment.stop();
    const agent = host.runAgent();
    await agent.logged(({ event }) => event === 'unreachable', 'an agent without a service');
    await deployment.serve();
    await affirmed(host);
    expect(events(host)).not.toContain('enrolled');
  });
});

/** Grows with every accepted round. */
function roundOf({ challengeTime }: { readonly challengeTime: Date | undefined }): string {
  return challengeTime?.toISOString() ?? '';
}

function isInitial(message: unknown): boolean {
  return JSON.stringify(message).includes('"initial":true');
}

/** Was there an interruption, and after it something of the service? */
function resumed(messages: readonly unknown[]): boolean {
  const text = messages.map((message) => JSON.stringify(message));
  const interrupted = text.findLastIndex((line) => line.includes('"interrupted"'));
  return interrupted >= 0 && text.slice(interrupted + 1).some((line) => line.includes('resumeToken'));
}

describe('an agent', () => {
  it('that is stopped is unreachable and then unknown, and goes on without enrolling when it is started again', async () => {
    await using host = await AttestedHost.enrolled(deployment);
    await makeBrisk(host);
    host.runAgent();
    await affirmed(host);
    const { enrollTime } = await deployment.operator.hosts.get(host.id);

    expect(await host.stopAgent()).toMatchObject({ code: 0 });
    const lost = await deployment.result(host.id, 'lost stream', ({ connectivity }) => connectivity === 'UNREACHABLE');
    expect(['AFFIRMING', 'NONE']).toContain(lost.status);
    const expired = await deployment.result(host.id, 'expiry', ({ status }) => status === 'NONE');
    expect(reasons(expired)).toEqual(['RESULT_EXPIRED']);
    expect(expired.connectivity).toBe('UNREACHABLE');

    host.runAgent();
    await affirmed(host);
    expect(events(host)).not.toContain('enrolled');
    expect((await deployment.operator.hosts.get(host.id)).enrollTime).toEqual(enrollTime);
  });

  it('that is killed in the middle of its work goes on as well', async () => {
    await using host = await AttestedHost.enrolled(deployment);
    host.runAgent();
    await affirmed(host);
    await host.stopAgent('SIGKILL');
    await deployment.result(host.id, 'lost stream', ({ connectivity }) => connectivity === 'UNREACHABLE');
    host.runAgent();
    await affirmed(host);
    expect(events(host)).not.toContain('enrolled');
  });

  it('leaves its state directory to one process at a time', async () => {
    await using host = await AttestedHost.enrolled(deployment);
    host.runAgent();
    await affirmed(host);
    const second = await start('assay', ['agent', 'run', '--state', host.state]).end();
    expect(second).toMatchObject({ code: 1, stderr: `assay: another agent uses the state directory ${host.state}\n` });
  });
});

describe('a TPM', () => {
  it('whose power was cut is asked for everything again, and the host is affirmed by its new boot', async () => {
    await using host = await AttestedHost.enrolled(deployment, { banks: 'sha1,sha256' });
    host.runAgent();
    await host.tamper();
    const before = await deployment.result(
      host.id,
      'contraindicated host',
      ({ status }) => status === 'CONTRAINDICATED',
    );

    await host.tpm.kill();
    await host.tpm.restart();
    const after = await affirmed(host);
    // PCR 16 was reset with the TPM: the host may be good again, by what it has booted since.
    expect(after.json['resetCount']).toBeGreaterThan(Number(before.json['resetCount']));
    expect(after.checks.find(({ id }) => id === 'pcr-banks')).toMatchObject({
      outcome: 'PASSED',
      observed: 'sha1, sha256',
    });
    expect(events(host)).not.toContain('enrolled');
    expect(events(host)).toContain('tpm_failed');
  });

  it('that is gone leaves its host unreachable, and its verdict runs out', async () => {
    await using host = await AttestedHost.enrolled(deployment);
    await makeBrisk(host);
    host.runAgent();
    await affirmed(host);

    const said = host.agent.log.length;
    await host.tpm.kill();
    await host.agent.logged(({ event }) => event === 'tpm_failed', 'an agent without a TPM', said);
    // The verdict may run out before the agent has noticed.
    const expired = await deployment.result(
      host.id,
      'expiry of a host that is lost',
      ({ status, connectivity }) => status === 'NONE' && connectivity === 'UNREACHABLE',
    );
    expect(reasons(expired)).toEqual(['RESULT_EXPIRED']);

    await host.tpm.restart();
    await affirmed(host);
  });

  it('that takes the place of another makes another host, and the former one stays as it ended', async () => {
    await using host = await AttestedHost.enrolled(deployment);
    await makeBrisk(host);
    host.runAgent();
    await affirmed(host);
    const former = await deployment.operator.hosts.get(host.id);
    await host.stopAgent();
    const expired = await deployment.result(host.id, 'expiry', ({ status }) => status === 'NONE');
    expect(reasons(expired)).toEqual(['RESULT_EXPIRED']);

    await host.replaceTpm();
    await deployment.trust(host.tpm.caCertificates);
    const agent = host.runAgent();
    const { host: id } = await agent.logged(({ event }) => event === 'enrolled', 'an enrolment');
    expect(id).not.toBe(host.id);
    await deployment.result(String(id), 'affirmed host', ({ status }) => status === 'AFFIRMING');
    expect(events(host)).toContain('ak_lost');
    expect(await deployment.operator.hosts.get(host.id)).toEqual(former);
    const still = await deployment.operator.results.get(host.id);
    expect([still.status, reasons(still)]).toEqual(['NONE', ['RESULT_EXPIRED']]);
  });
});
