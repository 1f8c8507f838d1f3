/** Clients in Python, Rust and Java, made of generated code alone, select hosts and hear of changes. */
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy } from '../support/deployment.ts';
import { isBuilt, startExample, withStrangersAuthority } from '../support/examples.ts';
import { eventually } from '../support/programs.ts';
import type { RunningProgram } from '../support/programs.ts';

const languages = ['python', 'rust', 'java'] as const;
const built = languages.filter(isBuilt);

/** What the TLS library of each says of a certificate that no pinned CA signed. */
const REFUSED_AUTHORITY = {
  python: /^UNAVAILABLE .*CERTIFICATE_VERIFY_FAILED/m,
  rust: /^Unavailable .*UnknownIssuer/m,
  java: /^UNAVAILABLE .*unable to find valid certification path/m,
} as const;

it.runIf(process.env['CI'] === 'true').each(languages)('the client in %s is built', (language) => {
  expect(isBuilt(language), 'npm test builds it by the commands of docs/sdks.md where its language is').toBe(true);
});

describe.runIf(built.length > 0)('of the clients from examples/', () => {
  let deployment: Deployment;

  beforeAll(async () => {
    deployment = await Deployment.start();
    await deployment.operator.policies.apply(policy('base'));
  });

  afterAll(() => deployment?.[Symbol.asyncDispose]());

  describe.each(languages)('the one in %s', (language) => {
    describe.runIf(isBuilt(language))('where its language is', () => {
      let profile: string;
      let host: AttestedHost;

      beforeAll(async () => {
        profile = join(deployment.directory, `${language}.json`);
        const scope = ['--scope', `for=${language}`];
        const issue = ['identity', 'issue', language, '--role', 'orchestrator', ...scope, '--out', profile];
        const issued = await deployment.assay(...issue);
        if (issued.code !== 0) throw new Error(issued.stderr);
        host = await AttestedHost.enrolled(deployment);
        await deployment.operator.hosts.update(host.id, { labels: { for: language } });
        host.runAgent();
        await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
        // The index of placement is a moment behind, and a client may be quicker.
        const select = ['placement', 'select', '--profile', profile];
        await eventually('selectable host', async () =>
          (await deployment.assay(...select)).code === 0 ? true : undefined,
        );
      });

      afterAll(() => host?.[Symbol.asyncDispose]());

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
        const first = [`selected ${name} AFFIRMING`, `present ${name} AFFIRMING`, 'synced'];
        expect(client.stdout.split('\n').slice(0, 3)).toEqual(first);
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
        const { code, stdout, stderr } = await client.end();
        expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
        expect(stderr).toMatch(REFUSED_AUTHORITY[language]);
      });

      it('is told the reason when it may not', async () => {
        await deployment.operator.identities.revoke(language);
        await using client = startExample(language, [profile]);
        const { code, stdout, stderr } = await client.end();
        expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
        expect(stderr).toContain('IDENTITY_REVOKED');
      });
    });
  });
});
