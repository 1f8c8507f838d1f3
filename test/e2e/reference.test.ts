import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Deployment } from '../support/deployment.ts';

let deployment: Deployment;
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

beforeAll(async () => {
  deployment = await Deployment.start();
});
afterAll(() => deployment?.[Symbol.asyncDispose]());

async function json(...args: readonly string[]): Promise<Record<string, unknown>> {
  const ended = await deployment.assay(...args, '--output', 'json');
  expect(ended, args.join(' ')).toMatchObject({ code: 0, stderr: '' });
  return JSON.parse(ended.stdout) as Record<string, unknown>;
}

/** By the SDK: a command takes a process each. */
const entriesOf = async (set: string, version = 0n) => {
  const entries: string[][] = [];
  for await (const { digest, path } of deployment.operator.referenceSets.entries(set, { version }))
    entries.push([path, digest]);
  return entries.sort();
};

describe('reference sets', () => {
  it('of a tree, a package, lists and a policy of Keylime hold what files are measured as', async () => {
    const root = join(deployment.directory, 'root');
    await mkdir(join(root, 'usr', 'bin'), { recursive: true });
    await writeFile(join(root, 'usr', 'bin', 'one'), 'one');
    await writeFile(join(root, 'usr', 'bin', 'two \\ 2'), 'two');
    const files = [
      ['/usr/bin/one', sha256('one')],
      ['/usr/bin/two \\ 2', sha256('two')],
    ];
    expect(await json('reference', 'import', 'tree', root, '--format', 'tree', '--root', root)).toMatchObject({
      changed: true,
      readCount: '2',
      referenceSet: { name: 'referenceSets/tree', version: '1', entryCount: '2' },
    });
    expect(await entriesOf('tree')).toEqual(files);

    await mkdir(join(root, 'DEBIAN'));
    const control = [
      'Package: probe',
      'Version: 1',
      'Architecture: all',
      'Maintainer: nobody',
      'Description: none',
      '',
    ];
    await writeFile(join(root, 'DEBIAN', 'control'), control.join('\n'));
    const deb = join(deployment.directory, 'probe.deb');
    execFileSync('dpkg-deb', ['--build', '--root-owner-group', root, deb], { stdio: 'ignore' });
    await json('reference', 'import', 'deb', deb, '--format', 'deb');
    expect(await entriesOf('deb')).toEqual(files);

    const list = await deployment.file(
      'sums',
      execFileSync('sha256sum', ['usr/bin/one'], { cwd: root, encoding: 'utf8' }),
    );
    await json('reference', 'import', 'tree', list, '--format', 'sha256sum', '--add');
    expect((await entriesOf('tree')).map(([path]) => path)).toEqual([
      '/usr/bin/one',
      '/usr/bin/two \\ 2',
      'usr/bin/one',
    ]);

    const policy = { meta: { version: 1 }, digests: { '/a': [sha256('a')] }, excludes: ['^/tmp/'] };
    const imported = await deployment.assay(
      'reference',
      'import',
      'keylime',
      await deployment.file('policy.json', JSON.stringify(policy)),
      '--format',
      'keylime',
    );
    expect(imported.stdout).toBe(
      'imported keylime, version 1, 1 entries\nnot imported, without effect: excludes: 1 patterns\n',
    );
  });

  it('stay as they were where an import is refused, and say where', async () => {
    const before = await deployment.operator.referenceSets.get('tree');
    const bad = await deployment.file('bad', `${sha256('x')}  /x\nnot a line\n`);
    const refused = await deployment.assay('reference', 'import', 'tree', bad, '--format', 'sha256sum');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/^assay: REFERENCE_MALFORMED: line 2, column 1: neither/);
    const gone = await deployment.assay('reference', 'import', 'tree', '/does/not/exist', '--format', 'tree');
    expect(gone).toMatchObject({ code: 2, stderr: 'assay: /does/not/exist: not found\n' });
    const broken = await deployment.assay('reference', 'import', 'tree', bad, '--format', 'deb');
    expect(broken.code).toBe(2);
    expect(broken.stderr).toContain('dpkg-deb');
    expect(await deployment.operator.referenceSets.get('tree')).toEqual(before);
  });

  it('lose a withdrawn digest, and are there after a restart', async () => {
    await json('reference', 'remove', 'tree', '--digest', sha256('one'));
    await deployment.stop('SIGKILL');
    await deployment.serve();
    expect(await entriesOf('tree')).toEqual([['/usr/bin/two \\ 2', sha256('two')]]);
    expect(await entriesOf('tree', 2n)).toHaveLength(3);
    const shown = await json('reference', 'show', 'tree', '--digest', sha256('two'));
    expect(shown).toMatchObject({ referenceSet: { version: '3' }, entries: [{ digest: sha256('two') }] });
    await deployment.operator.referenceSets.delete('keylime');
    const { referenceSets } = await json('reference', 'list');
    expect((referenceSets as { name: string }[]).map(({ name }) => name)).toEqual([
      'referenceSets/deb',
      'referenceSets/tree',
    ]);
  });
});

describe('keyrings', () => {
  it('are imported, shown, changed and deleted', async () => {
    const pem = () =>
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }) as string;
    const keys = await deployment.file('keys.pem', pem() + pem());
    expect(await json('keyring', 'import', 'distro', keys)).toMatchObject({ changed: true, keyring: { keyCount: 2 } });
    const shown = await json('keyring', 'show', 'distro');
    const [first] = shown['keys'] as { fingerprint: string }[];
    await json('keyring', 'remove-key', 'distro', first?.fingerprint ?? '');
    expect(await json('keyring', 'list')).toMatchObject({ keyrings: [{ version: '2', keyCount: 1 }] });
    await json('keyring', 'delete', 'distro');
    expect(await json('keyring', 'list')).toEqual({ keyrings: [] });
  });
});
