/** A virtual machine with UEFI firmware, a TPM 2.0 and a disk of its own, that boots for real. */
import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

import { RunningProgram } from '../support/programs.ts';
import { manufacture, readCaCertificates } from '../support/swtpm.ts';
import type { SwtpmCertificate } from '../support/swtpm.ts';
import type { BootDisk } from './boot-disk.ts';
import { SERVICE_NAME } from './initramfs.ts';

const run = promisify(execFile);

const FIRMWARE = '/usr/share/OVMF';
const MEMORY_MIB = 1280;
/** A boot without hardware help takes 20 s, on a machine that is busy several times that. */
const WITHIN = 480_000;
const POLL = 100;

/** What the firmware keeps in flash when the machine leaves the factory. */
export const FLASH = {
  /** Secure Boot on, with Microsoft's keys. */
  secureBoot: join(FIRMWARE, 'OVMF_VARS_4M.ms.fd'),
  /** No keys: Secure Boot is off. */
  setupMode: join(FIRMWARE, 'OVMF_VARS_4M.fd'),
} as const;

/** What the agent is to join. */
export interface JoinLine {
  /** On the loopback of this machine. */
  readonly port: number;
  readonly fingerprint: string;
}

export interface Boot {
  readonly disk: BootDisk;
  /** Content of the flash. */
  readonly flash: Buffer;
}

/** The hardware: TPM and disk keep what they hold from one boot to the next; the boot disk is nobody's but the boot's. */
export class Machine implements AsyncDisposable {
  readonly #directory: string;
  /** The makers of its TPM. */
  readonly caCertificates: readonly SwtpmCertificate[];
  #running: RunningMachine | undefined;

  private constructor(directory: string, caCertificates: readonly SwtpmCertificate[]) {
    this.#directory = directory;
    this.caCertificates = caCertificates;
  }

  /** A machine with a new TPM whose agent has not joined yet. */
  static async make({ port, fingerprint }: JoinLine): Promise<Machine> {
    const directory = await mkdtemp(join(tmpdir(), 'assay-machine-'));
    try {
      await manufacture(directory);
      const files = join(directory, 'files');
      await mkdir(files);
      await writeFile(join(files, 'join'), `SERVER=${SERVICE_NAME}:${port}\nFINGERPRINT=${fingerprint}\n`);
      const owner = ['-E', 'root_owner=0:0'];
      await run('/sbin/mke2fs', ['-q', '-t', 'ext4', ...owner, '-d', files, join(directory, 'disk.img'), '16M']);
      return new Machine(directory, await readCaCertificates(directory));
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** Switches it on, and off before where it runs. */
  async boot({ disk, flash }: Boot): Promise<RunningMachine> {
    await this.cutPower();
    await writeFile(join(this.#directory, 'flash.fd'), flash);
    this.#running = await RunningMachine.start(this.#directory, disk.path);
    return this.#running;
  }

  /** What it wrote on its console in the latest boot. */
  get console(): Promise<string> {
    return this.#running?.console() ?? Promise.resolve('');
  }

  /** Nothing is shut down: what is not on the disk is lost. */
  async cutPower(): Promise<void> {
    await this.#running?.cutPower();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cutPower();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** One boot. */
export class RunningMachine {
  readonly #consoleFile: string;
  readonly #tpm: RunningProgram;
  readonly #qemu: RunningProgram;

  private constructor(consoleFile: string, tpm: RunningProgram, qemu: RunningProgram) {
    this.#consoleFile = consoleFile;
    this.#tpm = tpm;
    this.#qemu = qemu;
  }

  static async start(directory: string, bootDisk: string): Promise<RunningMachine> {
    const socket = join(directory, 'tpm.socket');
    const consoleFile = join(directory, 'console.log');
    await Promise.all([rm(socket, { force: true }), writeFile(consoleFile, '')]);
    const tpm = new RunningProgram('swtpm', [
      ...['socket', '--tpm2', '--tpmstate', `dir=${join(directory, 'state')}`],
      ...['--ctrl', `type=unixio,path=${socket}`, '--log', `file=${join(directory, 'swtpm.log')}`],
    ]);
    try {
      await untilThere(socket, tpm);
      const files = {
        socket,
        consoleFile,
        bootDisk,
        disk: join(directory, 'disk.img'),
        flash: join(directory, 'flash.fd'),
      };
      return new RunningMachine(consoleFile, tpm, new RunningProgram('qemu-system-x86_64', qemuArguments(files)));
    } catch (error) {
      await tpm.stop('SIGKILL');
      throw error;
    }
  }

  get ended(): boolean {
    return this.#qemu.ended;
  }

  /** Firmware, boot loader, kernel, init and agent write here; without the control sequences of a terminal. */
  async console(): Promise<string> {
    const text = await readFile(this.#consoleFile, 'latin1');
    // oxlint-disable-next-line no-control-regex -- these are what is removed
    return text.replaceAll(/\u001b\[[0-9;?=]*[A-Za-z]|\u001b[()][A-Z0-9]|[\u0000-\u0008\u000b-\u001f]/g, '');
  }

  /** Waits for a line on the console; throws with all of it where none comes, or where the machine ends before. */
  async says(wanted: RegExp, signal?: AbortSignal): Promise<RegExpExecArray> {
    const deadline = Date.now() + WITHIN;
    for (;;) {
      signal?.throwIfAborted();
      const { ended } = this;
      const text = await this.console();
      const found = wanted.exec(text);
      if (found !== null) return found;
      if (ended || Date.now() > deadline) {
        const how = ended ? `the machine ended without ${wanted}` : `the machine did not say ${wanted}`;
        throw new Error(`${how}\n${this.#qemu.stderr}\n${text}`);
      }
      await delay(POLL);
    }
  }

  /** Nothing is shut down: what is not on the disk is lost. */
  async cutPower(): Promise<void> {
    await this.#qemu.stop('SIGKILL');
    // It ends with its machine; asked once more where there was none.
    await this.#tpm.stop('SIGTERM');
  }
}

interface MachineFiles {
  readonly socket: string;
  readonly consoleFile: string;
  readonly bootDisk: string;
  readonly disk: string;
  readonly flash: string;
}

/**
 * Without hardware acceleration, so that it runs the same wherever it runs; one processor, on which threads take turns: Node was
 * seen to abort on two emulated ones.
 */
function qemuArguments({ socket, consoleFile, bootDisk, disk, flash }: MachineFiles): readonly string[] {
  return [
    ...['-machine', 'q35,smm=on', '-accel', 'tcg', '-cpu', 'max', '-smp', '1', '-m', String(MEMORY_MIB)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    // Firmware alone, in system management mode, writes variables.
    ...['-global', 'driver=cfi.pflash01,property=secure,value=on'],
    ...['-drive', `if=pflash,format=raw,unit=0,readonly=on,file=${join(FIRMWARE, 'OVMF_CODE_4M.secboot.fd')}`],
    ...['-drive', `if=pflash,format=raw,unit=1,file=${flash}`],
    ...['-chardev', `socket,id=tpm-socket,path=${socket}`, '-tpmdev', 'emulator,id=tpm,chardev=tpm-socket'],
    ...['-device', 'tpm-crb,tpmdev=tpm'],
    ...['-serial', `file:${consoleFile}`],
    ...['-drive', `id=boot,if=none,format=raw,snapshot=on,file=${bootDisk}`],
    ...['-device', 'ide-hd,drive=boot,bootindex=1'],
    ...['-drive', `id=disk,if=none,format=raw,file=${disk}`, '-device', 'virtio-blk-pci,drive=disk'],
    // The loopback of this machine is 10.0.2.2 to the guest; nothing reaches the guest.
    ...['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='],
  ];
}

async function untilThere(path: string, program: RunningProgram): Promise<void> {
  while (!(await isThere(path))) {
    if (program.ended) throw new Error(`swtpm ended: ${program.stderr}`);
    await delay(POLL / 10);
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
