import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { eventually, start } from '../support/programs.ts';
import type { RunningProgram } from '../support/programs.ts';

const run = promisify(execFile);

let deployment: Deployment;

beforeAll(async () => {
  deployment = await Deployment.start();
  await deployment.operator.policies.apply(policy('base'));
});

afterAll(() => deployment?.[Symbol.asyncDispose]());

/** The statuses and reasons of one host that a watch has printed, in their order. */
function seen(watch: RunningProgram, host: string): readonly string[] {
  return watch.stdout
    .split('\n')
    .filter((line) => line.includes(host))
    .map((line) => line.split(/ {2,}/))
    .map(([, , , status = '', connectivity = '', , why = '']) => `${status} ${connectivity} ${why}`);
}

describe('a host that attests', () => {
  it.each([
    { parent: 'RSA-2048', akAlgorithm: 'ecdsa-p256-sha256' },
    { parent: 'RSA-2048', akAlgorithm: 'rsassa-2048-sha256' },
    { parent: 'ECC P-384', akAlgorithm: 'ecdsa-p256-sha256' },
    { parent: 'ECC P-384', akAlgorithm: 'rsassa-2048-sha256' },
  ])(
    'is affirmed, and contraindicated once a PCR is extended, with $akAlgorithm under an EK $parent',
    async ({ parent, akAlgorithm }) => {
      await using host = await AttestedHost.start();
      // The agent takes the first EK that the TPM has: one without the RSA key takes the other.
      if (parent === 'ECC P-384') await removeRsaEk(host);
      await deployment.trust(host.tpm.caCertificates);
      const joined = await host.join(deployment, '--ak-algorithm', akAlgorithm);
      expect(joined).toMatchObject({ code: 0, stdout: `enrolled as ${host.id} (ACTIVE)\n` });
      const { endorsementKeys } = await deployment.operator.hosts.get(host.id);
      expect(endorsementKeys[0]).toMatchObject({ algorithm: parent, certified: true });

      await using watch = start('assay', ['result', 'watch', host.id, '--profile', deployment.profile]);
      await eventually('present results', () => (watch.stdout.includes('changes follow') ? true : undefined));
      host.runAgent();
      await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
      await host.tamper();
      const result = await deployment.result(host.id, 'contraindicated host', ({ status }) => status !== 'AFFIRMING');

      expect(result).toMatchObject({ status: 'CONTRAINDICATED', connectivity: 'CONNECTED' });
      expect(reasons(result)).toEqual(['PCR_MISMATCH']);
      await eventually('change in the watch', () => (watch.stdout.includes('CONTRAINDICATED') ? true : undefined));
      expect(seen(watch, host.id)).toEqual([
        'NONE NEVER_SEEN AWAITING_EVIDENCE',
        'AFFIRMING CONNECTED -',
        'CONTRAINDICATED CONNECTED PCR_MISMATCH',
      ]);
      expect(await watch.stop('SIGINT')).toMatchObject({ stderr: '' });
      expect(await host.stopAgent()).toMatchObject({ code: 0 });
    },
  );
});

/** A TPM that its maker gave a P-384 EK alone. */
async function removeRsaEk({ tpm }: AttestedHost): Promise<void> {
  const env = { ...process.env, TPM2TOOLS_TCTI: tpm.tcti };
  await run('tpm2_nvundefine', ['-C', 'p', '0x01c00002'], { env });
  await run('tpm2_evictcontrol', ['-C', 'o', '-c', '0x81010001'], { env });
}
