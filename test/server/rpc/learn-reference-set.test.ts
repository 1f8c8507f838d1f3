import { afterEach, beforeEach, expect, it } from 'vitest';

import { ReferenceValueService } from '../../../proto/gen/assay/v1/reference_value_pb.ts';
import { MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, violationPlan } from '../../support/measuring-kernel.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';

let running: Running;
beforeEach(async () => {
  running = await startAssay();
});
afterEach(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

it('a host with findings is learned from only where that is said, and the audit log has it', async () => {
  const { house } = running;
  await putRules(house, { violations: { action: 'ignore', applyExcludes: false, message: '' } });
  await using host = await MeasuredHost.enrolled(house);
  host.kernel.measure(filePlan('/bin/sh', 'sh'), violationPlan('/var/log/x'));
  expect((await host.round()).status).toBe('affirming');
  const client = running.connect(await running.identity('ada', ['operator'])).client(ReferenceValueService);
  const request = { name: 'referenceSets/base', host: `hosts/${host.machine.id}` };
  const imports = async () =>
    (await house.store.listAudit(0, 100)).filter(({ action }) => action === 'referenceSet.import');
  expect(await failure(client.learnReferenceSet(request))).toMatchObject({
    code: 'FAILED_PRECONDITION',
    reason: 'HOST_HAS_FINDINGS',
    message: expect.stringMatching(/: IMA_VIOLATION$/) as string,
  });
  expect(await imports()).toEqual([]);
  const learned = await client.learnReferenceSet({ ...request, despiteFindings: true });
  expect(learned.referenceSet).toMatchObject({ version: 1n, entryCount: 1n });
  const detail = `learned from hosts/${host.machine.id} despite IMA_VIOLATION, 1 read, version 1, 1 entries, 0 verdicts dropped`;
  expect(await imports()).toMatchObject([{ actor: 'identities/ada', target: 'referenceSets/base', detail }]);
});
