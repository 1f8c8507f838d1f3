import { beforeEach, describe, expect, test } from 'vitest';
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

describe('a profile that cannot be written', () => {
  let issued: string[];
  beforeEach(() => {
    issued = [];
    shell.client = {
      identities: {
        issue: async (name: string) => {
          issued.push(name);
          // From now on the disk is full.
          if (name === 'late') shell.refused.set('/bob', 'ENOSPC');
          const identity = { name: `identities/${name}`, roles: [], expireTime: undefined, json: {} };
          return { identity, certificate: Buffer.from('3000', 'hex'), authority: Buffer.from('3000', 'hex') };
        },
      },
    };
  });
  const issue = (name: string) => shell.assay('identity', 'issue', name, '--role', 'auditor', '--out', '/bob');

  test.each([
    ['EACCES', 'permission denied', 'name a file in a folder that you may write to'],
    ['EISDIR', 'is a directory', 'name a file'],
    ['ENOENT', 'not found', 'make the folder that it lies in, or name another'],
    ['ENOSPC', 'the disk is full', 'make room and try again'],
  ])('is told before anything is issued: %s', async (code, reason, hint) => {
    shell.refused.set('/bob', code);
    expect(await issue('bob')).toBe(2);
    expect(shell.err).toBe(`assay: /bob cannot be written: ${reason}\n  hint: ${hint}\n`);
    expect(issued).toEqual([]);
  });

  test('after it was issued is told with what became of it', async () => {
    expect(await issue('late')).toBe(2);
    expect(shell.err).toBe(
      'assay: /bob cannot be written: the disk is full\n' +
        '  late was issued all the same, and its key is lost: issue it anew\n' +
        '  hint: make room and try again\n',
    );
  });
});
