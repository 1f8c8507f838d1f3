import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AttestedHost } from '../support/attested-host.ts';
import { bootHost, bootLogPath, joinWithLog, measureBoot } from '../support/booted-host.ts';
import { COMMAND_LINE, NO_SECURE_BOOT, SECURE_BOOT, SIGNERS } from '../support/booted-machine.ts';
import { dataIsHere } from '../support/data.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { measuredLog } from '../tpm/eventlog/real-logs.ts';
import type { MeasuredBoot } from '../tpm/eventlog/real-logs.ts';

const BOOT = {
  secureBoot: { message: 'This host must boot securely.' },
  allowedSigners: { certificates: [...SIGNERS] },
  sbatLevel: { minimum: { shim: 4 } },
  commandLine: { required: ['ima_policy=tcb'], forbidden: ['init'] },
};
/** Asked for every second. */
const bootPolicy = (boot: typeof BOOT) => policy('boot', { pcrRules: [], boot });

let deployment: Deployment;
const hosts: AttestedHost[] = [];

beforeAll(async () => {
  deployment = await Deployment.start({ configuration: ['admission_boot_policy: boot'] });
  await deployment.operator.policies.apply(bootPolicy(BOOT));
});

afterAll(async () => {
  for (const host of hosts) await host[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

async function boot(capture: MeasuredBoot): Promise<AttestedHost> {
  const host = await bootHost(deployment, capture);
  hosts.push(host);
  return host;
}

describe.skipIf(!dataIsHere('measured-boot'))('a machine that booted with Secure Boot', () => {
  let host: AttestedHost;

  it('is admitted by its boot, and affirmed', async () => {
    host = await boot(SECURE_BOOT);
    const { code, stderr } = await joinWithLog(host, deployment, bootLogPath(SECURE_BOOT));
    expect(stderr).toBe('');
    expect(code).toBe(0);
    host.runAgent();
    const result = await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
    expect(result.checks.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['boot-log', 'boot.secure-boot', 'boot.allowed-signers', 'boot.command-line']),
    );
    await deployment.result(host.id, 'confirmed host', ({ confirmations }) => confirmations > 1n);
  });

  it('is explained by its log, for people and for programs', async () => {
    const shown = await deployment.assay('host', 'boot', host.id);
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(/boot log: +verified: it explains the proven PCRs/);
    expect(shown.stdout).toMatch(/secure boot: +enabled/);
    expect(shown.stdout).toContain(`kernel command line:  ${COMMAND_LINE}`);
    expect(shown.stdout).toMatch(/verified with: +MokListRT: CN=Debian Secure Boot CA {2}0796/);
    const json = JSON.parse((await deployment.assay('host', 'boot', host.id, '--output', 'json')).stdout) as {
      readonly events: readonly unknown[];
      readonly state: string;
    };
    expect(json).toMatchObject({ state: 'BOOT_LOG_STATE_VERIFIED', secureBoot: { mode: 'enabled' } });
    expect(json.events).toHaveLength(48);
  });

  it('falls with a policy that forbids what it booted, and is affirmed by the one before', async () => {
    const forbidden = { ...BOOT, commandLine: { required: [], forbidden: ['rootfstype'] } };
    await deployment.operator.policies.apply(bootPolicy(forbidden));
    const fallen = await deployment.result(host.id, 'fallen host', ({ status }) => status === 'CONTRAINDICATED');
    expect(reasons(fallen)).toEqual(['COMMAND_LINE_ARGUMENT_FORBIDDEN']);
    await deployment.operator.policies.apply(bootPolicy(BOOT));
    await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
  });

  it('is judged alike by a service that was started again', async () => {
    await deployment.stop();
    await deployment.serve();
    await deployment.result(
      host.id,
      'affirmed and connected host',
      ({ status, connectivity }) => status === 'AFFIRMING' && connectivity === 'CONNECTED',
    );
  });

  it('falls when it boots something else and shows the old log', async () => {
    // An agent that ran meanwhile would show a boot that has come half its way.
    await host.stopAgent();
    await host.tpm.restart();
    await measureBoot(host, NO_SECURE_BOOT);
    host.runAgent();
    const fallen = await deployment.result(host.id, 'fallen host', ({ status }) => status === 'CONTRAINDICATED');
    expect(reasons(fallen)).toContain('BOOT_LOG_MISMATCH');
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('a machine that booted without Secure Boot', () => {
  it('is not admitted, and is told why', async () => {
    const host = await boot(NO_SECURE_BOOT);
    const { code, stderr } = await joinWithLog(host, deployment, bootLogPath(NO_SECURE_BOOT));
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/^assay: ADMISSION_BOOT_DENIED: .*boot\.secure-boot \(SECURE_BOOT_OFF\)/);
  });

  it('is not admitted with the log of another machine either', async () => {
    const host = await boot(NO_SECURE_BOOT);
    const borrowed = join(host.state, '..', 'borrowed');
    await writeFile(borrowed, measuredLog(SECURE_BOOT));
    const { stderr } = await joinWithLog(host, deployment, borrowed);
    expect(stderr).toMatch(/ADMISSION_BOOT_DENIED: .*boot-log \(BOOT_LOG_MISMATCH\)/);
  });
});
