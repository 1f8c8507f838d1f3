import { CommanderError } from 'commander';
import { beforeEach, expect, test } from 'vitest';
import { DEFAULT_LOG_PATHS } from '../../../client/agent/collect.ts';
import type { Context, JoinOptions } from '../../../client/commands/context.ts';
import { makeProgram } from '../../../client/commands/program.ts';
import { describeFailure } from '../../../client/failure.ts';
import { formatProfile } from '../../../client/sdk/profile.ts';
import type { AssayClient } from '../../../client/sdk/client.ts';
import type { AttestationResult, Host } from '../../../client/sdk/resources.ts';
import { makeTlsKey, publicKeyDer } from '../../../client/agent/tls-key.ts';
import { makeTestAuthority } from '../../support/tls.ts';
import type { TestAuthority } from '../../support/tls.ts';
import { RpcError } from '../../../proto/rpc-error.ts';
import type { StatusDetails } from '../../../proto/status.ts';

const hostId = `h-${'a'.repeat(26)}`;
const host: Host = {
  name: `hosts/${hostId}`,
  state: 'ACTIVE',
  nodeName: 'node-1',
  labels: { zone: 'a' },
  trustPolicy: '',
  endorsementKeys: [],
  akName: '000b',
  pendingAkName: '',
  admission: 'certificate',
  claimed: { hostname: 'evil\u001b]0;x\u0007\u202e' },
  createTime: undefined,
  enrollTime: new Date('2026-01-02T03:04:05.678Z'),
  findings: [],
  etag: 'e1',
  json: { name: `hosts/${hostId}` },
};

const result = (status: AttestationResult['status']): AttestationResult => ({
  name: 'r',
  host: host.name,
  revision: 7n,
  status,
  checks: [
    { id: 'pcr.sha256.7', outcome: 'FAILED', reason: 'PCR_MISMATCH', observed: 'a', expected: 'b', message: 'bad\u001b' },
  ],
  trustPolicy: 'trustPolicies/base',
  trustPolicyVersion: 3n,
  challengeTime: undefined,
  validUntil: undefined,
  revisionTime: undefined,
  confirmations: 0n,
  connectivity: 'CONNECTED',
  nodeName: '',
  labels: {},
  json: { host: host.name },
});

let out: string;
let err: string;
let exitCode: number;
let files: Map<string, string>;
let joined: JoinOptions[];
let client: { [Part in keyof AssayClient]?: unknown };
let authority: TestAuthority | undefined;

beforeEach(async () => {
  authority ??= await makeTestAuthority();
  const identity = { kind: 'identity', deployment: 'd-aaaaaaaaaaaaaaaa', name: 'admin' } as const;
  const { certificate, privateKey } = await authority.issue({ profile: 'client', identity });
  const profile = { server: 'assay.example:9443', authority: authority.certificate, certificate, key: privateKey };
  out = '';
  err = '';
  exitCode = 0;
  joined = [];
  files = new Map([['/profile', formatProfile(profile)]]);
  client = {};
});

const context: Context = {
  version: '1.2.3',
  write: (text) => void (out += text),
  writeError: (text) => void (err += text),
  style: { colours: false },
  signal: new AbortController().signal,
  defaults: { profile: '/profile', state: '/state', tcti: 'device:/dev/tpmrm0', logs: DEFAULT_LOG_PATHS },
  readFile: async (path) => {
    const text = files.get(path);
    if (text === undefined) throw Object.assign(new Error('no'), { code: 'ENOENT' });
    return Buffer.from(text);
  },
  exists: async (path) => files.has(path),
  writeSecretFile: async (path, text) => void files.set(path, text),
  connect: () => ({ close: () => undefined, ...client }) as unknown as AssayClient,
  makeKey: () => {
    const privateKey = makeTlsKey();
    return { privateKey, publicKey: publicKeyDer(privateKey) };
  },
  agent: {
    join: async (options) => {
      joined.push(options);
      return {
        hostId,
        state: 'PENDING',
        replacementPending: false,
        akCertificate: Buffer.alloc(0),
        clientCertificate: Buffer.alloc(0),
        authority: Buffer.alloc(0),
      };
    },
    run: async () => undefined,
  },
  setExitCode: (code) => void (exitCode = code),
};

/** Runs the program as main.ts does; what it prints stands in `out` and `err`. */
async function assay(...args: readonly string[]): Promise<number> {
  try {
    await makeProgram(context).parseAsync(['node', 'assay', ...args]);
    return exitCode;
  } catch (error) {
    const failure = describeFailure(error);
    err += failure.lines.map((line) => `${line}\n`).join('');
    if (failure.lines.length === 0 && !(error instanceof CommanderError)) throw error;
    return failure.exitCode;
  }
}

const pin = `sha256:${'0'.repeat(64)}`;

test.each([
  { name: 'no such command', args: ['hots'], says: /unknown command 'hots'/ },
  { name: 'no such option', args: ['host', 'list', '--stat', 'x'], says: /unknown option '--stat'/ },
  { name: 'a missing argument', args: ['host', 'get'], says: /missing required argument 'host'/ },
  { name: 'an argument too many', args: ['host', 'list', 'x'], says: /too many arguments/ },
  { name: 'a state that does not exist', args: ['host', 'list', '--state', 'dead'], says: /one of PENDING, ACTIVE, REVOKED/ },
  { name: 'a status that does not exist', args: ['result', 'list', '--status', 'fine'], says: /one of NONE, AFFIRMING/ },
  { name: 'a label without value', args: ['host', 'list', '--label', 'x'], says: /KEY=VALUE/ },
  { name: 'a form that does not exist', args: ['host', 'list', '--output', 'xml'], says: /Allowed choices are table, json/ },
  { name: 'a label change that is none', args: ['host', 'label', 'h', 'x'], says: /"x" is neither KEY=VALUE nor KEY-/ },
  { name: 'history of every host', args: ['result', 'list', '--history'], says: /--history needs exactly one host/ },
  { name: 'a role that does not exist', args: ['identity', 'issue', 'x', '--out', 'f', '--role', 'ROOT'], says: /one of OPERATOR/ },
  { name: 'no role', args: ['identity', 'issue', 'x', '--out', 'f'], says: /required option '--role/ },
  { name: 'no file', args: ['policy', 'apply'], says: /required option '-f, --filename/ },
  { name: 'a file that is not there', args: ['policy', 'apply', '-f', '/none'], says: /policy file \/none: not found/ },
  { name: 'a profile that is not there', args: ['host', 'list', '--profile', '/none'], says: /profile \/none: not found/ },
  { name: 'a version that is none', args: ['policy', 'get', 'x', '--version', '0'], says: /positive number/ },
  { name: 'an unpinned join', args: ['agent', 'join', '--server', 'x:1'], says: /required option '--service-fingerprint/ },
  { name: 'a pin that is none', args: ['agent', 'join', '--server', 'x:1', '--service-fingerprint', 'abc'], says: /64 hexadecimal digits/ },
  { name: 'a server that is none', args: ['agent', 'join', '--server', 'x', '--service-fingerprint', pin], says: /HOST:PORT/ },
  { name: 'an algorithm that is none', args: ['agent', 'join', '--server', 'x:1', '--service-fingerprint', pin, '--ak-algorithm', 'dsa'], says: /Allowed choices/ },
])('wrong usage is exit code 2 and says what: $name', async ({ args, says }) => {
  expect(await assay(...args)).toBe(2);
  expect(err).toMatch(says);
  expect(joined).toEqual([]);
});

test('help and version are no failures', async () => {
  expect(await assay('--help')).toBe(0);
  expect(out).toMatch(/Exit codes:/);
  out = '';
  expect(await assay('version')).toBe(0);
  expect(out).toBe('assay 1.2.3\n');
});

test('a broken profile is wrong usage and names the field', async () => {
  files.set('/profile', '{"server":"x:1"}');
  expect(await assay('host', 'list')).toBe(2);
  expect(err).toBe('assay: /profile: the profile has no authority\n');
});

test('hosts are listed in a table, and as JSON for scripts', async () => {
  client = { hosts: { list: async function* () { yield host; } } };
  expect(await assay('host', 'list')).toBe(0);
  expect(out.split('\n')[1]).toMatch(new RegExp(`^${hostId}  node-1     ACTIVE  certificate  -       2026-01-02T03:04:05Z  -         zone=a$`));
  out = '';
  await assay('host', 'list', '--output', 'json');
  expect(JSON.parse(out)).toEqual({ hosts: [host.json] });
});

test('--profile and --output may stand before the command; the nearer one counts', async () => {
  client = { hosts: { list: async function* () { yield host; } } };
  files.set('/other', files.get('/profile') ?? '');
  files.delete('/profile');
  expect(await assay('--profile', '/other', '--output', 'json', 'host', 'list')).toBe(0);
  expect(JSON.parse(out)).toEqual({ hosts: [host.json] });
  expect(await assay('--profile', '/none', 'host', 'list', '--profile', '/other')).toBe(0);
  expect(await assay('--profile', '/none', 'host', 'list')).toBe(2);
  expect(await assay('--profile', '/other', 'agent', 'run')).toBe(2);
  expect(err).toContain('--profile means nothing to agent run');
});

test('what a host claims reaches no terminal as it is', async () => {
  client = { hosts: { get: async () => host } };
  await assay('host', 'get', hostId);
  expect(out).not.toMatch(/[^\P{C}\n]/u);
  expect(out).toMatch(/claimed hostname:\s+evil\\u\{1b\}\]0;x\\u\{7\}\\u\{202e\}/);
});

test('labels are changed on what was read, under its etag', async () => {
  const updates: unknown[] = [];
  client = { hosts: { get: async () => host, update: async (...args: unknown[]) => (updates.push(args.slice(0, 2)), host) } };
  await assay('host', 'label', hostId, 'rack=7', 'zone-');
  expect(updates).toEqual([[hostId, { labels: { rack: '7' }, etag: 'e1' }]]);
});

test.each([
  ['AFFIRMING', 0],
  ['WARNING', 5],
  ['CONTRAINDICATED', 5],
  ['NONE', 5],
] as const)('result get of a host that is %s exits with %i', async (status, code) => {
  client = { results: { get: async () => result(status) } };
  expect(await assay('result', 'get', hostId)).toBe(code);
  expect(out).toMatch(/FAILED\s+pcr\.sha256\.7\s+PCR_MISMATCH\s+bad\\u\{1b\}/);
});

test.each([
  ['UNAVAILABLE', '', 3],
  ['DEADLINE_EXCEEDED', '', 3],
  ['UNAUTHENTICATED', 'CERTIFICATE_EXPIRED', 4],
  ['PERMISSION_DENIED', 'ROLE_MISSING', 4],
  ['PERMISSION_DENIED', 'HOST_REVOKED', 6],
  ['NOT_FOUND', 'HOST_NOT_FOUND', 1],
  ['INTERNAL', '', 1],
] as const)('a call that fails with %s %s exits with %i and one clear line', async (code, reason, expected) => {
  const details: StatusDetails = {
    code,
    reason,
    message: 'it is so\u001b',
    metadata: {},
    fieldViolations: [{ field: 'host.labels', description: 'too many' }],
    retryDelayMillis: undefined,
    requestId: 'r-1',
  };
  client = { hosts: { get: () => Promise.reject(new RpcError(details)) } };
  expect(await assay('host', 'get', hostId)).toBe(expected);
  expect(err.split('\n')[0]).toBe(`assay: ${reason === '' ? code : reason}: it is so\\u{1b}`);
  expect(err).not.toMatch(/ {4}at /);
  if (expected !== 6) expect(err).toContain('host.labels: too many');
});

test('a watch prints one object a line for scripts', async () => {
  client = {
    results: {
      watch: async function* () {
        yield { kind: 'change', result: result('AFFIRMING'), initial: true, resumeToken: 't1' };
        yield { kind: 'bookmark', synced: true, resumeToken: 't2' };
        yield { kind: 'relisting', reason: 'REVISION_GONE' };
        yield { kind: 'removal', host: host.name, reason: 'DELETED', resumeToken: 't3' };
      },
    },
  };
  expect(await assay('result', 'watch', '--output', 'json')).toBe(0);
  expect(out.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown)).toEqual([
    { change: { result: { host: host.name }, initial: true }, resumeToken: 't1' },
    { bookmark: { synced: true }, resumeToken: 't2' },
    { watch: { relisting: 'REVISION_GONE' } },
    { removal: { host: host.name, reason: 'DELETED' }, resumeToken: 't3' },
  ]);
  out = '';
  await assay('result', 'watch');
  expect(out.split('\n')[0]).toMatch(new RegExp(`^-  ${hostId}  -  AFFIRMING  CONNECTED  base@3  PCR_MISMATCH$`));
});

test('an issued identity is written as a profile with a key that was made here', async () => {
  const received: { publicKey: Buffer }[] = [];
  const certificate = authority?.certificate ?? Buffer.alloc(0);
  client = {
    identities: {
      issue: async (_name: string, request: { publicKey: Buffer }) => {
        received.push(request);
        const identity = { name: 'identities/bob', roles: ['AUDITOR'], expireTime: undefined, json: {} };
        return { identity, certificate, authority: certificate };
      },
    },
  };
  expect(await assay('identity', 'issue', 'bob', '--role', 'auditor', '--out', '/bob')).toBe(0);
  const profile = JSON.parse(files.get('/bob') ?? '') as { server: string; key: string };
  expect(profile.server).toBe('assay.example:9443');
  expect(publicKeyDer(profile.key)).toEqual(received[0]?.publicKey);
  expect(out + err).not.toMatch(/PRIVATE KEY/);
  expect(await assay('identity', 'issue', 'bob', '--role', 'auditor', '--out', '/bob')).toBe(2);
  expect(received).toHaveLength(1);
});

test('join passes every option on and says what comes next', async () => {
  const logs = ['--boot-log', '/b', '--userspace-log', '/u', '--ima-log', '/i'];
  const args = ['--server', '[::1]:9443', '--service-fingerprint', pin, '--state', '/s', '--tcti', 'swtpm:', '--ak-algorithm', 'rsassa-2048-sha256'];
  expect(await assay('agent', 'join', ...args, ...logs)).toBe(0);
  expect(joined).toEqual([
    {
      server: '[::1]:9443',
      serviceFingerprint: pin,
      state: '/s',
      tcti: 'swtpm:',
      akAlgorithm: 'rsassa-2048-sha256',
      logs: { boot: '/b', userspace: '/u', ima: '/i' },
    },
  ]);
  expect(out).toBe(`enrolled as ${hostId} (PENDING); waits for approval (assay host approve ${hostId})\n`);
});

test('an inventory is read from lines, in batches, and a wrong line is named', async () => {
  const batches: number[] = [];
  client = { endorsements: { importInventory: async (items: unknown[]) => (batches.push(items.length), { added: items.length, updated: 0 }) } };
  const line = (index: number): string => `${index.toString(16).padStart(64, '0')} rack-${index} a remark`;
  files.set('/inventory', `# EKs\n${Array.from({ length: 1001 }, (_, index) => line(index)).join('\n')}\n`);
  expect(await assay('endorsement', 'inventory', 'import', '/inventory')).toBe(0);
  expect(batches).toEqual([1000, 1]);
  files.set('/inventory', `${line(1)}\nabc\n`);
  expect(await assay('endorsement', 'inventory', 'import', '/inventory')).toBe(2);
  expect(err).toContain('/inventory:2: not a SHA-256 in hexadecimal: abc');
});
