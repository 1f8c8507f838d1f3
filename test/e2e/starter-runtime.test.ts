import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, reasons } from '../support/deployment.ts';
import { filePlan, sha256, violationPlan } from '../support/measuring-kernel.ts';
import { MeasuringSwtpm } from '../support/measuring-swtpm.ts';
import { rsaSigner, signV2 } from '../tpm/ima/signing.ts';

const STARTERS = join(import.meta.dirname, '..', '..', 'deploy', 'policies');
const signer = rsaSigner();
const pem = `-----BEGIN PUBLIC KEY-----\n${signer.spki.toString('base64')}\n-----END PUBLIC KEY-----\n`;
/** A file of the image, which is signed. */
const good = filePlan('/usr/bin/good', 'good', signV2(signer, 'sha256', sha256('good')));

let deployment: Deployment;
beforeAll(async () => {
  deployment = await Deployment.start();
  await deployment.operator.keyrings.import('distribution', Buffer.from(pem));
  const list = Buffer.from(`${sha256('good').toString('hex')}  /usr/bin/good\n`);
  await deployment.operator.referenceSets.import('base', [list], { format: 'digest_list' });
});
afterAll(() => deployment?.[Symbol.asyncDispose]());

/** A host with what it measures, and its agent. */
async function measuredHost(name: string): Promise<{ readonly host: AttestedHost; readonly kernel: MeasuringSwtpm }> {
  const host = await AttestedHost.start();
  const kernel = new MeasuringSwtpm(() => host.tpm.tcti, join(deployment.directory, name));
  await kernel.begin();
  await kernel.measure(good);
  await deployment.trust(host.tpm.caCertificates);
  expect(await host.join(deployment, '--ima-log', kernel.path)).toMatchObject({ code: 0 });
  return { host, kernel };
}

it('a set is learned from a host that measures, and from one with findings only where that is said', async () => {
  const measures = 'name: trustPolicies/measures\nruntime: {list: {}}\nquote: {interval: 1s, validity: 30s}\n';
  const file = await deployment.file('measures.yaml', measures);
  expect(await deployment.assay('policy', 'apply', '-f', file)).toMatchObject({ code: 0, stderr: '' });
  const { host, kernel } = await measuredHost('learned');
  await using _host = host;
  await kernel.measure(filePlan('/tmp/scratch', 'scratch'));
  expect((await deployment.assay('host', 'policy', host.id, 'measures')).code).toBe(0);
  const early = await deployment.assay('reference', 'learn', 'of-host', host.id);
  expect(early.code).toBe(1);
  expect(early.stderr).toContain('RUNTIME_LIST_MISSING');
  host.runAgent();
  await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');

  const learned = await deployment.assay('reference', 'learn', 'of-host', host.id, '--exclude', '/tmp/*');
  expect(learned).toMatchObject({
    code: 0,
    stdout: 'learned of-host, version 1, 1 entries\nnot imported, without effect: excluded files: 1\n',
  });
  const shown = await deployment.assay('reference', 'show', 'of-host', '--entries');
  expect(shown.stdout).toContain(`${sha256('good').toString('hex')}  /usr/bin/good`);

  await kernel.measure(violationPlan('/var/log/x'));
  await deployment.result(host.id, 'fallen host', ({ status }) => status === 'CONTRAINDICATED');
  const refused = await deployment.assay('reference', 'learn', 'of-host', host.id);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(
    /HOST_HAS_FINDINGS: .*: IMA_VIOLATION; see assay policy explain .* --despite-findings$/m,
  );
  const doubtful = await deployment.assay('reference', 'learn', 'of-host', host.id, '--despite-findings');
  expect(doubtful.code).toBe(0);
  expect(doubtful.stdout).toContain('look at what was learned: the host is CONTRAINDICATED (IMA_VIOLATION)');
});

it.each([
  ['ima-signed-only', 'A file ran that no known key signed.'],
  ['ima-allowlist', 'A file ran that is not of the image.'],
])('a host starts from %s: it is affirmed, and contraindicated once another file runs', async (starter, sentence) => {
  const text = await readFile(join(STARTERS, `${starter}.yaml`), 'utf8');
  // As it is, and asked for every second.
  const file = await deployment.file(`${starter}.yaml`, `${text}quote: {interval: 1s, validity: 30s}\n`);
  const applied = await deployment.assay('policy', 'apply', '-f', file);
  expect(applied).toMatchObject({ code: 0, stderr: '' });
  const { host, kernel } = await measuredHost(starter);
  await using _host = host;
  expect((await deployment.assay('host', 'policy', host.id, starter)).code).toBe(0);
  host.runAgent();
  await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');

  await kernel.measure(filePlan('/tmp/evil', 'evil'));
  const fallen = await deployment.result(host.id, 'fallen host', ({ status }) => status === 'CONTRAINDICATED');
  expect(reasons(fallen)).toEqual(['FILE_UNKNOWN']);
  expect(fallen.checks.find(({ reason }) => reason === 'FILE_UNKNOWN')?.message).toContain(sentence);
});
