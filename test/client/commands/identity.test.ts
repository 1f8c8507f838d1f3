import { beforeEach, expect, test } from 'vitest';
import { Shell } from '../support/shell.ts';

let shell: Shell;

beforeEach(async () => {
  shell = await Shell.open();
});

test('a scope is given by labels or as every host, never as both', async () => {
  const scopes: unknown[] = [];
  const json = {};
  shell.client = {
    identities: {
      issue: async (_name: string, { scope }: { scope?: unknown }) => {
        scopes.push(scope);
        const identity = { name: 'identities/bob', roles: [], expireTime: undefined, json };
        return { identity, certificate: Buffer.from('3000', 'hex'), authority: Buffer.from('3000', 'hex') };
      },
      list: async function* () {
        yield {
          name: 'identities/bob',
          roles: ['AUDITOR'],
          scope: { matchLabels: { b: '2', a: '1' } },
          revoked: false,
          json,
        };
        yield { name: 'identities/ada', roles: ['OPERATOR'], scope: 'EVERY_HOST', revoked: false, json };
      },
    },
  };
  const issue = (...args: readonly string[]) =>
    shell.assay('identity', 'issue', 'bob', '--role', 'auditor', '--out', '/bob', '--force', ...args);
  await issue('--scope', 'tenant=red,zone=eu', '--scope', 'rack=');
  await issue('--all-hosts');
  await issue();
  expect(scopes).toEqual([{ matchLabels: { tenant: 'red', zone: 'eu', rack: '' } }, 'EVERY_HOST', undefined]);
  expect(await issue('--all-hosts', '--scope', 'a=b')).toBe(2);
  expect(await issue('--scope', 'tenant')).toBe(2);
  expect(scopes).toHaveLength(3);
  await shell.assay('identity', 'list');
  expect(shell.out).toMatch(/bob +AUDITOR +a=1,b=2 +valid/);
  expect(shell.out).toMatch(/ada +OPERATOR +every host +valid/);
});
