/** The initramfs: busybox, Node, tpm2-tss and the agent of this checkout, with its production dependencies alone. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync } from 'node:fs';
import { mkdir, readFile, readdir, realpath, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { constants, zstdCompress } from 'node:zlib';

import { makeCpio } from './cpio.ts';
import type { CpioEntry } from './cpio.ts';
import { machineCache, readModules } from './signed-system.ts';
import type { SignedSystem } from './signed-system.ts';

const run = promisify(execFile);
const checkout = join(import.meta.dirname, '..', '..');
const compress = promisify(zstdCompress);

const APPLETS = ['sh', 'mount', 'cut', 'insmod', 'hostname', 'ip', 'od', 'sleep'];
/** Disk, network, TPM and variables of the machine; which of them are modules is the distribution's choice. */
const MODULES = ['virtio_pci', 'virtio_blk', 'virtio_net', 'ext4', 'tpm_crb', 'efivarfs'];
const TSS = [
  'libtss2-esys.so.0',
  'libtss2-mu.so.0',
  'libtss2-tctildr.so.0',
  'libtss2-rc.so.0',
  'libtss2-tcti-device.so.0',
];
const CONSOLE = [5, 1] as const;
/** By what name the guest knows the service; the address is the host's loopback as QEMU's user network shows it. */
export const SERVICE_NAME = 'attest.example.net';
const HOSTS = `127.0.0.1 localhost\n10.0.2.2 ${SERVICE_NAME}\n`;
const KEPT = 3;
const COMPRESSION = { params: { [constants.ZSTD_c_compressionLevel]: 9 } };

/** Path of the compressed archive: made once of the same inputs, some seconds. */
export async function makeInitramfs(system: SignedSystem): Promise<string> {
  const archive = makeCpio(await collect(system));
  const key = createHash('sha256').update(archive).digest('hex').slice(0, 32);
  const path = join(machineCache, `initramfs-${key}.zst`);
  if (existsSync(path)) {
    const now = new Date();
    await utimes(path, now, now);
    return path;
  }
  await mkdir(machineCache, { recursive: true });
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, await compress(archive, COMPRESSION));
  await rename(temporary, path);
  await forgetOld();
  return path;
}

async function collect(system: SignedSystem): Promise<readonly CpioEntry[]> {
  const modules = await readModules(system, MODULES);
  const libraries = await libraryPaths();
  const node = await realpath(join(checkout, 'node_modules', '.bin', 'node'));
  const file = async (path: string, source: string, executable = false): Promise<CpioEntry> => ({
    kind: 'file',
    path,
    content: await readFile(source),
    executable,
  });
  return [
    { kind: 'device', path: 'dev/console', major: CONSOLE[0], minor: CONSOLE[1] },
    ...['proc', 'sys', 'tmp', 'run', 'var/lib/machine'].map((path): CpioEntry => ({ kind: 'directory', path })),
    await file('init', join(import.meta.dirname, 'guest', 'init'), true),
    await file('bin/busybox', '/bin/busybox', true),
    ...APPLETS.map((name): CpioEntry => ({ kind: 'link', path: `bin/${name}`, target: 'busybox' })),
    await file('bin/node', node, true),
    { kind: 'file', path: 'etc/hosts', content: Buffer.from(HOSTS) },
    await file('etc/os-release', '/etc/os-release'),
    ...modules.map(({ name, content }, index): CpioEntry => {
      return { kind: 'file', path: `modules/${String(index).padStart(2, '0')}-${name}.ko`, content };
    }),
    ...(await Promise.all(libraries.map((path) => file(path.slice(1), path, true)))),
    ...(await Promise.all((await agentPaths()).map((path) => file(join('assay', path), join(checkout, path))))),
  ];
}

/** The libraries of Node, of the TSS and theirs, by the path under which the dynamic linker of this system finds them. */
async function libraryPaths(): Promise<readonly string[]> {
  const { stdout: cache } = await run('/sbin/ldconfig', ['-p']);
  const lines = cache.split('\n').map((line) => line.trim());
  const roots = TSS.map((name) => {
    const line = lines.find((candidate) => candidate.startsWith(`${name} (`) && candidate.includes('x86-64'));
    const path = line?.split(' => ')[1];
    if (path === undefined) throw new Error(`this system has no ${name}`);
    return path;
  });
  const all = new Set(roots);
  for (const path of [join(checkout, 'node_modules', '.bin', 'node'), ...roots]) {
    const { stdout } = await run('ldd', [path]);
    for (const [, library] of stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm))
      if (library !== undefined) all.add(library);
  }
  return [...all].toSorted();
}

/** The agent's sources and what it imports from npm, without types and maps. */
async function agentPaths(): Promise<readonly string[]> {
  const sources = globSync(['{client,proto,tpm}/**/*.ts', 'package.json'], { cwd: checkout });
  const lock = JSON.parse(await readFile(join(checkout, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
  };
  const production = Object.entries(lock.packages).filter(
    ([path, { dev }]) => path !== '' && dev !== true && !path.includes('/@types/') && existsSync(join(checkout, path)),
  );
  const files = production.flatMap(([path]) =>
    globSync('**/*.{js,cjs,mjs,json,node}', { cwd: join(checkout, path) })
      // A package inside another one is a package of the lock file, with an entry of its own.
      .filter((name) => !name.includes('node_modules/'))
      .map((name) => join(path, name)),
  );
  return [...sources, ...files].toSorted();
}

/** Each change of the agent makes a new archive: the latest few stay. */
async function forgetOld(): Promise<void> {
  const names = (await readdir(machineCache)).filter((name) => name.startsWith('initramfs-'));
  const aged = await Promise.all(
    names.map(async (name) => ({ name, time: (await stat(join(machineCache, name))).mtimeMs })),
  );
  const old = aged.toSorted((left, right) => right.time - left.time).slice(KEPT);
  await Promise.all(old.map(({ name }) => rm(join(machineCache, name), { force: true })));
}
