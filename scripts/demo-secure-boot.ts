/**
 * A trusted boot, shown: a virtual machine with UEFI Secure Boot and a TPM enrols while it boots and is affirmed; then somebody
 * tampers with its boot. Ends by itself with exit code 0 when all of that happened.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { AttestationResult } from '../client/sdk/resources.ts';
import { makeBootDisk } from '../test/vm/boot-disk.ts';
import type { BootDisk } from '../test/vm/boot-disk.ts';
import { SERVICE_NAME } from '../test/vm/initramfs.ts';
import { FLASH, Machine } from '../test/vm/machine.ts';
import type { RunningMachine } from '../test/vm/machine.ts';
import { readPackages } from '../test/vm/signed-system.ts';
import { Demonstrator } from './demo/demonstrator.ts';
import { Programs } from './demo/programs.ts';

const POLICY = `name: trustPolicies/approved-boot
selector: {all_hosts: true}
quote: {interval: 1s, validity: 10s}
boot:
  secure_boot: {message: Switch Secure Boot on in the firmware.}
  sbat_level: {minimum: {sbat: 1}}
  command_line: {forbidden: [module.sig_enforce, lockdown, init]}
`;
/** What somebody adds who wants to load a kernel module of their own. */
const TAMPERED = 'module.sig_enforce=0';

if (process.argv.length > 2) {
  process.stderr.write(`demo: unknown argument ${process.argv.slice(2).join(' ')}; there is none\n`);
  process.exit(2);
}

const show = new Demonstrator(process.stdout);
const directory = await mkdtemp(join(tmpdir(), 'assay-demo-'));
const programs = new Programs(directory);
const stopped = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopped.abort());

let machine: Machine | undefined;
try {
  await demonstrate();
} catch (error) {
  if (!stopped.signal.aborted) {
    show.failed(error instanceof Error ? error.message : String(error), programs.lastLines());
    process.exitCode = 1;
  }
} finally {
  await machine?.[Symbol.asyncDispose]();
  await programs.stop();
  await rm(directory, { recursive: true, force: true });
}

async function demonstrate(): Promise<void> {
  show.title('Assay: did this machine undergo a trusted boot? Firmware measured it into the TPM, and the TPM answers.');
  const { made, disk } = await prepare();
  const host = await bootAsApproved(made, disk);
  stopped.signal.throwIfAborted();
  await bootTampered(made, { disk, host });
}

async function prepare(): Promise<{ readonly made: Machine; readonly disk: BootDisk }> {
  show.step('Make a machine, and start the service that judges it');
  const packages = await readPackages();
  show.line(
    'machine',
    `QEMU with UEFI firmware, Microsoft's keys in it, and a TPM 2.0; its disk holds ${packages.join(', ')}`,
  );
  show.more('and an initramfs with Node, tpm2-tss and the agent of this checkout');
  const disk = await makeBootDisk(directory);
  const service = await programs.startService({
    names: ['localhost', SERVICE_NAME],
    configuration: 'admission_boot_policy: approved-boot\n',
  });
  show.line('assayd', `the service, on ${service.server}; the agent in the machine pins its CA`);
  show.more('it admits by EK certificate and by boot (`admission_boot_policy: approved-boot`)');
  const port = Number(service.server.split(':').at(-1));
  machine = await Machine.make({ port, fingerprint: service.fingerprint });
  await programs.assay(['endorsement', 'import', ...machine.caCertificates.map(({ path }) => path)]);
  show.line('operator', "imported the TPM maker's CA, and says what must have booted:");
  await writeFile(programs.policyFile, POLICY);
  show.command('assay policy apply -f approved-boot.yaml');
  show.answer(POLICY);
  show.answer(await programs.assay(['policy', 'apply', '-f', programs.policyFile]));
  return { made: machine, disk };
}

async function bootAsApproved(made: Machine, disk: BootDisk): Promise<string> {
  show.step('Switch it on, with Secure Boot (some 40 s: the processor is emulated)');
  const running = await made.boot({ disk, flash: await readFile(FLASH.secureBoot) });
  await tellBoot(running);
  const [, host = ''] = await running.says(/enrolled as (h-[a-z2-7]{26})/, stopped.signal);
  show.line(
    'agent',
    `enrolled as ${host}: the service sealed a secret to this TPM's keys, and only this TPM opened it`,
  );
  await programs.assay(['host', 'name', host, 'rack-1-server-7']);
  await running.says(/the service's verdict is AFFIRMING/, stopped.signal);
  show.verdict(await programs.untilStatus(host, 'AFFIRMING', stopped.signal));
  show.command(`assay host boot ${host}`);
  // The events come after the summary, one line each.
  const [summary = ''] = (await programs.assay(['host', 'boot', host])).split('\n\n');
  show.answer(summary);
  return host;
}

async function bootTampered(
  made: Machine,
  { disk, host }: { readonly disk: BootDisk; readonly host: string },
): Promise<void> {
  show.step('Tamper with its boot');
  await made.cutPower();
  show.line(
    'attacker',
    `switches Secure Boot off in the firmware, adds ${TAMPERED} to the kernel's arguments, and starts it`,
  );
  const running = await made.boot({ disk: await disk.withArguments(TAMPERED), flash: await readFile(FLASH.setupMode) });
  await tellBoot(running);
  await running.says(/the service's verdict is CONTRAINDICATED/, stopped.signal);
  const refused: AttestationResult = await programs.untilStatus(host, 'CONTRAINDICATED', stopped.signal);
  show.verdict(refused);
  show.line('meaning', 'the machine runs, and looks like before to whoever logs in; its TPM does not let it say so');
}

/** What the machine's console shows, as it comes. */
async function tellBoot(running: RunningMachine): Promise<void> {
  const lines = [
    { who: 'firmware', wanted: /BdsDxe: starting/, text: 'measures itself, its keys and what it starts: shim' },
    { who: 'shim', wanted: /Welcome to GRUB/, text: 'started GRUB' },
    {
      who: 'GRUB',
      wanted: /machine: the kernel has started/,
      text: 'measured the arguments, kernel and initramfs, and started them',
    },
    { who: 'kernel', wanted: /machine: (Secure Boot is o(?:n|ff))/, text: 'says: ' },
    { who: 'agent', wanted: /machine: (assay agent (?:join|run))/, text: 'starts: ' },
  ];
  for (const { who, wanted, text } of lines) {
    const [, said = ''] = await running.says(wanted, stopped.signal);
    show.line(who, `${text}${said}`);
  }
}
