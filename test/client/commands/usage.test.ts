import { beforeEach, expect, test } from 'vitest';
import { Shell } from '../support/shell.ts';

let shell: Shell;

beforeEach(async () => {
  shell = await Shell.open();
});

const pin = `sha256:${'0'.repeat(64)}`;

test.each([
  { name: 'no such command', args: ['hots'], says: /unknown command 'hots'/ },
  { name: 'no such option', args: ['host', 'list', '--stat', 'x'], says: /unknown option '--stat'/ },
  { name: 'a missing argument', args: ['host', 'get'], says: /missing required argument 'host'/ },
  { name: 'an argument too many', args: ['host', 'list', 'x'], says: /too many arguments/ },
  {
    name: 'a state that does not exist',
    args: ['host', 'list', '--state', 'dead'],
    says: /one of PENDING, ACTIVE, REVOKED/,
  },
  {
    name: 'a status that does not exist',
    args: ['result', 'list', '--status', 'fine'],
    says: /one of NONE, AFFIRMING/,
  },
  { name: 'a label without value', args: ['host', 'list', '--label', 'x'], says: /KEY=VALUE/ },
  {
    name: 'a form that does not exist',
    args: ['host', 'list', '--output', 'xml'],
    says: /Allowed choices are table, json/,
  },
  { name: 'a label change that is none', args: ['host', 'label', 'h', 'x'], says: /"x" is neither KEY=VALUE nor KEY-/ },
  { name: 'a simulation of nothing', args: ['policy', 'simulate'], says: /--filename or --delete, or what --set/ },
  { name: 'a candidate for no set', args: ['policy', 'simulate', '--set', 'base'], says: /KEY=VALUE/ },
  { name: 'history of every host', args: ['result', 'list', '--history'], says: /--history needs exactly one host/ },
  {
    name: 'a role that does not exist',
    args: ['identity', 'issue', 'x', '--out', 'f', '--role', 'ROOT'],
    says: /one of OPERATOR/,
  },
  { name: 'no role', args: ['identity', 'issue', 'x', '--out', 'f'], says: /required option '--role/ },
  { name: 'no file', args: ['policy', 'apply'], says: /required option '-f, --filename/ },
  { name: 'a file that is not there', args: ['policy', 'apply', '-f', '/none'], says: /policy file \/none: not found/ },
  {
    name: 'a profile that is not there',
    args: ['host', 'list', '--profile', '/none'],
    says: /profile \/none: not found/,
  },
  { name: 'a version that is none', args: ['policy', 'get', 'x', '--version', '0'], says: /positive number/ },
  {
    name: 'an unpinned join',
    args: ['agent', 'join', '--server', 'x:1'],
    says: /required option '--service-fingerprint/,
  },
  {
    name: 'a pin that is none',
    args: ['agent', 'join', '--server', 'x:1', '--service-fingerprint', 'abc'],
    says: /64 hexadecimal digits/,
  },
  {
    name: 'a server that is none',
    args: ['agent', 'join', '--server', 'x', '--service-fingerprint', pin],
    says: /HOST:PORT/,
  },
  {
    name: 'an algorithm that is none',
    args: ['agent', 'join', '--server', 'x:1', '--service-fingerprint', pin, '--ak-algorithm', 'dsa'],
    says: /Allowed choices/,
  },
])('wrong usage is exit code 2 and says what: $name', async ({ args, says }) => {
  expect(await shell.assay(...args)).toBe(2);
  expect(shell.err).toMatch(says);
  expect(shell.joined).toEqual([]);
});

test('help and version are no failures', async () => {
  expect(await shell.assay('--help')).toBe(0);
  expect(shell.out).toMatch(/Exit codes:/);
  shell.out = '';
  expect(await shell.assay('version')).toBe(0);
  expect(shell.out).toBe('assay 1.2.3\n');
});

test('a broken profile is wrong usage and names the field', async () => {
  shell.files.set('/profile', '{"server":"x:1"}');
  expect(await shell.assay('host', 'list')).toBe(2);
  expect(shell.err).toBe('assay: /profile: the profile has no authority\n');
});
