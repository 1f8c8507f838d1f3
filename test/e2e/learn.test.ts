import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AttestationResult } from '../../client/sdk/resources.ts';
import type { AttestedHost } from '../support/attested-host.ts';
import { bootHost, bootLogPath, joinWithLog } from '../support/booted-host.ts';
import { COMMAND_LINE, IMAGES, NO_SECURE_BOOT, SECURE_BOOT, SIGNERS } from '../support/booted-machine.ts';
import { dataIsHere } from '../support/data.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { measuredPcrs } from '../tpm/eventlog/real-logs.ts';
import type { MeasuredBoot } from '../tpm/eventlog/real-logs.ts';

const STARTERS = join(import.meta.dirname, '..', '..', 'deploy', 'policies');

describe.skipIf(!dataIsHere('measured-boot'))('a policy that is learned', () => {
  let deployment: Deployment;
  let secure: AttestedHost;
  let insecure: AttestedHost;
  let liar: AttestedHost;

  beforeAll(async () => {
    deployment = await Deployment.start();
    await deployment.operator.policies.apply(policy('base'));
    secure = await attested(SECURE_BOOT, bootLogPath(SECURE_BOOT));
    insecure = await attested(NO_SECURE_BOOT, bootLogPath(NO_SECURE_BOOT));
    // It booted the one and shows the log of the other.
    liar = await attested(NO_SECURE_BOOT, bootLogPath(SECURE_BOOT));
    await judgedAs(secure, 'base', 'AFFIRMING');
    await judgedAs(insecure, 'base', 'AFFIRMING');
    await judgedAs(liar, 'base', 'WARNING');
  });

  afterAll(async () => {
    for (const host of [secure, insecure, liar]) await host?.[Symbol.asyncDispose]();
    await deployment?.[Symbol.asyncDispose]();
  });

  async function attested(capture: MeasuredBoot, log: string): Promise<AttestedHost> {
    const host = await bootHost(deployment, capture);
    const { code, stderr } = await joinWithLog(host, deployment, log);
    if (code !== 0) throw new Error(stderr);
    host.runAgent();
    return host;
  }

  function judgedAs(host: AttestedHost, id: string, wanted: string): Promise<AttestationResult> {
    return deployment.result(
      host.id,
      `host that is ${wanted} by ${id}`,
      ({ status, trustPolicy }) => status === wanted && trustPolicy === `trustPolicies/${id}`,
    );
  }

  async function apply(file: string, id: string, ...hosts: readonly AttestedHost[]): Promise<void> {
    const { code, stderr } = await deployment.assay('policy', 'apply', '-f', file);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    for (const host of hosts) expect((await deployment.assay('host', 'policy', host.id, id)).code).toBe(0);
  }

  const path = (name: string): string => join(deployment.directory, name);
  const sentences = (result: AttestationResult): string => result.checks.map(({ message }) => message).join('\n');

  it('affirms its host as it is, and says of another what differs', async () => {
    const file = path('all.yaml');
    const { code, stdout } = await deployment.assay('policy', 'learn', secure.id, '--name', 'learned', '-o', file);
    expect(stdout).toMatch(/^learned learned from h-/);
    expect(code).toBe(0);
    const text = await readFile(file, 'utf8');
    for (const value of [...SIGNERS, ...IMAGES, COMMAND_LINE, measuredPcrs(SECURE_BOOT).get('sha256')?.get(4) ?? '?'])
      expect(text).toContain(value);
    expect(text).toMatch(/# .*Debian Secure Boot CA.* \(MokListRT\)\n +- 0796/);
    expect(text).toMatch(/# .*BOOTX64\.EFI\n +- 80a6/);

    await apply(file, 'learned', secure, insecure);
    const affirmed = await judgedAs(secure, 'learned', 'AFFIRMING');
    expect(affirmed.checks.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['boot.secure-boot', 'boot.allowed-images', 'boot.sbat-level', 'boot.command-line']),
    );
    const fallen = await judgedAs(insecure, 'learned', 'CONTRAINDICATED');
    expect(reasons(fallen)).toEqual(expect.arrayContaining(['SECURE_BOOT_OFF', 'IMAGE_NOT_ALLOWED', 'PCR_MISMATCH']));
    expect(sentences(fallen)).toContain('Secure Boot was off when the host booted.');
  });

  it('is widened by a second host, before that is rolled out, and the first stays affirmed', async () => {
    const file = path('golden.yaml');
    await deployment.assay('policy', 'learn', secure.id, '--name', 'golden', '--pcrs', '0,2,4,7', '-o', file);
    await apply(file, 'golden', secure, insecure);
    await judgedAs(secure, 'golden', 'AFFIRMING');
    expect(reasons(await judgedAs(insecure, 'golden', 'CONTRAINDICATED'))).toContain('PCR_MISMATCH');
    const merged = await deployment.assay('policy', 'learn', insecure.id, '--merge', file, '-o', file);
    expect(merged).toMatchObject({ code: 0, stdout: expect.stringMatching(/^added \d values of h-/) as string });
    await apply(file, 'golden');
    await judgedAs(secure, 'golden', 'AFFIRMING');
    await judgedAs(insecure, 'golden', 'AFFIRMING');
    const again = await deployment.assay('policy', 'learn', insecure.id, '--merge', file, '-o', file);
    expect(again.stdout).toMatch(/^the lists of the policy have all/);
  });

  it('is not softened for a host that does not satisfy it', async () => {
    const file = path('all.yaml');
    const before = await readFile(file, 'utf8');
    const refused = await deployment.assay('policy', 'learn', insecure.id, '--merge', file, '-o', file);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/^assay: HOST_DIFFERS: .*boot\.secure_boot, .*Secure Boot: it was /);
    expect(await readFile(file, 'utf8')).toBe(before);
  });

  it('is not written of a boot that is not verified, nor over another file', async () => {
    const lied = await deployment.assay('policy', 'learn', liar.id);
    expect(lied).toMatchObject({ code: 1, stdout: '' });
    expect(lied.stderr).toMatch(/^assay: BOOT_NOT_VERIFIED: nothing is learned from hosts\/h-.*: BOOT_LOG_MISMATCH/);
    const over = await deployment.assay('policy', 'learn', secure.id, '-o', path('all.yaml'));
    expect(over).toMatchObject({ code: 2, stderr: expect.stringMatching(/all\.yaml exists/) as string });
  });

  it('of several, one of which is bad, applies none', async () => {
    const two = `${JSON.stringify(policy('first'))}\n---\n${JSON.stringify(policy('second', { quote: { interval: '0s' } }))}\n`;
    const refused = await deployment.assay('policy', 'apply', '-f', await deployment.file('two.yaml', two));
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/no policy of the file was applied\n.*two\.yaml:3:\d+: quote\.interval: must be/);
    expect((await deployment.assay('policy', 'get', 'first')).code).toBe(1);
  });

  it('starts from secure-boot-baseline: Secure Boot is affirmed, without it is contraindicated', async () => {
    await apply(join(STARTERS, 'secure-boot-baseline.yaml'), 'secure-boot-baseline', secure, insecure);
    await judgedAs(secure, 'secure-boot-baseline', 'AFFIRMING');
    const fallen = await judgedAs(insecure, 'secure-boot-baseline', 'CONTRAINDICATED');
    expect(sentences(fallen)).toContain('This host must boot with Secure Boot.');
  });

  it('starts from measured-boot-golden: nobody is affirmed until it is filled in, and then those alone', async () => {
    const file = path('starter.yaml');
    await writeFile(file, await readFile(join(STARTERS, 'measured-boot-golden.yaml'), 'utf8'));
    await apply(file, 'measured-boot-golden', secure, insecure);
    await judgedAs(secure, 'measured-boot-golden', 'CONTRAINDICATED');
    expect((await deployment.assay('policy', 'learn', secure.id, '--merge', file, '-o', file)).stdout).toMatch(
      /^added 4/,
    );
    await apply(file, 'measured-boot-golden');
    await judgedAs(secure, 'measured-boot-golden', 'AFFIRMING');
    const fallen = await judgedAs(insecure, 'measured-boot-golden', 'CONTRAINDICATED');
    expect(sentences(fallen)).toContain('Unknown boot loader or kernel.');
  });
});
