import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';

import type { JsonObject } from '../../client/sdk/resources.ts';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy } from '../support/deployment.ts';

let deployment: Deployment;
const hosts: AttestedHost[] = [];

beforeAll(async () => {
  deployment = await Deployment.start();
  await deployment.operator.policies.apply(policy('base'));
  for (const tenant of ['red', 'blue']) {
    const host = await AttestedHost.enrolled(deployment);
    hosts.push(host);
    await deployment.assay('host', 'label', host.id, `tenant=${tenant}`);
    host.runAgent();
    await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
  }
  // The anchors of the second took the verdict of the first back.
  await deployment.result(hostOf(0).id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
});

afterAll(async () => {
  for (const host of hosts) await host[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

function hostOf(index: number): AttestedHost {
  const host = hosts[index];
  if (host === undefined) throw new TypeError(`no host ${index}`);
  return host;
}

const written = (candidate: JsonObject): Promise<string> => deployment.file('candidate.yaml', stringify(candidate));
const STRICT = policy('strict', {
  selector: { matchLabels: { tenant: 'red' } },
  precedence: 1,
  pcrRules: [{ bank: 'sha256', index: 16, allowed: ['11'.repeat(32)], message: 'Not \u001b[31mthis\u202e one.' }],
});

describe('a policy that is simulated before it is applied', () => {
  it('changes nothing where every host stays as it is: exit code 0', async () => {
    const { code, stdout, stderr } = await deployment.assay('policy', 'simulate', '-f', await written(policy('base')));
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(/hosts: +2, of which 2 would be judged/);
    expect(stdout).toMatch(/AFFIRMING +AFFIRMING +2/);
  });

  it('says who would fall and why, escaped: exit code 1, and comes true when it is applied', async () => {
    const file = await written(STRICT);
    const { code, stdout } = await deployment.assay('policy', 'simulate', '-f', file);
    expect(code).toBe(1);
    expect(stdout).toMatch(/AFFIRMING +CONTRAINDICATED +1/);
    expect(stdout).toMatch(/base +strict +1/);
    expect(stdout).toContain(`${hostOf(0).id}  -`);
    expect(stdout).toContain('pcr.sha256.16 PCR_MISMATCH');
    expect(stdout).not.toContain(hostOf(1).id);
    const json = JSON.parse((await deployment.assay('policy', 'simulate', '-f', file, '--output', 'json')).stdout) as {
      readonly verdicts: readonly JsonObject[];
      readonly summary: JsonObject;
    };
    expect(json.verdicts).toMatchObject([
      {
        host: `hosts/${hostOf(0).id}`,
        toStatus: 'TRUST_STATUS_CONTRAINDICATED',
        toTrustPolicy: 'trustPolicies/strict',
      },
    ]);
    expect(json.summary).toMatchObject({ hostCount: '2', concernedCount: '1', worseCount: '1' });
    expect((await deployment.assay('policy', 'simulate', '-f', file, '--host', hostOf(1).id)).code).toBe(0);
    expect((await deployment.assay('policy', 'simulate', '-f', file, '--label', 'tenant=blue')).code).toBe(0);

    await deployment.operator.policies.apply(STRICT);
    await deployment.result(hostOf(0).id, 'fallen host', ({ status }) => status === 'CONTRAINDICATED');
    await deployment.result(hostOf(1).id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
  });

  it('is explained for the host that it judges', async () => {
    const { code, stdout } = await deployment.assay('policy', 'explain', hostOf(0).id);
    expect(code).toBe(0);
    expect(stdout).toMatch(/policy: +strict, version 1/);
    expect(stdout).toMatch(/base +1 +0 +yes +outranked/);
    expect(stdout).toMatch(/FAILED +PCR 16 of the sha256 bank holds 1111/);
    expect(stdout).toContain('MISSING FOR AFFIRMING');
    for (const hidden of ['\u001b', '\u202e']) expect(stdout).not.toContain(hidden);
    const json = await deployment.assay('policy', 'explain', hostOf(1).id, '--output', 'json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      choice: 'POLICY_CHOICE_SELECTED',
      trustPolicy: 'trustPolicies/base',
      result: { status: 'TRUST_STATUS_AFFIRMING' },
    });
  });

  it('may be one that is deleted', async () => {
    const { code, stdout } = await deployment.assay('policy', 'simulate', '--delete', 'strict');
    expect(code).toBe(0);
    expect(stdout).toMatch(/CONTRAINDICATED +AFFIRMING +1/);
    expect(stdout).toContain('no more pcr.sha256.16 PCR_MISMATCH');
    expect((await deployment.assay('policy', 'simulate', '--delete', 'base')).code).toBe(1);
  });

  it('may be a set in the place of another: exit code 0 where no host runs by it, 2 where there is none', async () => {
    for (const set of ['base', 'base-next']) {
      const list = await deployment.file(`${set}.txt`, `${'ab'.repeat(32)}  /usr/bin/${set}\n`);
      const imported = await deployment.assay('reference', 'import', set, list, '--format', 'sha256sum');
      expect(imported.code).toBe(0);
    }
    const named = { runtime: { files: { referenceSets: ['referenceSets/base'] } } };
    const file = await written(policy('listed', { ...named, selector: { matchLabels: { tenant: 'nobody' } } }));
    const substitute = ['policy', 'simulate', '--set', 'base=base-next'];
    const { code, stdout, stderr } = await deployment.assay(...substitute, '-f', file);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/hosts: +2, of which 0 would be judged/);
    const unnamed = await deployment.assay(...substitute);
    expect(unnamed).toMatchObject({ code: 2, stdout: '' });
    expect(unnamed.stderr).toContain('REFERENCE_UNNAMED: no policy names referenceSets/base');
    const gone = await deployment.assay('policy', 'simulate', '--keyring', 'distro=gone');
    expect(gone).toMatchObject({ code: 2, stdout: '' });
    expect(gone.stderr).toContain('keyrings/distro is not known');
  });

  it('is refused with its place, and no failure looks like a host that gets worse: exit code 2', async () => {
    const file = await written(policy('base', { pcrRules: [{ bank: 'sha256', index: 16, allowed: ['00'] }] }));
    const refused = await deployment.assay('policy', 'simulate', '-f', file);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/candidate\.yaml:\d+:\d+: pcr_rules\[0\]\.allowed\[0\]/);
    const unknown = await written(policy('base', { runtime: { files: { keyrings: ['keyrings/gone'] } } }));
    const unnamed = await deployment.assay('policy', 'simulate', '-f', unknown);
    expect(unnamed.code).toBe(2);
    expect(unnamed.stderr).toMatch(
      /candidate\.yaml:\d+:\d+: runtime\.files\.keyrings\[0\]: keyrings\/gone is not known/,
    );
    const noHost = await deployment.assay('policy', 'simulate', '-f', await written(STRICT), '--host', 'h-none');
    expect(noHost).toMatchObject({ code: 2, stderr: expect.stringMatching(/^assay: NOT_FOUND: .* h-none is known$/m) });
    expect(noHost.stderr).not.toContain('candidate.yaml');
    const gone = await deployment.assay('policy', 'simulate', '--delete', 'gone');
    expect(gone.code).toBe(2);
    expect(gone.stderr).toContain('trustPolicies/gone is not known');
    expect((await deployment.assay('policy', 'simulate')).code).toBe(2);
  });
});
