import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';

import { fromProtoPolicy, fromProtoResult, jsonOf } from '../../../client/sdk/convert.ts';
import { AttestationResultSchema } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { CheckHostResponseSchema } from '../../../proto/gen/assay/v1/placement_pb.ts';
import { TrustPolicySchema } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';

test('the JSON of a message has every field, also one that is 0, false or empty, and leaves out what is not set', () => {
  const { json } = fromProtoResult(create(AttestationResultSchema, { name: 'n', host: 'hosts/h-a', vector: {} }));
  expect(json).toMatchObject({
    revision: '0',
    confirmations: '0',
    resetCount: 0,
    vector: { instanceIdentity: 0, configuration: 0, executables: 0, hardware: 0 },
    status: 'TRUST_STATUS_UNSPECIFIED',
    checks: [],
    labels: {},
    trustPolicy: '',
  });
  expect(Object.keys(json)).not.toContain('validUntil');
  expect(jsonOf(CheckHostResponseSchema, create(CheckHostResponseSchema))).toEqual({
    selectable: false,
    reasons: [],
    checkReasons: [],
  });
});

test('the JSON of a policy is what somebody wrote: it is edited and applied again', () => {
  const { json } = fromProtoPolicy(create(TrustPolicySchema, { name: 'trustPolicies/base', version: 1n, boot: {} }));
  expect(json).toEqual({ name: 'trustPolicies/base', version: '1', boot: {} });
});
