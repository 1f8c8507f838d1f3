import type { Command } from 'commander';
import { beforeEach, describe, expect, test } from 'vitest';
import { RpcError } from '../../../proto/rpc-error.ts';
import { Shell } from '../support/shell.ts';

const HOST = `hosts/h-${'a'.repeat(26)}`;
const NODE = 'node-7';

let shell: Shell;
/** What the service was asked for after the name was looked up. */
let asked: unknown[];

beforeEach(async () => {
  shell = await Shell.open();
  asked = [];
  const reach = (...args: readonly unknown[]): never => {
    asked.push(...args);
    throw new Error('reached');
  };
  const unknown = new RpcError({
    code: 'NOT_FOUND',
    reason: 'NOT_FOUND',
    message: 'no host of the node name node-8 is known',
    metadata: {},
    fieldViolations: [],
    retryDelayMillis: undefined,
    requestId: '',
  });
  const get = async (host: string | { readonly nodeName: string }, ...rest: readonly unknown[]) => {
    if (typeof host === 'string') return reach(host, ...rest);
    if (host.nodeName !== NODE) throw unknown;
    return { host: HOST };
  };
  const every = new Proxy({}, { get: () => reach });
  const results = new Proxy({ get }, { get: (target, name) => (name === 'get' ? target.get : reach) });
  shell.client = {
    hosts: every,
    policies: every,
    referenceSets: every,
    placement: every,
    results,
  };
  shell.files.set('/policy', 'name: trustPolicies/base\nselector: { all_hosts: true }\n');
});

/** Every command that takes hosts, with a node name in the place of one. */
const COMMANDS: readonly (readonly string[])[] = [
  ['host', 'get', NODE],
  ['host', 'boot', NODE],
  ['host', 'runtime', NODE],
  ['host', 'label', NODE, 'a=b'],
  ['host', 'name', NODE, 'other'],
  ['host', 'policy', NODE, 'base'],
  ['host', 'approve', NODE],
  ['host', 'revoke', NODE],
  ['host', 'replace', NODE, HOST],
  ['host', 'replace', HOST, NODE],
  ['host', 'delete', NODE],
  ['policy', 'learn', NODE],
  ['policy', 'explain', NODE],
  ['policy', 'simulate', '--delete', 'base', '--host', NODE],
  ['reference', 'learn', 'base', NODE],
  ['result', 'get', NODE],
  ['result', 'list', NODE],
  ['result', 'watch', NODE],
  ['token', 'get', NODE],
  ['placement', 'select', '--exclude-host', NODE],
];

test.each(COMMANDS)('%s %s finds the host by its node name', async (...command) => {
  await shell.assay(...command);
  expect(shell.err).toContain('reached');
  const told = JSON.stringify(asked);
  expect(told).toContain(HOST);
  expect(told).not.toContain(NODE);
});

test.each(COMMANDS)('%s %s says that no host has the name', async (...command) => {
  expect(await shell.assay(...command.map((word) => (word === NODE ? 'node-8' : word)))).not.toBe(0);
  expect(shell.err).toMatch(/NOT_FOUND: no host of the node name node-8 is known/);
  expect(asked).toEqual([]);
});

test('placement check hands the name on: the service looks it up in the one call of the moment of binding', async () => {
  await shell.assay('placement', 'check', NODE);
  expect(asked[0]).toEqual({ nodeName: NODE });
});

describe('of the commands', () => {
  const all = (command: Command): readonly Command[] => [command, ...command.commands.flatMap(all)];
  const takesHosts = ({ registeredArguments, options }: Command): boolean =>
    registeredArguments.some((argument) => ['host', 'hosts', 'old', 'new'].includes(argument.name())) ||
    options.some(({ long }) => long === '--host' || long === '--exclude-host');
  const pathOf = (command: Command): string =>
    command.parent?.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();

  test('each that takes hosts is tried here, and tells in its help how they are named', async () => {
    const found = all(shell.program).filter(takesHosts).map(pathOf);
    // Offline: a token holds an id.
    const online = found.filter((path) => path !== 'token verify');
    const tried = new Set([...COMMANDS.map(([noun, verb]) => `${noun} ${verb}`), 'placement check']);
    expect(online.toSorted()).toEqual([...tried].toSorted());
    for (const path of online) {
      shell.out = '';
      // oxlint-disable-next-line no-await-in-loop -- one shell
      await shell.assay(...path.split(' '), '--help');
      expect([path, shell.out]).toEqual([path, expect.stringContaining('or by the node name')]);
    }
  });
});
