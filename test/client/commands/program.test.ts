import { beforeEach, expect, test } from 'vitest';
import { publicKeyDer } from '../../../client/agent/tls-key.ts';
import type { AttestationResult, Host } from '../../../client/sdk/resources.ts';
import { RpcError } from '../../../proto/rpc-error.ts';
import type { StatusDetails } from '../../../proto/status.ts';
import { Shell } from '../support/shell.ts';

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
    {
      id: 'pcr.sha256.7',
      outcome: 'FAILED',
      reason: 'PCR_MISMATCH',
      observed: 'a',
      expected: 'b',
      message: 'bad\u001b',
    },
  ],
  trustPolicy: 'trustPolicies/base',
  trustPolicyVersion: 3n,
  endorsementVersion: 4n,
  challengeTime: undefined,
  validUntil: undefined,
  revisionTime: undefined,
  confirmations: 0n,
  connectivity: 'CONNECTED',
  nodeName: '',
  labels: {},
  json: { host: host.name },
});

const pin = `sha256:${'0'.repeat(64)}`;

let shell: Shell;

beforeEach(async () => {
  shell = await Shell.open();
});

test('hosts are listed in a table, and as JSON for scripts', async () => {
  shell.client = {
    hosts: {
      list: async function* () {
        yield host;
      },
    },
  };
  expect(await shell.assay('host', 'list')).toBe(0);
  expect(shell.out.split('\n')[1]).toMatch(
    new RegExp(`^${hostId}  node-1     ACTIVE  certificate  -       2026-01-02T03:04:05Z  -         zone=a$`),
  );
  shell.out = '';
  await shell.assay('host', 'list', '--output', 'json');
  expect(JSON.parse(shell.out)).toEqual({ hosts: [host.json] });
});

test('--profile and --output may stand before the command; the nearer one counts', async () => {
  shell.client = {
    hosts: {
      list: async function* () {
        yield host;
      },
    },
  };
  shell.files.set('/other', shell.files.get('/profile') ?? '');
  shell.files.delete('/profile');
  expect(await shell.assay('--profile', '/other', '--output', 'json', 'host', 'list')).toBe(0);
  expect(JSON.parse(shell.out)).toEqual({ hosts: [host.json] });
  expect(await shell.assay('--profile', '/none', 'host', 'list', '--profile', '/other')).toBe(0);
  expect(await shell.assay('--profile', '/none', 'host', 'list')).toBe(2);
  expect(await shell.assay('--profile', '/other', 'agent', 'run')).toBe(2);
  expect(shell.err).toContain('--profile means nothing to agent run');
});

test('what a host claims reaches no terminal as it is', async () => {
  shell.client = { hosts: { get: async () => host } };
  await shell.assay('host', 'get', hostId);
  expect(shell.out).not.toMatch(/[^\P{C}\n]/u);
  expect(shell.out).toMatch(/claimed hostname:\s+evil\\u\{1b\}\]0;x\\u\{7\}\\u\{202e\}/);
});

test('labels are changed on what was read, under its etag', async () => {
  const updates: unknown[] = [];
  shell.client = {
    hosts: { get: async () => host, update: async (...args: unknown[]) => (updates.push(args.slice(0, 2)), host) },
  };
  await shell.assay('host', 'label', hostId, 'rack=7', 'zone-');
  expect(updates).toEqual([[hostId, { labels: { rack: '7' }, etag: 'e1' }]]);
});

test.each([
  ['AFFIRMING', 0],
  ['WARNING', 5],
  ['CONTRAINDICATED', 5],
  ['NONE', 5],
] as const)('result get of a host that is %s exits with %i', async (status, code) => {
  shell.client = { results: { get: async () => result(status) } };
  expect(await shell.assay('result', 'get', hostId)).toBe(code);
  expect(shell.out).toMatch(/FAILED\s+pcr\.sha256\.7\s+PCR_MISMATCH\s+bad\\u\{1b\}/);
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
  shell.client = { hosts: { get: () => Promise.reject(new RpcError(details)) } };
  expect(await shell.assay('host', 'get', hostId)).toBe(expected);
  expect(shell.err.split('\n')[0]).toBe(`assay: ${reason === '' ? code : reason}: it is so\\u{1b}`);
  expect(shell.err).not.toMatch(/ {4}at /);
  if (expected !== 6) expect(shell.err).toContain('host.labels: too many');
});

test('a watch prints one object a line for scripts', async () => {
  shell.client = {
    results: {
      watch: async function* () {
        yield { kind: 'change', result: result('AFFIRMING'), initial: true, resumeToken: 't1' };
        yield { kind: 'bookmark', synced: true, resumeToken: 't2' };
        yield { kind: 'relisting', reason: 'REVISION_GONE' };
        yield { kind: 'removal', host: host.name, reason: 'DELETED', resumeToken: 't3' };
      },
    },
  };
  expect(await shell.assay('result', 'watch', '--output', 'json')).toBe(0);
  expect(
    shell.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    { change: { result: { host: host.name }, initial: true }, resumeToken: 't1' },
    { bookmark: { synced: true }, resumeToken: 't2' },
    { watch: { relisting: 'REVISION_GONE' } },
    { removal: { host: host.name, reason: 'DELETED' }, resumeToken: 't3' },
  ]);
  shell.out = '';
  await shell.assay('result', 'watch');
  expect(shell.out.split('\n')[0]).toMatch(new RegExp(`^-  ${hostId}  -  AFFIRMING  CONNECTED  base@3  PCR_MISMATCH$`));
});

test('an issued identity is written as a profile with a key that was made here', async () => {
  const received: { publicKey: Buffer }[] = [];
  const certificate = shell.authority.certificate;
  shell.client = {
    identities: {
      issue: async (_name: string, request: { publicKey: Buffer }) => {
        received.push(request);
        const identity = { name: 'identities/bob', roles: ['AUDITOR'], expireTime: undefined, json: {} };
        return { identity, certificate, authority: certificate };
      },
    },
  };
  expect(await shell.assay('identity', 'issue', 'bob', '--role', 'auditor', '--out', '/bob')).toBe(0);
  const profile = JSON.parse(shell.files.get('/bob') ?? '') as { server: string; key: string };
  expect(profile.server).toBe('assay.example:9443');
  expect(publicKeyDer(profile.key)).toEqual(received[0]?.publicKey);
  expect(shell.out + shell.err).not.toMatch(/PRIVATE KEY/);
  expect(await shell.assay('identity', 'issue', 'bob', '--role', 'auditor', '--out', '/bob')).toBe(2);
  expect(received).toHaveLength(1);
});

test('join passes every option on and says what comes next', async () => {
  const logs = ['--boot-log', '/b', '--userspace-log', '/u', '--ima-log', '/i'];
  const args = [
    '--server',
    '[::1]:9443',
    '--service-fingerprint',
    pin,
    '--state',
    '/s',
    '--tcti',
    'swtpm:',
    '--ak-algorithm',
    'rsassa-2048-sha256',
  ];
  expect(await shell.assay('agent', 'join', ...args, ...logs)).toBe(0);
  expect(shell.joined).toEqual([
    {
      server: '[::1]:9443',
      serviceFingerprint: pin,
      state: '/s',
      tcti: 'swtpm:',
      akAlgorithm: 'rsassa-2048-sha256',
      logs: { boot: '/b', userspace: '/u', ima: '/i' },
    },
  ]);
  expect(shell.out).toBe(`enrolled as ${hostId} (PENDING); waits for approval (assay host approve ${hostId})\n`);
});

test('an inventory is read from lines, in batches, and a wrong line is named', async () => {
  const batches: number[] = [];
  shell.client = {
    endorsements: {
      importInventory: async (items: unknown[]) => (batches.push(items.length), { added: items.length, updated: 0 }),
    },
  };
  const line = (index: number): string => `${index.toString(16).padStart(64, '0')} rack-${index} a remark`;
  shell.files.set('/inventory', `# EKs\n${Array.from({ length: 1001 }, (_, index) => line(index)).join('\n')}\n`);
  expect(await shell.assay('endorsement', 'inventory', 'import', '/inventory')).toBe(0);
  expect(batches).toEqual([1000, 1]);
  shell.files.set('/inventory', `${line(1)}\nabc\n`);
  expect(await shell.assay('endorsement', 'inventory', 'import', '/inventory')).toBe(2);
  expect(shell.err).toContain('/inventory:2: not a SHA-256 in hexadecimal: abc');
});

test('revocation lists are imported file by file and shown as what they are', async () => {
  const list = {
    name: `revocationLists/${'ab'.repeat(32)}`,
    issuer: 'CN=evil\u001b[2J',
    number: '',
    thisUpdateTime: new Date('2026-01-02T03:04:05.678Z'),
    nextUpdateTime: undefined,
    version: 2n,
    entryCount: 3,
    json: { name: `revocationLists/${'ab'.repeat(32)}` },
  };
  const read: string[] = [];
  shell.client = {
    endorsements: {
      importRevocationLists: async (bytes: Buffer) => {
        read.push(bytes.toString());
        return read.length === 1 ? { added: [list], known: 1 } : { added: [], known: 2 };
      },
    },
  };
  shell.files.set('/a.pem', 'a');
  shell.files.set('/b.pem', 'b');
  expect(await shell.assay('endorsement', 'crl', 'import', '/a.pem', '/b.pem')).toBe(0);
  expect(read).toEqual(['a', 'b']);
  expect(shell.out).toMatch(/^[ab]{64} +2 +3 +- +2026-01-02T03:04:05Z +- +CN=evil\\u\{1b\}\[2J$/m);
  expect(shell.out).toMatch(/^1 added, 3 known already$/m);
  shell.files.set('/lists/c.crl', 'c');
  shell.files.set('/lists/d.crl', 'd');
  expect(await shell.assay('endorsement', 'crl', 'import', '/lists')).toBe(0);
  expect(read.slice(2).toSorted()).toEqual(['c', 'd']);
  expect(await shell.assay('endorsement', 'crl', 'import', '/none')).toBe(2);
  expect(shell.err).toContain('revocation list /none: not found');
});

test('changes of endorsements are listed with who made them, and nothing of theirs reaches the terminal', async () => {
  const asked: unknown[] = [];
  const change = {
    endorsementVersion: 7n,
    resource: `trustAnchors/${'ab'.repeat(32)}`,
    version: 2n,
    action: 'trustAnchor.add',
    actor: 'identities/ada',
    detail: 'CN=evil\u001b[2J, 3 verdicts dropped',
    createTime: new Date('2026-01-02T03:04:05.678Z'),
    auditSequence: 9n,
    json: { auditSequence: '9' },
  };
  shell.client = {
    endorsements: {
      changes: async function* (resource: unknown) {
        asked.push(resource);
        yield change;
        yield { ...change, resource: 'inventory', version: 0n };
      },
    },
  };
  expect(await shell.assay('endorsement', 'history', change.resource)).toBe(0);
  expect(shell.out).toMatch(
    /^7 +2026-01-02T03:04:05Z +identities\/ada +trustAnchor.add +trustAnchors\/[ab]{64} +2 +CN=evil\\u/m,
  );
  expect(shell.out).toMatch(/ inventory +- +/);
  expect(await shell.assay('endorsement', 'history', '--output', 'json')).toBe(0);
  expect(asked).toEqual([change.resource, undefined]);
});

test('certificates are imported as anchors only where that is said', async () => {
  const asked: unknown[] = [];
  shell.client = {
    endorsements: {
      importAnchors: async (_bytes: Buffer, { asAnchors }: { asAnchors: boolean }) => {
        asked.push(asAnchors);
        return { added: [], known: 1 };
      },
    },
  };
  shell.files.set('/ca.pem', 'a');
  for (const option of [[], ['--anchor']]) {
    expect(await shell.assay('endorsement', 'import', ...option, '/ca.pem')).toBe(0);
  }
  shell.files.set('/cas/root.der', 'a');
  shell.files.set('/cas/issuing.pem', 'b');
  expect(await shell.assay('endorsement', 'import', '/ca.pem', '/cas')).toBe(0);
  expect(asked).toEqual([false, true, false, false, false]);
});

test('the agent watches what is measured, as often as it is told, or not', async () => {
  expect(await shell.assay('agent', 'run')).toBe(0);
  expect(await shell.assay('agent', 'run', '--watch-measurements', '30')).toBe(0);
  expect(await shell.assay('agent', 'run', '--watch-measurements', 'off')).toBe(0);
  expect(shell.ran.map(({ wishPause }) => wishPause)).toEqual([5000, 30_000, 'off']);
  for (const wrong of ['0', '-1', '1.5', '3601', 'never', '']) {
    expect(await shell.assay('agent', 'run', '--watch-measurements', wrong)).toBe(2);
  }
  expect(shell.err).toContain('from 1 to 3600 seconds');
  expect(shell.ran).toHaveLength(3);
});
