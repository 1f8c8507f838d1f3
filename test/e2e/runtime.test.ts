import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { filePlan, sha256, violationPlan } from '../support/measuring-kernel.ts';
import { MeasuringSwtpm } from '../support/measuring-swtpm.ts';
import type { ProgramOptions } from '../support/programs.ts';
import { rsaSigner, signV2 } from '../tpm/ima/signing.ts';
import type { Signer } from '../tpm/ima/signing.ts';

const signer = rsaSigner();
const pem = ({ spki }: Signer) =>
  Buffer.from(`-----BEGIN PUBLIC KEY-----\n${spki.toString('base64')}\n-----END PUBLIC KEY-----\n`);
const signed = (path: string, content: string) => filePlan(path, content, signV2(signer, 'sha256', sha256(content)));

const rules = {
  list: { message: 'Every host of this cloud measures what it runs.' },
  files: { referenceSets: ['referenceSets/image'], keyrings: ['keyrings/vendor'], message: 'Ask the image team.' },
};
const runtimePolicy = policy('base', { pcrRules: [], runtime: rules });

let deployment: Deployment;
let lists = 0;
beforeAll(async () => {
  deployment = await Deployment.start();
  const { operator } = deployment;
  const list = Buffer.from(`${sha256('allowed').toString('hex')}  /usr/bin/allowed\n`);
  await operator.referenceSets.import('image', [list], { format: 'digest_list' });
  await operator.keyrings.import('vendor', pem(signer));
  await operator.policies.apply(runtimePolicy);
});
afterAll(() => deployment?.[Symbol.asyncDispose]());

/** A host that has run an allowed and a signed file, and is affirmed. */
async function affirmedHost(
  options?: ProgramOptions,
): Promise<{ readonly host: AttestedHost; readonly kernel: MeasuringSwtpm }> {
  const host = await AttestedHost.start();
  try {
    const kernel = new MeasuringSwtpm(() => host.tpm.tcti, join(deployment.directory, `ima-${(lists += 1)}`));
    await kernel.begin();
    await kernel.measure(filePlan('/usr/bin/allowed', 'allowed'), signed('/usr/bin/signed', 'signed'));
    await deployment.trust(host.tpm.caCertificates);
    const joined = await host.join(deployment, '--ima-log', kernel.path);
    expect(joined).toMatchObject({ code: 0 });
    host.runAgent(options);
    await turned(host, 'AFFIRMING');
    return { host, kernel };
  } catch (error) {
    await host[Symbol.asyncDispose]();
    throw error;
  }
}

function turned(host: AttestedHost, status: string) {
  return deployment.result(host.id, `${status} host`, (result) => result.status === status);
}

describe('a host whose kernel measures what it runs', () => {
  it.each([
    ['an unsigned file runs', filePlan('/tmp/evil', 'evil'), 'FILE_UNKNOWN', 'does not allow. Ask the image team.'],
    [
      'a signed file is changed',
      filePlan('/usr/bin/signed', 'changed', signV2(signer, 'sha256', sha256('signed'))),
      'FILE_SIGNATURE_INVALID',
      'it is not what was signed.',
    ],
    ['a violation occurs', violationPlan('/usr/bin/signed'), 'IMA_VIOLATION', 'nobody knows what of it was used.'],
  ])('is contraindicated as soon as %s, with a sentence, and stays so', async (_name, plan, reason, sentence) => {
    const { host, kernel } = await affirmedHost();
    await using _host = host;
    await kernel.measure(plan);
    const bad = await turned(host, 'CONTRAINDICATED');
    expect(reasons(bad)).toContain(reason);
    expect(bad.checks.find((check) => check.reason === reason)?.message).toContain(sentence);
    await kernel.measure(signed('/usr/bin/later', 'later'));
    const report = await deployment.assay('host', 'runtime', host.id);
    expect(report.stdout).toContain('proven and judged');
    expect(report.stdout).toContain(reason);
    expect((await deployment.operator.results.get(host.id)).status).toBe('CONTRAINDICATED');
  });

  it('is contraindicated as soon as the key of what it ran is withdrawn, and affirmed when it is back', async () => {
    const { host } = await affirmedHost();
    await using _host = host;
    await deployment.operator.keyrings.import('vendor', pem(rsaSigner()));
    const bad = await turned(host, 'CONTRAINDICATED');
    expect(reasons(bad)).toEqual(['FILE_UNKNOWN']);
    expect(bad.checks[0]?.observed).toMatch(/^1: \/usr\/bin\/signed .* signed by the unknown key [0-9a-f]{8}$/);
    await deployment.operator.keyrings.import('vendor', pem(signer));
    await turned(host, 'AFFIRMING');
  });

  it('is contraindicated long before its next round where it is asked seldom, for its agent notices', async () => {
    await deployment.operator.policies.apply({ ...runtimePolicy, quote: { interval: '3600s', validity: '7200s' } });
    try {
      const { host, kernel } = await affirmedHost({ env: { ASSAY_LOG: 'debug' } });
      await using _host = host;
      // The round of the first verdict is over, and the next one is far.
      await host.agent.logged(({ event, status }) => event === 'result' && status === 'AFFIRMING', 'a verdict');
      expect(host.agent.log.filter(({ event }) => event === 'wished')).toEqual([]);
      await kernel.measure(filePlan('/tmp/evil', 'evil'));
      expect(reasons(await turned(host, 'CONTRAINDICATED'))).toContain('FILE_UNKNOWN');
      expect(host.agent.log.filter(({ event }) => event === 'wished')).toMatchObject([{ logs: ['ima'] }]);
    } finally {
      await deployment.operator.policies.apply(runtimePolicy);
    }
  });

  it('is not judged by a policy whose set is not there, and such a set stays as long as it is named', async () => {
    const { operator } = deployment;
    const unknown = { ...rules, files: { referenceSets: ['referenceSets/nowhere'] } };
    await expect(operator.policies.apply(policy('other', { pcrRules: [], runtime: unknown }))).rejects.toThrow(
      /referenceSets\/nowhere/,
    );
    await expect(operator.referenceSets.delete('image')).rejects.toMatchObject({ reason: 'RESOURCE_IN_USE' });
  });
});
