import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { AttestationResultService } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { EndorsementService } from '../../../proto/gen/assay/v1/endorsement_pb.ts';
import { HostService } from '../../../proto/gen/assay/v1/host_pb.ts';
import { IdentityService } from '../../../proto/gen/assay/v1/identity_pb.ts';
import { ReferenceValueService } from '../../../proto/gen/assay/v1/reference_value_pb.ts';
import { TrustPolicyService } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { dump, putPolicy } from '../../support/test-service.ts';

let running: Running;
let channel: Channel;
beforeAll(async () => {
  running = await startAssay();
  channel = running.connect(await running.identity('ada', ['operator']));
  await putPolicy(running.house.store);
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

const hosts = () => channel.client(HostService);
const policies = () => channel.client(TrustPolicyService);
const results = () => channel.client(AttestationResultService);
const endorsements = () => channel.client(EndorsementService);
const references = () => channel.client(ReferenceValueService);
const identities = () => channel.client(IdentityService);

const DIGEST = 'ab'.repeat(32);
const rule = { bank: 'sha256', index: 7, allowed: ['00'.repeat(32)] };

describe('a resource that is not there', () => {
  const nowhere = `h-${'a'.repeat(26)}`;
  it.each<[string, () => Promise<unknown>]>([
    ['a host', () => hosts().getHost({ name: `hosts/${nowhere}` })],
    [
      'a host to be updated',
      () => hosts().updateHost({ host: { name: `hosts/${nowhere}` }, updateMask: { paths: ['labels'] } }),
    ],
    ['a host to be approved', () => hosts().approveHost({ name: `hosts/${nowhere}`, etag: 'v1' })],
    ['a host to be revoked', () => hosts().revokeHost({ name: `hosts/${nowhere}` })],
    [
      'a host to be replaced',
      () => hosts().replaceHost({ name: `hosts/${nowhere}`, replacement: `hosts/h-${'b'.repeat(26)}` }),
    ],
    ['a host to be deleted', () => hosts().deleteHost({ name: `hosts/${nowhere}` })],
    ['a result', () => results().getAttestationResult({ host: `hosts/${nowhere}` })],
    ['a policy', () => policies().getTrustPolicy({ name: 'trustPolicies/gone' })],
    ['a version of a policy', () => policies().getTrustPolicy({ name: 'trustPolicies/base', version: 99n })],
    [
      'a policy to be updated',
      () => policies().updateTrustPolicy({ trustPolicy: { name: 'trustPolicies/gone', pcrRules: [rule] } }),
    ],
    ['a policy to be deleted', () => policies().deleteTrustPolicy({ name: 'trustPolicies/gone' })],
    ['a reference set', () => references().getReferenceSet({ name: 'referenceSets/gone' })],
    ['the entries of a set', () => references().listReferenceEntries({ name: 'referenceSets/gone' })],
    [
      'a set to be changed',
      () => references().removeReferenceEntries({ name: 'referenceSets/gone', digests: [DIGEST] }),
    ],
    ['a set to be deleted', () => references().deleteReferenceSet({ name: 'referenceSets/gone' })],
    [
      'a host to be learned from',
      () => references().learnReferenceSet({ name: 'referenceSets/base', host: `hosts/${nowhere}` }),
    ],
    ['a keyring', () => references().getKeyring({ name: 'keyrings/gone' })],
    ['a keyring to be changed', () => references().removeKeyringKey({ name: 'keyrings/gone', fingerprint: DIGEST })],
    ['a keyring to be deleted', () => references().deleteKeyring({ name: 'keyrings/gone' })],
    ['an anchor to be read', () => endorsements().getTrustAnchor({ name: `trustAnchors/${DIGEST}` })],
    [
      'a version of a revocation list',
      () => endorsements().getRevocationList({ name: `revocationLists/${DIGEST}`, version: 1n }),
    ],
    ['an anchor', () => endorsements().removeTrustAnchor({ name: `trustAnchors/${DIGEST}` })],
    ['a revocation list', () => endorsements().removeRevocationList({ name: `revocationLists/${DIGEST}` })],
    ['an entry of the inventory', () => endorsements().removeInventoryEntry({ name: `inventory/${DIGEST}` })],
    ['an identity', () => identities().revokeIdentity({ name: 'identities/gone' })],
  ])('is NOT_FOUND: %s', async (_name, call) => {
    const before = await dump(running.house.store);
    expect(await failure(call())).toMatchObject({ code: 'NOT_FOUND', reason: 'NOT_FOUND' });
    expect(await dump(running.house.store)).toEqual(before);
  });
});
