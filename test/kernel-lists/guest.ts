/** The archives that the guest starts from: busybox, the tools, the scene, and what is started by kexec. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';

import { makeCpio } from '../vm/cpio.ts';
import type { CpioEntry } from '../vm/cpio.ts';
import { findSignedSystem, readModules } from '../vm/signed-system.ts';
import type { Scene } from './scenes.ts';

const run = promisify(execFile);

const APPLETS = 'sh mount cat base64 cmp uname dmesg insmod mkdir reboot losetup truncate sleep echo'.split(' ');
/** Programs of this machine, by the name that they have in the guest. */
const TOOLS: readonly (readonly [string, string])[] = [
  ['keyctl', '/usr/bin/keyctl'],
  ['kexec', '/usr/sbin/kexec'],
  ['fsverity', '/usr/bin/fsverity'],
  ['dmsetup', '/usr/sbin/dmsetup'],
  // It is told what it is by its name, and busybox has one of the same.
  ['kmod', '/usr/bin/kmod'],
];
const MODULES = ['loop'];
const CONSOLE = [5, 1] as const;

export interface GuestOptions {
  readonly scene: Scene;
  /** Image of the file system with the signed files. */
  readonly disk: string;
  /** Folder of `build-kernel.sh`. */
  readonly minimal: string;
}

/** Path of the kernel that a scene boots. */
export function kernelOf({ scene, minimal }: GuestOptions): string {
  return scene.kernel === 'minimal' ? join(minimal, 'bzImage') : findSignedSystem().kernel;
}

/** The compressed archive of a scene. */
export async function makeGuest(options: GuestOptions): Promise<Buffer> {
  const { scene, minimal } = options;
  const base = await baseEntries(options);
  const more: CpioEntry[] = [];
  if (scene.second !== undefined) {
    more.push(await file('vmlinuz', kernelOf(options)));
    more.push({ kind: 'file', path: 'second.cpio', content: gzipSync(makeCpio(base), { level: 1 }) });
  }
  if (scene.kernel === 'minimal') {
    const signed = ['measured.ko', 'vmlinuz-signed'];
    for (const name of signed) more.push(await file(name, join(minimal, name)));
  }
  return gzipSync(makeCpio([...base, ...more]), { level: 1 });
}

async function baseEntries({ scene, disk, minimal }: GuestOptions): Promise<readonly CpioEntry[]> {
  const text = (path: string, lines: readonly string[]): CpioEntry => ({
    kind: 'file',
    path,
    content: Buffer.from(lines.map((line) => `${line}\n`).join('')),
  });
  const modules = scene.kernel === 'minimal' ? [] : await readModules(findSignedSystem(), MODULES);
  return [
    { kind: 'device', path: 'dev/console', major: CONSOLE[0], minor: CONSOLE[1] },
    ...['proc', 'sys', 'tmp', 'files', 'run'].map((path): CpioEntry => ({ kind: 'directory', path })),
    await file('init', join(import.meta.dirname, 'guest', 'init'), true),
    await file('bin/busybox', '/bin/busybox', true),
    ...APPLETS.map((name): CpioEntry => ({ kind: 'link', path: `bin/${name}`, target: 'busybox' })),
    { kind: 'link', path: 'kmod/insmod', target: '../bin/kmod' },
    ...(await toolEntries()),
    ...modules.map(({ name, content }, index): CpioEntry => {
      return { kind: 'file', path: `modules/${String(index).padStart(2, '0')}-${name}.ko`, content };
    }),
    await file('disk.img', disk),
    text('scene.sh', scene.script),
    text('scene.policy', scene.policy),
    text('second.sh', scene.second?.script ?? []),
    text('second.policy', scene.second?.policy ?? []),
    ...(await Promise.all(
      ['signer-rsa', 'signer-p256'].map((name) => file(`keys/${name}.der`, join(minimal, 'keys', `${name}.der`))),
    )),
  ];
}

async function file(path: string, source: string, executable = false): Promise<CpioEntry> {
  return { kind: 'file', path, content: await readFile(source), executable };
}

/** The tools, their libraries and the dynamic linker, by the paths that they ask for. */
async function toolEntries(): Promise<readonly CpioEntry[]> {
  const libraries = new Map<string, string>();
  let linker = '';
  for (const [, source] of TOOLS) {
    if (!existsSync(source)) throw new Error(`${source} is missing: see test/vectors/kernel-lists/README.md`);
    const { stdout } = await run('ldd', [source]);
    for (const [, path = ''] of stdout.matchAll(/=> (\/\S+) \(0x/g)) libraries.set(basename(path), path);
    linker = /^\s*(\/lib64\/\S+) \(0x/m.exec(stdout)?.[1] ?? linker;
  }
  return [
    ...(await Promise.all(TOOLS.map(([name, source]) => file(`bin/${name}`, source, true)))),
    ...(await Promise.all([...libraries].map(([name, source]) => file(`lib/${name}`, source, true)))),
    await file(linker.slice(1), linker, true),
  ];
}
