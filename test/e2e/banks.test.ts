/** A TPM whose active PCR banks change between boots (TPM2_PCR_Allocate). */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';

const run = promisify(execFile);
let deployment: Deployment;
let host: AttestedHost;

beforeAll(async () => {
  deployment = await Deployment.start();
  await deployment.operator.policies.apply(policy('base'));
  host = await AttestedHost.enrolled(deployment, { banks: 'sha1,sha256' });
});
afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

/** Such as `sha1:all+sha256:none`. */
async function reboot(allocation: string): Promise<void> {
  const env = { ...process.env, TPM2TOOLS_TCTI: host.tpm.tcti };
  await run('tpm2_pcrallocate', [allocation], { env });
  await host.tpm.restart();
}

const banksOf = (result: Awaited<ReturnType<Deployment['result']>>) =>
  result.checks.find(({ id }) => id === 'pcr-banks')?.observed;
const has = (banks: string) => (result: Awaited<ReturnType<Deployment['result']>>) => banksOf(result) === banks;

it('a host is judged by the banks of its present boot alone: one that vanishes takes the verdict with it', async () => {
  host.runAgent();
  const affirmed = await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
  expect(banksOf(affirmed)).toBe('sha1, sha256');
  await host.stopAgent();

  await reboot('sha1:all+sha256:none');
  host.runAgent();
  const weak = await deployment.result(host.id, 'verdict by SHA-1', has('sha1'));
  expect(weak.status).toBe('NONE');
  expect(reasons(weak)).toEqual(['PCR_BANK_INACTIVE']);
  await host.stopAgent();

  await reboot('sha256:all+sha384:all+sha1:none');
  host.runAgent();
  const strong = await deployment.result(host.id, 'verdict by SHA-256 and SHA-384', has('sha256, sha384'));
  expect(strong.status).toBe('AFFIRMING');
});
