// What a virtual machine with Secure Boot needs: QEMU, its firmware with Microsoft's keys, the tools that make its disk, and what
// the distribution signed (shim, GRUB, kernel), unpacked beside the checkout's other caches and installed nowhere.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SetUpError, findProgram, main, outputOf, root, run } from './process.mjs';
import { apt, installPackages, say } from './setup.mjs';

/** Looked for by what it is, as in `setup.mjs`. */
const systemPackages = [
  { apt: 'qemu-system-x86', what: 'QEMU for x86-64', isHere: () => findProgram('qemu-system-x86_64') !== undefined },
  {
    apt: 'ovmf',
    what: 'UEFI firmware for it, with Secure Boot and Microsoft’s keys',
    isHere: () => ['OVMF_CODE_4M.secboot.fd', 'OVMF_VARS_4M.fd', 'OVMF_VARS_4M.ms.fd'].every(hasFirmware),
  },
  { apt: 'mtools', what: 'mtools', isHere: () => findProgram('mcopy') !== undefined },
  { apt: 'dosfstools', what: 'mkfs.vfat', isHere: () => existsSync('/sbin/mkfs.vfat') },
  { apt: 'fdisk', what: 'sfdisk', isHere: () => existsSync('/sbin/sfdisk') },
  { apt: 'e2fsprogs', what: 'mke2fs', isHere: () => existsSync('/sbin/mke2fs') },
  { apt: 'busybox-static', what: 'busybox, linked statically', isHere: hasStaticBusybox },
];

/** The kernel's name has its version in it, so it is asked for by the package that depends on the present one. */
const signed = {
  shim: 'shim-signed',
  grub: 'grub-efi-amd64-signed',
  kernels: ['linux-image-cloud-amd64', 'linux-image-virtual'],
};

const cache = join(root, '.cache', 'machine');
const system = join(cache, 'system');

/** Installs and fetches what is missing and says so. Throws SetUpError with what to do by hand. */
export async function setUpMachine() {
  await installPackages(systemPackages, "Assay's machine with Secure Boot needs");
  if (existsSync(system)) return;
  if (findProgram('apt-get') === undefined) {
    throw new SetUpError(
      `the machine needs shim, GRUB and a kernel as Debian or Ubuntu sign them, unpacked in ${system}: ` +
        `${signed.shim}, ${signed.grub} and one of ${signed.kernels.join(', ')} with its modules`,
    );
  }
  await fetchSigned();
}

/** As `setUpMachine`; where it cannot be, the tests that boot a machine are skipped, and this says so. */
export async function setUpMachineForTests() {
  try {
    // Its programs and its kernel are those of this system.
    if (process.platform !== 'linux' || process.arch !== 'x64') throw new SetUpError('no machine on this platform');
    await setUpMachine();
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    say(`${error.message}\nset-up: the tests that boot a machine with Secure Boot are skipped`);
  }
}

async function fetchSigned() {
  const packages = [signed.shim, signed.grub, ...(await kernelPackages())];
  say(
    `fetching what the distribution signed for Secure Boot: ${packages.join(' ')} (unpacked in .cache, not installed)`,
  );
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'fetch-'));
  try {
    // As root, apt would hand the download to a user who may not write here.
    const code = await run('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', ...packages], {
      cwd: folder,
    });
    if (code !== 0) throw new SetUpError(`apt-get download failed (exit code ${code}): run apt-get update`);
    const unpacked = join(folder, 'system');
    for (const name of readdirSync(folder).filter((entry) => entry.endsWith('.deb'))) {
      const failed = await run('dpkg-deb', ['-x', join(folder, name), unpacked]);
      if (failed !== 0) throw new SetUpError(`dpkg-deb -x ${name} failed (exit code ${failed})`);
    }
    writeFileSync(join(unpacked, 'packages'), `${packages.join('\n')}\n`);
    renameSync(unpacked, system);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The signed kernel of the distribution that is made for virtual machines, and its modules. */
async function kernelPackages() {
  const found = findKernelPackages();
  if (found.length > 0) return found;
  // A system that was never asked for a package knows none.
  await apt('update', '-q');
  const known = findKernelPackages();
  if (known.length === 0) throw new SetUpError(`apt knows none of ${signed.kernels.join(', ')}`);
  return known;
}

function findKernelPackages() {
  const found = [];
  const follow = (from) => {
    const answer = outputOf('env', ['LC_ALL=C', 'apt-cache', 'depends', '--no-suggests', from]) ?? '';
    for (const [, to] of answer.matchAll(/^ *Depends: (linux-(?:image|modules)-\d\S*)$/gm)) {
      if (found.includes(to) || to.endsWith('-unsigned')) continue;
      found.push(to);
      follow(to);
    }
  };
  for (const name of signed.kernels) if (found.length === 0) follow(name);
  return found;
}

function hasFirmware(name) {
  return existsSync(join('/usr/share/OVMF', name));
}

/** The busybox of a small system may be linked to libraries that the machine does not have. */
function hasStaticBusybox() {
  if (!existsSync('/bin/busybox')) return false;
  return !readFileSync('/bin/busybox').subarray(0, 4096).includes('/lib64/ld-linux');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(setUpMachine);
