import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Deployment } from '../support/deployment.ts';
import { eventually, freePort, run, start } from '../support/programs.ts';

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'assay-assayd-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

async function configuration(name: string, ...lines: readonly string[]): Promise<string> {
  const file = join(directory, `${name}.yaml`);
  await writeFile(file, `${lines.join('\n')}\n`);
  return file;
}

describe('assayd init', () => {
  it('writes configuration, keys and a profile that are its owner’s alone, and says how hosts join', async () => {
    const file = join(directory, 'first.yaml');
    const data = join(directory, 'first');
    const ended = await run('assayd', ['init', '--config', file, '--data', data, '--listen', '127.0.0.1:9443']);
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(ended.stdout).toMatch(
      /assay agent join --server localhost:9443 --service-fingerprint sha256:[0-9a-f]{64}\n/,
    );
    for (const secret of ['root.key', 'operator.json', 'assay.db']) {
      expect((await stat(join(data, secret))).mode & 0o777, secret).toBe(0o600);
    }
    // A second time changes nothing and says the same.
    const key = await readFile(join(data, 'root.key'), 'utf8');
    const again = await run('assayd', ['init', '--config', file]);
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(joinLine(again.stdout)).toBe(joinLine(ended.stdout));
    expect(await readFile(join(data, 'root.key'), 'utf8')).toBe(key);
  });

  it('does not overwrite a configuration', async () => {
    const file = await configuration('mine', `data_directory: ${join(directory, 'mine')}`);
    const ended = await run('assayd', ['init', '--config', file, '--listen', '127.0.0.1:9443']);
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(/^assayd: .*mine\.yaml is there already/);
  });
});

function joinLine(text: string): string | undefined {
  return /assay agent join .*/.exec(text)?.[0];
}

describe('assayd serve', () => {
  it('says every problem of its configuration at once, with file and line', async () => {
    const file = await configuration(
      'bad',
      'listen: nowhere',
      'data_directory: 7',
      'admission: [certificate, bribery]',
      'agent_certificate_lifetime: 5m',
      'reflection: maybe',
      'log_level: loud',
      'colour: blue',
    );
    const ended = await run('assayd', ['serve', '--config', file]);
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    const problems = ended.stderr.trimEnd().split('\n');
    expect(problems.every((line) => line.startsWith(`assayd: ${file}:`))).toBe(true);
    const said = problems.map((line) => line.slice(`assayd: ${file}:`.length));
    for (const key of [
      '1: listen',
      '2: data_directory',
      '3: admission',
      '4: agent_certificate_lifetime',
      '5: reflection',
      '6: log_level',
      '7: "colour"',
    ]) {
      expect(
        said.some((line) => line.startsWith(key)),
        `${key} in ${ended.stderr}`,
      ).toBe(true);
    }
    expect(problems).toHaveLength(7);
  });

  it.each([
    { what: 'is missing', file: 'missing.yaml', content: undefined },
    { what: 'is no YAML', file: 'broken.yaml', content: 'listen: [\n' },
    { what: 'is a list', file: 'list.yaml', content: '- listen\n' },
  ])('says plainly that its configuration $what', async ({ file, content }) => {
    const path = join(directory, file);
    if (content !== undefined) await writeFile(path, content);
    const ended = await run('assayd', ['serve', '--config', path]);
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(new RegExp(`^assayd: ${path}[: ]`));
    expect(ended.stderr).not.toMatch(/\n {4}at /);
  });

  it('refuses a flag that it does not have', async () => {
    expect(await run('assayd', ['serve', '--confg', 'x'])).toMatchObject({ code: 2, stdout: '' });
  });

  it('says plainly that another process has the store, and leaves that one alone', async () => {
    await using deployment = await Deployment.start();
    const second = await run('assayd', ['serve', '--config', deployment.configuration]);
    expect(second).toMatchObject({ code: 1, stdout: '' });
    expect(second.stderr).toBe(`assayd: the store in ${join(deployment.directory, 'data')} is already open\n`);
    expect(await deployment.assay('host', 'list')).toMatchObject({ code: 0 });
  });

  it.each(['listen', 'web_listen'])('says plainly that the port of %s is in use, and ends', async (key) => {
    const [port, other] = [await freePort(), await freePort()];
    const holder = createServer().listen(port, '127.0.0.1');
    const data = join(directory, `port-${key}`);
    const listeners = [`listen: 127.0.0.1:${key === 'listen' ? port : other}`, `web_listen: 127.0.0.1:${port}`];
    const file = await configuration(`port-${key}`, ...listeners, `data_directory: ${data}`);
    const ended = await run('assayd', ['serve', '--config', file]);
    await new Promise((resolve) => holder.close(resolve));
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(new RegExp(`^assayd: .*EADDRINUSE.*:${port}\n$`));
  });

  it.each([
    { what: 'another key', key: 'ab'.repeat(32) },
    { what: 'no key at all', key: 'swordfish' },
  ])('says plainly that its root key is $what', async ({ key }) => {
    const data = join(directory, `key-${key.length}`);
    const file = await configuration(`key-${key.length}`, 'listen: 127.0.0.1:0', `data_directory: ${data}`);
    expect(await run('assayd', ['init', '--config', file])).toMatchObject({ code: 0 });
    const ended = await run('assayd', ['serve', '--config', file], { env: { ASSAYD_ROOT_KEY: key } });
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(/^assayd: .*(root key|ASSAYD_ROOT_KEY).*\n$/);
    expect(ended.stderr).not.toContain(key);
  });

  it('drains at SIGTERM: open streams end, what was answered is kept, the exit code is 0', async () => {
    await using deployment = await Deployment.start();
    await using watch = start('assay', ['result', 'watch', '--output', 'json', '--profile', deployment.profile]);
    await eventually('present results', () => (watch.stdout.includes('synced') ? true : undefined));
    await deployment.operator.endorsements.importInventory([{ fingerprint: 'ab'.repeat(32), group: '', comment: '' }]);

    const ended = await deployment.stop('SIGTERM');
    expect(ended).toMatchObject({ code: 0, stdout: '' });
    const log = ended.stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { msg: string; level: number });
    expect(log.slice(-2).map(({ msg }) => msg)).toEqual(['stopping', 'stopped']);
    expect(log.filter(({ level }) => level >= 40)).toEqual([]);
    await eventually('interruption', () => (watch.stdout.includes('interrupted') ? true : undefined));

    await deployment.serve();
    expect((await deployment.operator.endorsements.inventoryPage('')).items).toHaveLength(1);
  });

  it('chooses a port by itself and says which', async () => {
    const data = join(directory, 'any');
    const file = await configuration('any', 'listen: 127.0.0.1:0', `data_directory: ${data}`);
    await using service = start('assayd', ['serve', '--config', file]);
    const { port } = await service.logged(({ msg }) => msg === 'serving', 'a service that listens');
    expect(port).toBeGreaterThan(0);
    expect(await service.stop('SIGINT')).toMatchObject({ code: 0 });
  });
});

describe('assayd operator', () => {
  it('gives another operator a profile, the service stopped', async () => {
    await using deployment = await Deployment.start();
    await deployment.stop();
    const out = join(directory, 'second-operator.json');
    const made = await run('assayd', ['operator', 'second', '--out', out, '--config', deployment.configuration]);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    await deployment.serve();
    expect(await run('assay', ['host', 'list', '--profile', out])).toMatchObject({ code: 0, stderr: '' });
  });
});
