/** The disk that the firmware boots: a partition table and one EFI system partition with shim, GRUB, kernel and initramfs. */
import { execFile } from 'node:child_process';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { makeInitramfs } from './initramfs.ts';
import { findSignedSystem } from './signed-system.ts';

const run = promisify(execFile);

/** Every name is fixed, so that two disks of the same content are measured alike. */
const TABLE = [
  'label: gpt',
  'label-id: 11111111-2222-3333-4444-555555555555',
  'first-lba: 2048',
  'start=2048, type=C12A7328-F81F-11D2-BA4B-00C04FC93EC9, name="EFI", uuid=AAAAAAAA-2222-3333-4444-555555555555',
  '',
].join('\n');
const MIB = 1024 * 1024;
const DISK_MIB = 160;
/** The table has a copy at the end of the disk. */
const PARTITION_MIB = DISK_MIB - 2;
/** The folder that is built into GRUB where each distribution signs it. */
const GRUB_FOLDERS = ['debian', 'ubuntu'] as const;

export interface BootDisk {
  readonly path: string;
  /** Path of the shim on this machine: what the firmware starts first. */
  readonly shim: string;
  /** The same disk with other kernel arguments: who may write GRUB's configuration can have them. */
  withArguments(kernelArguments: string): Promise<BootDisk>;
}

/** What the guest needs; what a person would add comes after it. */
const ARGUMENTS = 'console=ttyS0 loglevel=4 panic=-1';

/** Makes the disk in a folder. The parts are read from the cache, the disk is some seconds' work. */
export async function makeBootDisk(directory: string, kernelArguments = ''): Promise<BootDisk> {
  const system = findSignedSystem();
  const initramfs = await makeInitramfs(system);
  let count = 0;
  const make = async (extra: string): Promise<BootDisk> => {
    count += 1;
    const path = join(directory, `boot-${count}.img`);
    const configuration = join(directory, 'grub.cfg');
    await writeFile(configuration, grubConfiguration(extra));
    await writeFile(path, '');
    await truncate(path, DISK_MIB * MIB);
    await feed('/sbin/sfdisk', ['--quiet', path], TABLE);
    const label = ['-n', 'ESP', '-i', 'DEADBEEF'];
    await run('/sbin/mkfs.vfat', ['-F', '32', ...label, '--offset', '2048', path, String(PARTITION_MIB * 1024)]);
    // mtools read and write a file system inside a file: nothing is mounted, so nobody needs to be root.
    const image = `${path}@@1M`;
    const env = { ...process.env, MTOOLS_SKIP_CHECK: '1' };
    const folders = ['::/EFI', '::/EFI/BOOT', ...GRUB_FOLDERS.map((name) => `::/EFI/${name}`)];
    await run('mmd', ['-i', image, ...folders], { env });
    const files = [
      [system.shim, '/EFI/BOOT/BOOTX64.EFI'],
      [system.grub, '/EFI/BOOT/grubx64.efi'],
      [system.kernel, '/vmlinuz'],
      [initramfs, '/initramfs'],
      ...GRUB_FOLDERS.map((name) => [configuration, `/EFI/${name}/grub.cfg`] as const),
    ] as const;
    for (const [source, target] of files) await run('mcopy', ['-i', image, source, `::${target}`], { env });
    return { path, shim: system.shim, withArguments: make };
  };
  return make(kernelArguments);
}

/**
 * Debian's GRUB starts the kernel by its EFI entry, which hands on the firmware's log, only where Secure Boot is on, or where it is
 * told to; later ones always do, and have no other command.
 */
function grubConfiguration(extra: string): string {
  const kernelArguments = [ARGUMENTS, extra].filter((text) => text !== '').join(' ');
  return [
    'set timeout=0',
    `if linuxefi /vmlinuz ${kernelArguments}; then`,
    '  initrdefi /initramfs',
    'else',
    `  linux /vmlinuz ${kernelArguments}`,
    '  initrd /initramfs',
    'fi',
    'boot',
    '',
  ].join('\n');
}

async function feed(command: string, args: readonly string[], input: string): Promise<void> {
  const running = run(command, [...args]);
  running.child.stdin?.end(input);
  await running;
}
