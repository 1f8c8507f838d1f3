import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { TrustStatus } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { TrustPolicyService } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import type {
  ReferenceSubstituteSchema,
  SimulateTrustPolicyRequestSchema,
  SimulateTrustPolicyResponse,
} from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan } from '../../support/measuring-kernel.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { FILES, importFiles } from '../../support/runtime-policy.ts';

let running: Running;
beforeEach(async () => {
  running = await startAssay();
});
afterEach(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

const name = 'referenceSets/base';
const next = 'referenceSets/next';

type Substitute = MessageInitShape<typeof ReferenceSubstituteSchema>;

async function simulateBeside(
  change: MessageInitShape<typeof SimulateTrustPolicyRequestSchema>['change'],
  ...substitutes: Substitute[]
) {
  const channel = running.connect(await running.identity('ada', ['operator']));
  const events: SimulateTrustPolicyResponse['event'][] = [];
  const request = { substitutes, ...(change === undefined ? {} : { change }) };
  for await (const { event } of channel.client(TrustPolicyService).simulateTrustPolicy(request)) events.push(event);
  return events;
}

const simulate = (...substitutes: readonly Substitute[]) => simulateBeside(undefined, ...substitutes);

describe('a simulation of other reference sets', () => {
  it('says whom the candidate would turn, by the names of the sets', async () => {
    const { store } = running.house;
    await importFiles(store, ['one']);
    await importFiles(store, ['other'], 'next');
    await putRules(running.house, { files: { ...FILES, referenceSets: [name] } });
    await using host = await MeasuredHost.enrolled(running.house);
    host.kernel.measure(filePlan('/usr/bin/one', 'one'));
    expect((await host.round()).status).toBe('affirming');
    const events = await simulate({ name, candidate: next });
    expect(events).toMatchObject([
      {
        case: 'verdict',
        value: { outcome: { value: TrustStatus.CONTRAINDICATED }, toTrustPolicy: 'trustPolicies/base' },
      },
      { case: 'progress' },
      { case: 'summary', value: { worseCount: 1n } },
    ]);
  });

  it.each<[string, readonly { readonly name: string; readonly candidate: string }[], string]>([
    ['of another kind', [{ name, candidate: 'keyrings/next' }], 'substitutes[0].candidate'],
    ['of no kind', [{ name: 'trustPolicies/base', candidate: next }], 'substitutes[0].name'],
    ['that is the set itself', [{ name, candidate: name }], 'substitutes[0].candidate'],
    [
      'twice for one set',
      [
        { name, candidate: next },
        { name, candidate: 'referenceSets/other' },
      ],
      'substitutes[1].name',
    ],
    [
      'of too many',
      Array.from({ length: 17 }, (_, index) => ({ name: `referenceSets/s${index}`, candidate: next })),
      'substitutes',
    ],
  ])('takes none %s', async (_name, substitutes, field) => {
    const error = await failure(simulate(...substitutes));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    expect(error.fieldViolations.map((violation) => violation.field)).toEqual([field]);
  });

  it('says that no policy names what was to be replaced, as where it was taken for the candidate', async () => {
    const { store } = running.house;
    await importFiles(store, ['one']);
    await importFiles(store, ['other'], 'next');
    await putRules(running.house, { files: { ...FILES, referenceSets: [name] } });
    expect(await failure(simulate({ name: next, candidate: name }))).toMatchObject({
      code: 'FAILED_PRECONDITION',
      reason: 'REFERENCE_UNNAMED',
      message: 'no policy names referenceSets/next, so that no host would be judged by referenceSets/base in its place',
    });
    const deleted = { case: 'deletedTrustPolicy', value: 'trustPolicies/base' } as const;
    expect(await failure(simulateBeside(deleted, { name, candidate: next }))).toMatchObject({
      reason: 'REFERENCE_UNNAMED',
    });
  });

  it('says what is not there', async () => {
    await importFiles(running.house.store, ['one']);
    const error = await failure(simulate({ name, candidate: next }));
    expect(error).toMatchObject({ code: 'NOT_FOUND', message: 'referenceSets/next is not known' });
  });
});
