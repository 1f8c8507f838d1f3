/**
 * Makes the lists in test/vectors/kernel-lists anew: `node test/kernel-lists/main.ts MINIMAL [SCENE…]`, as root. MINIMAL is the folder of
 * `build-kernel.sh`. Each scene boots a virtual machine with a TPM in software: some seconds, without hardware help.
 */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { bootScene } from './boot.ts';
import type { HandedOut } from './boot.ts';
import { SCENES } from './scenes.ts';
import { makeSignedFiles } from './signed-files.ts';

const lists = join(import.meta.dirname, '..', 'vectors', 'kernel-lists');
const FILES = [
  'binary_runtime_measurements',
  'ascii_runtime_measurements',
  'binary_bios_measurements',
  'pcrs',
  'release',
  'cmdline',
];
const CERTIFICATES = ['authority.pem', 'signer-rsa.pem', 'signer-p256.pem', 'signer-p384.pem'];

async function main([minimal, ...names]: readonly string[]): Promise<void> {
  if (minimal === undefined) throw new TypeError('usage: main.ts MINIMAL [SCENE…]');
  const scenes = SCENES.filter(({ name }) => names.length === 0 || names.includes(name));
  const directory = await mkdtemp(join(tmpdir(), 'assay-signed-files-'));
  try {
    const disk = await makeSignedFiles(directory, join(minimal, 'keys'));
    await mkdir(join(lists, 'keys'), { recursive: true });
    for (const name of CERTIFICATES) await cp(join(minimal, 'keys', name), join(lists, 'keys', name));
    for (const scene of scenes) {
      const handedOut = await bootScene({ scene, disk, minimal });
      await keep(join(lists, scene.name), handedOut);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What the last kernel handed out; what one before it did, in a folder `before`. */
async function keep(folder: string, handedOut: readonly HandedOut[]): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  for (const [index, sections] of handedOut.entries()) {
    const target = index === handedOut.length - 1 ? folder : join(folder, 'before');
    await mkdir(target, { recursive: true });
    for (const name of FILES) {
      const content = sections.get(name);
      if (content !== undefined) await writeFile(join(target, name), content);
    }
    process.stdout.write(`${target}: ${sections.get('binary_runtime_measurements')?.length ?? 0} bytes\n`);
  }
}

await main(process.argv.slice(2));
