import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fileSize, readEnvironment, readPart, tryFile, writeSecretFile, writeTextFile } from '../../client/config.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'assay-config-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

test('reads a part of a file and refuses one that is larger than the limit', async () => {
  const path = join(folder, 'log');
  await writeFile(path, Buffer.alloc(600_000, 5));
  expect(await readPart(path, { offset: 0, limit: 600_000 })).toHaveLength(600_000);
  expect(await readPart(path, { offset: 599_000, limit: 1000 })).toHaveLength(1000);
  expect(await readPart(path, { offset: 700_000, limit: 1000 })).toHaveLength(0);
  await expect(readPart(path, { offset: 0, limit: 599_999 })).rejects.toMatchObject({ code: 'EFBIG' });
  await expect(readPart(folder, { offset: 0, limit: 10 })).rejects.toMatchObject({ code: 'EISDIR' });
});

test('tells the size of a file', async () => {
  const path = join(folder, 'log');
  await writeFile(path, Buffer.alloc(600_000, 5));
  expect(await fileSize(path)).toBe(600_000);
  await expect(fileSize(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
});

test('reads files of the kernel, which say that they are empty', async () => {
  expect((await readPart('/proc/sys/kernel/random/boot_id', { offset: 0, limit: 64 })).toString()).toMatch(
    /^[0-9a-f-]{36}\n$/,
  );
});

test('a file with a key is for its owner alone, in folders that are made', async () => {
  const path = join(folder, 'a', 'b', 'profile.json');
  await writeSecretFile(path, 'one');
  await writeSecretFile(path, 'two');
  expect(await readFile(path, 'utf8')).toBe('two');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await stat(join(folder, 'a'))).mode & 0o777).toBe(0o700);
});

test('a file that cannot be written is known before, and leaves nothing behind', async () => {
  const path = join(folder, 'profile.json');
  await tryFile(path);
  expect(await readdir(folder)).toEqual([]);
  await writeFile(path, 'one');
  await tryFile(path);
  expect(await readFile(path, 'utf8')).toBe('one');
  for (const write of [tryFile, (to: string) => writeSecretFile(to, 'two'), (to: string) => writeTextFile(to, 'two')]) {
    // oxlint-disable-next-line no-await-in-loop -- one folder
    await expect(write(folder)).rejects.toMatchObject({ code: 'EISDIR' });
    // oxlint-disable-next-line no-await-in-loop -- one folder
    await expect(write(join(path, 'below'))).rejects.toMatchObject({
      code: expect.stringMatching(/^(?:ENOTDIR|EEXIST)$/) as unknown,
    });
  }
  expect(await readdir(folder)).toEqual(['profile.json']);
});

test('the environment has defaults for everything', () => {
  const environment = readEnvironment({});
  expect(environment).toMatchObject({
    state: '/var/lib/assay/agent',
    tcti: 'device:/dev/tpmrm0',
    logLevel: 'info',
    notify: false,
  });
  expect(environment.profile).toMatch(/\/\.config\/assay\/profile\.json$/);
  expect(environment.watchdogMicros).toBeUndefined();
});

test('the environment sets what it names', () => {
  const own = { WATCHDOG_USEC: '2000000', WATCHDOG_PID: String(process.pid) };
  expect(readEnvironment({ ASSAY_PROFILE: '/p', XDG_CONFIG_HOME: '/x' }).profile).toBe('/p');
  expect(readEnvironment({ XDG_CONFIG_HOME: '/x' }).profile).toBe('/x/assay/profile.json');
  expect(readEnvironment(own).watchdogMicros).toBe(2_000_000);
  expect(readEnvironment({ ...own, WATCHDOG_PID: '1' }).watchdogMicros).toBeUndefined();
  expect(() => readEnvironment({ ASSAY_LOG: 'loud' })).toThrow(/ASSAY_LOG must be one of/);
});
