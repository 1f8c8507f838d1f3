import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AttestedHost } from '../support/attested-host.ts';
import { bootHost, bootLogPath, joinWithLog } from '../support/booted-host.ts';
import { SECURE_BOOT } from '../support/booted-machine.ts';
import { dataIsHere } from '../support/data.ts';
import { Deployment } from '../support/deployment.ts';
import { run } from '../support/programs.ts';

describe.skipIf(!dataIsHere('measured-boot'))('what is kept of a host', () => {
  let deployment: Deployment;
  let host: AttestedHost;
  let out: string;
  beforeAll(async () => {
    deployment = await Deployment.start();
    host = await bootHost(deployment, SECURE_BOOT);
    expect(await joinWithLog(host, deployment, bootLogPath(SECURE_BOOT))).toMatchObject({ code: 0 });
    await deployment.stop();
    out = join(deployment.directory, 'out');
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await deployment?.[Symbol.asyncDispose]();
  });

  const evidence = (...args: readonly string[]) =>
    run('assayd', ['evidence', ...args, '--config', deployment.configuration]);

  it('is written for its owner alone, and is what the host sent', async () => {
    const { code, stdout } = await evidence(host.id, '--out', out);
    expect(code).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { host: host.id, boot: 'present', ended: null, logs: [{ kind: 'boot', damaged: false }] },
    ]);
    const file = join(out, 'present', 'binary_bios_measurements');
    expect(await readFile(file)).toEqual(await readFile(bootLogPath(SECURE_BOOT)));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await run('assay', ['inspect', 'eventlog', file])).toMatchObject({ code: 0 });
  });

  it('is never written over what is there, and of an unknown host it is nothing', async () => {
    expect(await evidence(host.id, '--out', deployment.directory)).toEqual({
      code: 1,
      stdout: '',
      stderr: `assayd: ${deployment.directory} is there already: name another\n`,
    });
    const nowhere = join(deployment.directory, 'no', 'folder');
    expect((await evidence(host.id, '--out', nowhere)).stderr).toBe(
      `assayd: ${nowhere} is not there, or its folder is not: make the folder, or name another path\n`,
    );
    const elsewhere = join(deployment.directory, 'elsewhere');
    const unknown = await evidence('h-nobody', '--out', elsewhere);
    await expect(stat(elsewhere)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(unknown).toMatchObject({ code: 1, stdout: '' });
    expect(unknown.stderr).toContain('host "h-nobody" is not known');
  });
});
