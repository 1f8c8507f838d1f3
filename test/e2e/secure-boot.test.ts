/**
 * A machine that boots for real: UEFI firmware with Microsoft's keys, shim, GRUB and the distribution's signed kernel, a TPM that
 * firmware measures into, the agent in the initramfs; the service outside. The cases follow each other on one machine.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';

import type { AttestationResult, JsonObject } from '../../client/sdk/resources.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { authenticodeSha256 } from '../vm/authenticode.ts';
import { makeBootDisk } from '../vm/boot-disk.ts';
import type { BootDisk } from '../vm/boot-disk.ts';
import { SERVICE_NAME } from '../vm/initramfs.ts';
import { FLASH, Machine } from '../vm/machine.ts';
import type { RunningMachine } from '../vm/machine.ts';
import { revoke } from '../vm/variable-store.ts';

/** `npm test` makes what a machine needs where it can. */
const isHere = process.env['ASSAY_MACHINE'] !== undefined;
const BOOT = 900_000;

it.runIf(process.env['CI'] === 'true')('a machine with Secure Boot can be made here', () => {
  expect(isHere, 'npm test installs QEMU and fetches a signed kernel where apt is').toBe(true);
});

describe.runIf(isHere)('a machine with Secure Boot', () => {
  let directory: string;
  let disk: BootDisk;
  /** Of the shim, as firmware measures it. */
  let shim: Buffer;
  let deployment: Deployment;
  let machine: Machine;
  let host: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'assay-secure-boot-'));
    disk = await makeBootDisk(directory);
    shim = authenticodeSha256(await readFile(disk.shim));
    deployment = await Deployment.start({
      configuration: [`server_names: [localhost, ${SERVICE_NAME}]`, 'admission_boot_policy: approved-boot'],
    });
    machine = await Machine.make(deployment);
    await deployment.trust(machine.caCertificates);
  });

  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
    await deployment?.[Symbol.asyncDispose]();
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  });

  /** Boots from a disk, of this flash. */
  async function boot(from: BootDisk, flash: Buffer): Promise<RunningMachine> {
    onTestFailed(async () => void process.stderr.write(`${await machine.console}\n`));
    return machine.boot({ disk: from, flash });
  }

  const secureBoot = (): Promise<Buffer> => readFile(FLASH.secureBoot);

  /** Makes these the rules of the one policy; the verdict that follows. */
  async function judgedBy(rules: JsonObject): Promise<AttestationResult> {
    await deployment.operator.policies.apply(bootPolicy(rules));
    return verdict();
  }

  /** The verdict of a host that is there. */
  function verdict(): Promise<AttestationResult> {
    const isVerdict = ({ status, connectivity }: AttestationResult): boolean =>
      status !== 'NONE' && connectivity === 'CONNECTED';
    return deployment.result(host, 'verdict', isVerdict);
  }

  it(
    'enrols while it boots, by a TPM that firmware measured into, and is affirmed',
    async () => {
      await deployment.operator.policies.apply(bootPolicy({ secureBoot: SECURE_BOOT }));
      const running = await boot(disk, await secureBoot());
      const [, enrolled = ''] = await running.says(/enrolled as (h-[a-z2-7]{26}) \(ACTIVE\)/);
      host = enrolled;
      await running.says(/the service's verdict is AFFIRMING/);
      expect(await running.console()).toMatch(/machine: Secure Boot is on/);
      expect(await deployment.operator.hosts.get(host)).toMatchObject({
        admission: 'certificate',
        claimed: { hostname: 'secure-boot-vm' },
      });
      const affirmed = await verdict();
      expect(affirmed.status).toBe('AFFIRMING');
      expect(reasons(affirmed)).toEqual([]);
      expect(check(affirmed, 'boot-log').message).toBe('The boot log explains the PCR values of every active bank.');
      expect(check(affirmed, 'boot.secure-boot')).toMatchObject({
        observed: 'enabled',
        message: 'Secure Boot was on.',
      });
    },
    BOOT,
  );

  it('explains what booted, from a log that the TPM proves', async () => {
    const report = await deployment.operator.results.boot(host);
    expect(report).toMatchObject({ state: 'VERIFIED', problem: undefined, exitBootServices: 'success' });
    expect(report.secureBoot).toMatchObject({ mode: 'enabled', sbatLevel: expect.stringMatching(/^sbat,1,/) });
    const signers = report.secureBoot?.authorities.map(({ variable, subject }) => `${variable} ${subject}`) ?? [];
    expect(signers).toContainEqual(expect.stringMatching(/^db .*Microsoft Corporation UEFI CA 2011/));
    expect(signers).toContainEqual(expect.stringMatching(/^(?:MokListRT|Shim) ./));
    expect(report.kernelCommandLines).toMatchObject([
      { text: '/vmlinuz console=ttyS0 loglevel=4 panic=-1', verified: true },
    ]);
    const images = report.events.filter(({ type }) => type === 'EV_EFI_BOOT_SERVICES_APPLICATION');
    expect(images[0]?.digests).toEqual([shim.toString('hex')]);
    expect(report.events).toHaveLength(report.eventCount);
    expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  });

  it('tells who signed what booted, and is affirmed by a policy that allows them', async () => {
    const unknown = await judgedBy({ secureBoot: SECURE_BOOT, allowedSigners: { certificates: ['00'.repeat(32)] } });
    expect(unknown.status).toBe('CONTRAINDICATED');
    expect(check(unknown, 'boot.allowed-signers').reason).toBe('SIGNER_NOT_ALLOWED');
    const certificates = check(unknown, 'boot.allowed-signers').observed.split(', ');
    expect(certificates).toContain(MICROSOFT_UEFI_CA_2011);

    const affirmed = await judgedBy({
      secureBoot: SECURE_BOOT,
      allowedSigners: { certificates },
      sbatLevel: { minimum: { sbat: 1 } },
      commandLine: { required: ['panic=-1'], forbidden: ['mitigations', 'init'] },
    });
    expect(reasons(affirmed)).toEqual([]);
    expect(affirmed.status).toBe('AFFIRMING');
    expect(check(affirmed, 'boot.command-line').observed).toMatch(/^\/vmlinuz console=ttyS0/);
  });

  it('is contraindicated where the policy forbids its shim, which its own dbx does not', async () => {
    const result = await judgedBy({
      secureBoot: SECURE_BOOT,
      forbiddenImages: { digests: [shim.toString('hex')], message: 'This shim lets revoked boot loaders run.' },
    });
    expect(result.status).toBe('CONTRAINDICATED');
    expect(reasons(result)).toEqual(['IMAGE_FORBIDDEN']);
    expect(check(result, 'boot.forbidden-images')).toMatchObject({
      observed: shim.toString('hex'),
      message: 'A forbidden image booted. This shim lets revoked boot loaders run.',
    });
  });

  it('is contraindicated where the policy asks for a higher revocation level than its shim keeps', async () => {
    const result = await judgedBy({ secureBoot: SECURE_BOOT, sbatLevel: { minimum: { shim: 1000 } } });
    expect(result.status).toBe('CONTRAINDICATED');
    expect(reasons(result)).toEqual(['SBAT_LEVEL_LOW']);
    expect(check(result, 'boot.sbat-level').message).toBe(
      "shim's revocation level lets software run that was revoked since.",
    );
  });

  it(
    'does not start a shim that its own dbx revokes, and is affirmed no more',
    async () => {
      await deployment.operator.policies.apply(bootPolicy({ secureBoot: SECURE_BOOT }));
      await machine.cutPower();
      const cut = Date.now();
      await deployment.result(host, 'lost host', ({ connectivity }) => connectivity === 'UNREACHABLE');
      const running = await boot(disk, revoke(await secureBoot(), shim));
      await running.says(/BdsDxe: failed to load Boot0001 .*: Access Denied/);
      await running.says(/BdsDxe: No bootable option or device was found/);
      expect(await running.console()).not.toMatch(/GRUB|machine:/);
      await running.cutPower();
      // What the boot before proved ends with its validity, and nothing has come since.
      const after = await deployment.result(host, 'host whose evidence is over', ({ status }) => status === 'NONE');
      expect(after.connectivity).toBe('UNREACHABLE');
      expect(after.challengeTime?.getTime() ?? 0).toBeLessThanOrEqual(cut);
    },
    BOOT,
  );

  it(
    'is contraindicated with another kernel argument, Secure Boot on',
    async () => {
      await deployment.operator.policies.apply(
        bootPolicy({ secureBoot: SECURE_BOOT, commandLine: { forbidden: ['mitigations'] } }),
      );
      const running = await boot(await disk.withArguments('mitigations=off'), await secureBoot());
      await running.says(/the service's verdict is CONTRAINDICATED/);
      const result = await verdict();
      expect(await running.console()).toMatch(/machine: Secure Boot is on/);
      expect(result.status).toBe('CONTRAINDICATED');
      expect(reasons(result)).toEqual(['COMMAND_LINE_ARGUMENT_FORBIDDEN']);
      expect(check(result, 'boot.command-line').message).toBe(
        "The kernel's command line has the argument mitigations=off, which the policy forbids.",
      );
    },
    BOOT,
  );

  it(
    'is contraindicated with Secure Boot off, from the same disk, and does not come back once it is forgotten',
    async () => {
      await deployment.operator.policies.apply(bootPolicy({ secureBoot: SECURE_BOOT }));
      const running = await boot(disk, await readFile(FLASH.setupMode));
      await running.says(/the service's verdict is CONTRAINDICATED/);
      const result = await verdict();
      expect(await running.console()).toMatch(/machine: Secure Boot is off/);
      expect(result.status).toBe('CONTRAINDICATED');
      expect(reasons(result)).toEqual(['SECURE_BOOT_OFF']);
      expect(check(result, 'boot.secure-boot')).toMatchObject({
        observed: 'disabled',
        message: 'Secure Boot was off when the host booted. Switch it on in the firmware.',
      });

      await deployment.operator.hosts.delete(host);
      const [refusal] = await running.says(/the service refused .*\(ADMISSION_BOOT_DENIED\)/);
      expect(refusal).toContain(
        'the boot does not satisfy the policy approved-boot: boot.secure-boot (SECURE_BOOT_OFF)',
      );
      const { stdout } = await deployment.assay('host', 'list', '--output', 'json');
      expect(JSON.parse(stdout)).toEqual({ hosts: [] });
    },
    BOOT,
  );
});

const SECURE_BOOT = { message: 'Switch it on in the firmware.' } as const;
/** SHA-256 of "Microsoft Corporation UEFI CA 2011", DER: what shims are signed under. */
const MICROSOFT_UEFI_CA_2011 = '48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507';

function bootPolicy(boot: JsonObject): JsonObject {
  return policy('approved-boot', { quote: { interval: '1s', validity: '30s' }, pcrRules: [], boot });
}

function check({ checks }: AttestationResult, id: string): AttestationResult['checks'][number] {
  const found = checks.find((candidate) => candidate.id === id);
  if (found === undefined)
    throw new Error(`no check ${id} among ${checks.map((candidate) => candidate.id).join(', ')}`);
  return found;
}
