import { stat } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy } from '../support/deployment.ts';
import { eventually, run, start } from '../support/programs.ts';
import { openSwtpmCa } from '../support/swtpm-ca.ts';

let deployment: Deployment;
let host: AttestedHost;

beforeAll(async () => {
  deployment = await Deployment.start({ admission: ['certificate', 'approval'] });
  host = await AttestedHost.enrolled(deployment);
  await deployment.operator.policies.apply(policy('base'));
  host.runAgent();
  await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
});

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

/** Runs a command that must succeed; answers what it prints. */
async function printed(...args: readonly string[]): Promise<string> {
  const ended = await deployment.assay(...args);
  expect(ended, args.join(' ')).toMatchObject({ code: 0, stderr: '' });
  return ended.stdout;
}

async function json(...args: readonly string[]): Promise<unknown> {
  return JSON.parse(await printed(...args, '--output', 'json'));
}

describe('commands about hosts', () => {
  it('list and show them', async () => {
    expect(await printed('host', 'list')).toMatch(
      new RegExp(`^HOST +NODE NAME +STATE .*\n${host.id} +- +ACTIVE +certificate `),
    );
    expect(await json('host', 'list', '--state', 'active')).toMatchObject({ hosts: [{ name: `hosts/${host.id}` }] });
    expect(await json('host', 'list', '--state', 'revoked')).toEqual({ hosts: [] });
    expect(await printed('host', 'get', host.id)).toMatch(/^endorsement key: +RSA-2048 .*certified/m);
    expect(await json('host', 'get', `hosts/${host.id}`)).toMatchObject({
      state: 'HOST_STATE_ACTIVE',
      admission: 'certificate',
    });
  });

  it('set labels, node name and policy', async () => {
    expect(await printed('host', 'label', host.id, 'rack=a1', 'zone=west')).toMatch(/^labels: +rack=a1,zone=west$/m);
    expect(await json('host', 'label', host.id, 'zone-')).toMatchObject({ labels: { rack: 'a1' } });
    expect(await json('host', 'list', '--label', 'rack=a1')).toMatchObject({ hosts: [{ labels: { rack: 'a1' } }] });
    expect(await printed('host', 'name', host.id, 'node-1')).toMatch(/^node name: +node-1$/m);
    expect(await json('host', 'name', host.id, 'node-2')).toMatchObject({ nodeName: 'node-2' });
    // By that name from here on.
    expect(await json('host', 'get', 'node-2')).toMatchObject({ name: `hosts/${host.id}` });
    expect(await printed('host', 'runtime', 'node-2')).toMatch(new RegExp(`^host: +hosts/${host.id}$`, 'm'));
    expect(await json('result', 'list', 'node-2', '--history')).not.toEqual({ results: [] });
    const nobody = await deployment.assay('host', 'boot', 'node-3');
    expect(nobody).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the node name node-3 is known') as string,
    });
    expect(await printed('host', 'policy', 'node-2', 'base')).toMatch(/^policy: +trustPolicies\/base$/m);
    expect(await json('host', 'policy', host.id)).toMatchObject({ trustPolicy: '' });
  });

  it('put one in the place of another', async () => {
    await using old = await AttestedHost.start({ ekCertificates: false });
    await using next = await AttestedHost.start({ ekCertificates: false });
    for (const machine of [old, next]) expect((await machine.join(deployment)).code).toBe(0);
    await printed('host', 'name', old.id, 'node-7');
    expect(await json('host', 'replace', old.id, next.id, '--reason', 'new mainboard')).toMatchObject({
      name: `hosts/${next.id}`,
      nodeName: 'node-7',
    });
    expect(await json('host', 'get', old.id)).toMatchObject({ state: 'HOST_STATE_REVOKED' });
    expect((await deployment.assay('host', 'replace', next.id, next.id)).code).toBe(1);
    for (const { id } of [old, next]) await printed('host', 'delete', id);
  });

  it('approve, revoke and delete them', async () => {
    await using waiting = await AttestedHost.start({ ekCertificates: false });
    expect((await waiting.join(deployment)).stdout).toContain('(PENDING)');
    expect(await printed('host', 'approve', waiting.id)).toMatch(/^state: +ACTIVE$/m);
    expect(await json('host', 'revoke', waiting.id)).toMatchObject({ state: 'HOST_STATE_REVOKED' });
    expect(await printed('host', 'revoke', waiting.id, '--reason', 'twice is once')).toMatch(/^state: +REVOKED$/m);
    expect(await printed('host', 'delete', waiting.id)).toBe(`deleted ${waiting.id}\n`);
    expect((await waiting.join(deployment)).code).toBe(0);
    expect(await json('host', 'approve', waiting.id)).toMatchObject({ state: 'HOST_STATE_ACTIVE' });
    expect(await json('host', 'delete', waiting.id)).toEqual({});
  });
});

describe('commands about policies', () => {
  it('validate, apply, show, list and delete them', async () => {
    const text =
      'name: trustPolicies/boot\nselector: { match_labels: { rack: b7 } }\npcr_rules:\n  - { bank: sha256, index: 7, allowed: ["';
    const good = await deployment.file('boot.yaml', `${text}${'ab'.repeat(32)}"] }\n`);
    const bad = await deployment.file('bad.yaml', `${text}abcd"] }\n`);

    expect(await printed('policy', 'validate', '-f', good)).toBe('no problems\n');
    const invalid = await deployment.assay('policy', 'validate', '-f', bad, '--output', 'json');
    expect(invalid).toMatchObject({ code: 1, stderr: '' });
    expect(JSON.parse(invalid.stdout)).toMatchObject({ problems: [{ field: 'pcr_rules[0].allowed[0]' }] });
    const refused = await deployment.assay('policy', 'apply', '-f', bad);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain(`${bad}:4:`);

    expect(await printed('policy', 'apply', '-f', good)).toBe('created boot, version 1\n');
    expect(await printed('policy', 'apply', '-f', good)).toBe('updated boot, version 2\n');
    const again = await json('policy', 'apply', '-f', good);
    expect(again).toMatchObject({ trustPolicies: [{ name: 'trustPolicies/boot', version: '3' }] });
    expect(await json('policy', 'get', 'boot', '--version', '1')).toMatchObject({ version: '1' });
    expect(await printed('policy', 'list')).toMatch(/^boot +3 +0 +rack=b7 +1 /m);
    expect(await json('policy', 'list')).toMatchObject({
      trustPolicies: [{ name: 'trustPolicies/base' }, { version: '3' }],
    });

    // What `get` prints is what `apply` reads.
    const copy = await deployment.file('copy.yaml', await printed('policy', 'get', 'boot'));
    expect(await printed('policy', 'apply', '-f', copy)).toBe('updated boot, version 4\n');
    expect(await printed('policy', 'delete', 'boot')).toBe('deleted boot\n');
    expect(await deployment.assay('policy', 'delete', 'boot')).toMatchObject({ code: 1, stdout: '' });
  });

  it('say where an expression is wrong: in the file, and in the expression', async () => {
    const text = `name: trustPolicies/expressions
selector: { match_labels: { rack: b8 } }
expressions:
  - id: firmware
    claim: VECTOR_CLAIM_HARDWARE
    expression: |
      pcrs.sha256[0] != "" &&
      tpm.firmware_version > 3
`;
    const good = await deployment.file('expressions.yaml', text);
    const bad = await deployment.file('bad-expressions.yaml', text.replace('firmware_version', 'firmware'));
    expect(await printed('policy', 'validate', '-f', good)).toBe('no problems\n');
    const place = `${bad}:6:5: expressions[0].expression: line 2, column 5: no such key: firmware`;
    const invalid = await deployment.assay('policy', 'validate', '-f', bad);
    expect(invalid).toMatchObject({ code: 1, stdout: `${place}\n` });
    const refused = await deployment.assay('policy', 'apply', '-f', bad);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain(place);
    expect(await printed('policy', 'apply', '-f', good)).toBe('created expressions, version 1\n');
    expect(await printed('policy', 'list')).toMatch(/^expressions +1 +0 +rack=b8 +1 /m);
    const copy = await deployment.file('expressions-copy.yaml', await printed('policy', 'get', 'expressions'));
    expect(await printed('policy', 'apply', '-f', copy)).toBe('updated expressions, version 2\n');
    expect(await printed('policy', 'delete', 'expressions')).toBe('deleted expressions\n');
  });

  it('read a policy from standard input', async () => {
    const input = JSON.stringify(policy('piped', { selector: { matchLabels: { rack: 'c1' } } }));
    const ended = await run('assay', ['policy', 'apply', '-f', '-', '--profile', deployment.profile], { input });
    expect(ended).toMatchObject({ code: 0, stdout: 'created piped, version 1\n' });
  });
});

describe('commands about results', () => {
  it('show, list and watch them', async () => {
    await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
    expect(await printed('result', 'get', host.id)).toMatch(/^PASSED +pcr\.sha256\.16 /m);
    expect(await json('result', 'get', host.id)).toMatchObject({ status: 'TRUST_STATUS_AFFIRMING' });
    expect(await printed('result', 'list')).toMatch(
      new RegExp(`^${host.id} +\\S+ +AFFIRMING +CONNECTED +base@1 `, 'm'),
    );
    expect(await json('result', 'list', '--status', 'none')).toEqual({ results: [] });
    const { results } = (await json('result', 'list', host.id, '--history')) as { results: { revision: string }[] };
    expect(results.length).toBeGreaterThan(1);
    const revisions = results.map(({ revision }) => Number(revision));
    expect(revisions).toEqual(revisions.toSorted((a, b) => b - a));

    await using watch = start('assay', ['result', 'watch', '--output', 'json', '--profile', deployment.profile]);
    await eventually('present results', () => (watch.stdout.includes('synced') ? true : undefined));
    const [first, bookmark] = watch.objects as { resumeToken: string }[];
    expect(first).toMatchObject({ change: { initial: true, result: { host: `hosts/${host.id}` } } });
    expect((await watch.stop('SIGTERM')).code).toBe(0);

    // From its token on only what is new comes.
    await printed('host', 'label', host.id, 'watched=yes');
    const resume = ['--resume', bookmark?.resumeToken ?? '', '--output', 'json', '--profile', deployment.profile];
    await using resumed = start('assay', ['result', 'watch', ...resume]);
    await eventually('change', () => (resumed.stdout.includes('watched') ? true : undefined));
    expect(resumed.stdout).not.toContain('"initial":true');
  });
});

describe('commands about endorsements', () => {
  it('import, list and remove CAs', async () => {
    const { trustAnchors } = (await json('endorsement', 'list')) as {
      trustAnchors: { name: string; subject: string }[];
    };
    expect(trustAnchors).toHaveLength(2);
    const [issuer, root] = host.tpm.caCertificates.map(({ path }) => path);
    expect(await printed('endorsement', 'import', issuer ?? '', root ?? '')).toBe('0 added, 2 known already\n');
    expect(await json('endorsement', 'import', issuer ?? '')).toEqual({ added: [], known: 1 });
    expect(await printed('endorsement', 'list')).toMatch(/^[0-9a-f]{64} +anchor +1 .*swtpm-localca-rootca/m);
    const [{ name } = { name: '' }] = trustAnchors.filter(({ subject }) => subject.includes('rootca'));
    const id = name.replace('trustAnchors/', '');
    expect(await printed('endorsement', 'remove', id)).toBe(`removed ${id}\n`);
    expect(await printed('endorsement', 'import', root ?? '')).toMatch(/^1 added, 0 known already$/m);
    expect(await printed('endorsement', 'show', id)).toMatch(/^version: +2 of [^]*-----BEGIN CERTIFICATE-----$/m);
    expect(await deployment.assay('endorsement', 'remove', id, '--etag', 'v1')).toMatchObject({ code: 1, stdout: '' });
    const history = await printed('endorsement', 'history', name);
    expect(history.match(/trustAnchor\.\w+/g)).toEqual(['trustAnchor.add', 'trustAnchor.remove', 'trustAnchor.add']);
  });

  it('import, list and remove revocation lists', async () => {
    const ca = await openSwtpmCa(host.tpm);
    await deployment.operator.endorsements.importAnchors(Buffer.from(ca.certificate));
    const crl = ['endorsement', 'crl'];
    const file = await deployment.file('list.pem', ca.revoke([0x7f], 5));
    expect(await printed(...crl, 'list')).toBe('ID  VERSION  ENTRIES  NUMBER  ISSUED  NEXT UPDATE  ISSUER\n');
    expect(await printed(...crl, 'import', file, file)).toMatch(/^1 added, 1 known already$/m);
    expect(await json(...crl, 'import', file)).toEqual({ added: [], known: 1 });
    expect(await printed(...crl, 'list')).toMatch(/^[0-9a-f]{64} +1 +1 +05 +\S+Z +\S+Z +CN=swtpm-localca$/m);
    const { revocationLists } = (await json(...crl, 'list')) as { revocationLists: { name: string }[] };
    expect(revocationLists).toMatchObject([{ number: '05', entryCount: 1 }]);
    const id = revocationLists[0]?.name.replace('revocationLists/', '') ?? '';
    expect(await printed(...crl, 'show', id)).toMatch(/^number: +05$[^]*-----END X509 CRL-----$/m);
    expect(await printed(...crl, 'remove', id)).toBe(`removed ${id}\n`);
    expect(await deployment.assay(...crl, 'remove', id)).toMatchObject({ code: 1, stdout: '' });
  });

  it('import, list and remove registered keys', async () => {
    const key = 'cd'.repeat(32);
    const file = await deployment.file('keys.txt', `# rack 9\n${key} rack-9 spare board\n`);
    const inventory = ['endorsement', 'inventory'];
    expect(await printed(...inventory, 'import', file)).toBe('1 added, 0 overwritten\n');
    expect(await json(...inventory, 'import', file)).toEqual({ added: 0, updated: 0 });
    expect(await printed(...inventory, 'list')).toMatch(new RegExp(`^${key} +rack-9 +\\S+ +spare board$`, 'm'));
    const listed = await deployment.file('keys.json', await printed(...inventory, 'list', '--output', 'json'));
    expect(await printed(...inventory, 'import', listed)).toBe('0 added, 0 overwritten\n');
    const moved = await deployment.file('moved.txt', `${key} rack-10\n`);
    expect(await json(...inventory, 'import', moved)).toEqual({ added: 0, updated: 1 });
    expect(await printed(...inventory, 'remove', key)).toBe(`removed ${key}\n`);
    expect(await json(...inventory, 'list')).toEqual({ entries: [] });
  });
});

describe('commands about identities', () => {
  it('issue, list and revoke them, and each may what its role may', async () => {
    const out = join(deployment.directory, 'scheduler.json');
    const issued = await printed(
      'identity',
      'issue',
      'scheduler',
      '--role',
      'orchestrator',
      '--all-hosts',
      '--out',
      out,
    );
    expect(issued).toMatch(/^issued scheduler \(ORCHESTRATOR\) until /);
    expect((await stat(out)).mode & 0o777).toBe(0o600);
    expect(await deployment.assay('identity', 'issue', 'scheduler', '--role', 'auditor', '--out', out)).toMatchObject({
      code: 2,
    });

    const asScheduler = (...args: readonly string[]) => run('assay', [...args, '--profile', out]);
    expect(await asScheduler('result', 'list')).toMatchObject({ code: 0, stderr: '' });
    const denied = await asScheduler('host', 'revoke', host.id);
    expect(denied).toMatchObject({ code: 4, stdout: '' });
    expect(denied.stderr).toMatch(/^assay: ROLE_MISSING: /);

    expect(await printed('identity', 'list')).toMatch(/^scheduler +ORCHESTRATOR +every host +valid /m);
    expect(await printed('identity', 'revoke', 'scheduler')).toBe('revoked scheduler\n');
    expect(await asScheduler('result', 'list')).toMatchObject({ code: 4, stdout: '' });
    expect(await json('identity', 'list')).toMatchObject({
      identities: [{ name: 'identities/operator' }, { revoked: true }],
    });
    // A name that was revoked stays so, for it stands in certificates; another takes its place.
    const issue = (name: string) => [
      'identity',
      'issue',
      name,
      '--role',
      'orchestrator',
      '--all-hosts',
      '--out',
      out,
      '--force',
    ];
    expect(await deployment.assay(...issue('scheduler'))).toMatchObject({ code: 1, stdout: '' });
    expect(await json(...issue('scheduler-2'))).toMatchObject({ roles: ['ROLE_ORCHESTRATOR'] });
    expect(await asScheduler('result', 'list')).toMatchObject({ code: 0 });
    expect(await json('identity', 'revoke', 'scheduler-2')).toMatchObject({ revoked: true });
  });
});

describe('exit codes', () => {
  it.each([
    { code: 1, why: 'for what is not there', args: ['host', 'get', 'h-aaaaaaaaaaaaaaaaaaaaaaaaaa'], says: 'NOT_FOUND' },
    { code: 1, why: 'for a name that is none', args: ['host', 'get', 'Elsa'], says: 'INVALID' },
    { code: 2, why: 'for a wrong option', args: ['host', 'list', '--colour'], says: '--colour' },
    { code: 2, why: 'for a wrong word', args: ['result', 'list', '--status', 'fine'], says: 'AFFIRMING' },
    {
      code: 2,
      why: 'for a profile that is missing',
      args: ['host', 'list', '--profile', '/nonexistent'],
      says: 'not found',
    },
    { code: 2, why: 'for a file that is missing', args: ['policy', 'apply', '-f', '/nonexistent'], says: 'not found' },
  ])('are $code $why', async ({ code, args, says }) => {
    const ended = await deployment.assay(...args);
    expect(ended).toMatchObject({ code, stdout: '' });
    expect(ended.stderr).toContain(says);
    expect(ended.stderr).not.toMatch(/\n +at /);
  });

  it('are 5 for a host that is not affirmed', async () => {
    await using other = await AttestedHost.enrolled(deployment);
    const ended = await deployment.assay('result', 'get', other.id);
    expect(ended).toMatchObject({ code: 5, stderr: '' });
    expect(ended.stdout).toMatch(/^status: +NONE$/m);
  });

  it('are 0 for the version', async () => {
    expect(await printed('version')).toMatch(/^assay \d+\.\d+\.\d+/);
  });
});
