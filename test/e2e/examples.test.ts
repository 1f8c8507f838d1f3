/** Clients in Python, Rust and Java, made of generated code alone, select hosts and hear of changes. */
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy } from '../support/deployment.ts';
import { isBuilt, startExample, withStrangersAuthority } from '../support/examples.ts';
import { eventually } from '../support/programs.ts';
import type { RunningProgram } from '../support/programs.ts';

const languages = ['python', 'rust', 'java'] as const;

it.runIf(process.env['CI'] === 'true').each(languages)('the client in %s is built', (language) => {
  expect(isBuilt(language), 'npm test builds it by the commands of docs/sdks.md where its language is').toBe(true);
});

describe.each(languages)('a client in %s', (language) => {
  describe.runIf(isBuilt(language))('from examples/', () => {
    let deployment: Deployment;
    let profile: string;
    let host: AttestedHost;

    beforeAll(async () => {
      deployment = await Deployment.start();
      await deployment.operator.policies.apply(policy('base'));
      profile = join(deployment.directory, 'client.json');
      const issue = ['identity', 'issue', 'client', '--role', 'orchestrator', '--all-hosts', '--out', profile];
      const issued = await deployment.assay(...issue);
      if (issued.code !== 0) throw new Error(issued.stderr);
      host = await AttestedHost.enrolled(deployment);
      host.runAgent();
      await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
    }, 60_000);

    afterAll(async () => {
      await host?.[Symbol.asyncDispose]();
      await deployment?.[Symbol.asyncDispose]();
    });

    function said(client: RunningProgram, line: string): Promise<true> {
      return eventually(
        `line: ${line}`,
        () => (client.stdout.split('\n').includes(line) ? true : undefined),
        () => client.stdout + client.stderr,
      );
    }

    it('selects a host, sees it change, and goes on behind a restart of the service', async () => {
      await using client = startExample(language, [profile]);
      await said(client, 'synced');
      const name = `hosts/${host.id}`;
      expect(client.stdout.split('\n').slice(0, 3)).toEqual([
        `selected ${name} AFFIRMING`,
        `present ${name} AFFIRMING`,
        'synced',
      ]);
      await deployment.stop('SIGKILL');
      await eventually('interruption', () => (client.stdout.includes('interrupted') ? true : undefined));
      await deployment.serve();
      await host.tamper();
      await said(client, `changed ${name} CONTRAINDICATED PCR_MISMATCH`);
      expect(client.stdout.split('\n').filter((line) => line === 'synced')).toHaveLength(1);
    });

    it('sends nothing to a service of another CA', async () => {
      const stranger = await deployment.file('stranger.json', await withStrangersAuthority(profile));
      await using client = startExample(language, [stranger]);
      const { code, stdout } = await client.end();
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    });

    it('is told the reason when it may not', async () => {
      await deployment.operator.identities.revoke('client');
      await using client = startExample(language, [profile]);
      const { code, stdout, stderr } = await client.end();
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain('IDENTITY_REVOKED');
    });
  });
});
