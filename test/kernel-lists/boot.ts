/** Boots a scene and takes what the guest hands out. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { RunningProgram } from '../support/programs.ts';
import { manufacture } from '../support/swtpm.ts';
import { kernelOf, makeGuest } from './guest.ts';
import type { GuestOptions } from './guest.ts';

const WITHIN = 300_000;
const POLL = 200;
const MEMORY_MIB = 768;
/** The timer is not looked for on a machine that is too busy to let it tick. */
const COMMON = 'console=ttyS0 loglevel=5 panic=-1 rootfstype=ramfs no_timer_check';

/** What one kernel handed out, by the name of the section. */
export type HandedOut = ReadonlyMap<string, Buffer>;

/** The sections of each `hand_out` of a boot, in order: a scene with kexec has two. */
export async function bootScene(options: GuestOptions): Promise<readonly HandedOut[]> {
  const directory = await mkdtemp(join(tmpdir(), 'assay-scene-'));
  try {
    await manufacture(directory, { banks: options.scene.banks, ekCertificates: false });
    await writeFile(join(directory, 'guest.cpio'), await makeGuest(options));
    return await run(options, directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function run(options: GuestOptions, directory: string): Promise<readonly HandedOut[]> {
  const at = (name: string): string => join(directory, name);
  const tpm = new RunningProgram('swtpm', [
    ...['socket', '--tpm2', '--tpmstate', `dir=${at('state')}`, '--ctrl', `type=unixio,path=${at('tpm.socket')}`],
  ]);
  try {
    while (!existsSync(at('tpm.socket')) && !tpm.ended) await delay(POLL / 10);
    const qemu = new RunningProgram('qemu-system-x86_64', [
      ...['-machine', 'q35', '-accel', 'tcg', '-cpu', 'max', '-smp', '1', '-m', String(MEMORY_MIB)],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-net', 'none'],
      ...['-chardev', `socket,id=tpm-socket,path=${at('tpm.socket')}`, '-tpmdev', 'emulator,id=tpm,chardev=tpm-socket'],
      ...['-device', 'tpm-tis,tpmdev=tpm'],
      ...['-serial', `file:${at('console')}`, '-serial', `file:${at('data')}`],
      ...['-kernel', kernelOf(options), '-initrd', at('guest.cpio')],
      ...['-append', `${COMMON} ${options.scene.parameters}`],
    ]);
    const deadline = Date.now() + WITHIN;
    while (!qemu.ended && Date.now() < deadline) await delay(POLL);
    await qemu.stop('SIGKILL');
    const said = await readFile(at('console'), 'latin1');
    if (process.env['SHOW_CONSOLE'] !== undefined) process.stderr.write(said);
    if (!said.includes('scene: all is handed out')) throw new Error(`the guest did not come to its end\n${said}`);
    for (const [line] of said.matchAll(/scene: .*/g)) process.stderr.write(`${options.scene.name}: ${line}\n`);
    return sectionsOf(await readFile(at('data'), 'latin1'));
  } finally {
    await tpm.stop('SIGTERM');
  }
}

/** A name that comes again begins what the next kernel, or the same one later, handed out. */
function sectionsOf(data: string): readonly HandedOut[] {
  const all: Map<string, Buffer>[] = [];
  let current = new Map<string, Buffer>();
  for (const [, name = '', base64 = ''] of data
    .replaceAll('\r', '')
    .matchAll(/-----BEGIN (\w+)-----\n([^-]*)-----END \1-----/g)) {
    if (current.size === 0 || current.has(name)) all.push((current = new Map()));
    current.set(name, Buffer.from(base64, 'base64'));
  }
  return all;
}
