import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BytesValueSchema } from '@bufbuild/protobuf/wkt';

import type { Channel } from '../../../proto/client.ts';
import { Role } from '../../../proto/gen/assay/v1/access_pb.ts';
import { AttestationResultService, TrustStatus } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { EndorsementService } from '../../../proto/gen/assay/v1/endorsement_pb.ts';
import { HostService, HostState } from '../../../proto/gen/assay/v1/host_pb.ts';
import { IdentityService } from '../../../proto/gen/assay/v1/identity_pb.ts';
import { TrustPolicyService } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { RuleSeverity } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { makeTlsKey } from '../../support/evidence-builder.ts';
import { all, failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { dump, enroll, putPolicy } from '../../support/test-service.ts';
import { testKey } from '../../support/test-ca.ts';

let running: Running;
let channel: Channel;
let host: string;
beforeAll(async () => {
  running = await startAssay();
  channel = running.connect(await running.identity('ada', ['operator']));
  await putPolicy(running.house.store);
  const tpm = new SoftwareTpm();
  host = `hosts/${(await enroll(running.house, tpm, tpm.createAk())).host.id}`;
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

const hosts = () => channel.client(HostService);
const policies = () => channel.client(TrustPolicyService);
const results = () => channel.client(AttestationResultService);
const endorsements = () => channel.client(EndorsementService);
const identities = () => channel.client(IdentityService);

const ZERO = '00'.repeat(32);
const DIGEST = 'ab'.repeat(32);
const rule = { bank: 'sha256', index: 7, allowed: [ZERO] };
const labels = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`l${index}`, 'x']));
const publicKey = makeTlsKey().spki;
const watch = (request: object) => all(results().watchAttestationResults(request));

/** Name, call, and the fields that it is refused for. */
const INVALID: readonly (readonly [string, () => Promise<unknown>, readonly string[]])[] = [
  ['a host without a name', () => hosts().getHost({}), ['name']],
  ['a host of another collection', () => hosts().getHost({ name: `nodes/${'a'.repeat(26)}` }), ['name']],
  ['a host whose id is none', () => hosts().getHost({ name: 'hosts/x' }), ['name']],
  ['a host with something behind its id', () => hosts().getHost({ name: `${host}/x` }), ['name']],
  ['the approval of no host', () => hosts().approveHost({}), ['name']],
  ['the approval of a host that nobody looked at', () => hosts().approveHost({ name: host }), ['etag']],
  ['the revocation of no host', () => hosts().revokeHost({}), ['name']],
  [
    'a revocation for a very long reason',
    () => hosts().revokeHost({ name: host, reason: 'x'.repeat(513) }),
    ['reason'],
  ],
  ['the deletion of no host', () => hosts().deleteHost({}), ['name']],
  ['the replacement of no host', () => hosts().replaceHost({ replacement: host }), ['name']],
  ['the replacement by no host', () => hosts().replaceHost({ name: host }), ['replacement']],
  ['a negative page size', () => hosts().listHosts({ pageSize: -1 }), ['page_size']],
  ['a page token that is none', () => hosts().listHosts({ pageToken: 'x' }), ['page_token']],
  ['an unset state', () => hosts().listHosts({ states: [HostState.UNSPECIFIED] }), ['states[0]']],
  ['an unknown state', () => hosts().listHosts({ states: [HostState.ACTIVE, 99 as HostState] }), ['states[1]']],
  ['a label that is none', () => hosts().listHosts({ matchLabels: { '-': 'x' } }), ['match_labels["-"]']],
  ['too many labels', () => hosts().listHosts({ matchLabels: labels(17) }), ['match_labels']],
  ['an update of nothing', () => hosts().updateHost({ updateMask: { paths: ['labels'] } }), ['host']],
  ['an update without a mask', () => hosts().updateHost({ host: { name: host } }), ['update_mask']],
  [
    'an update with an empty mask',
    () => hosts().updateHost({ host: { name: host }, updateMask: { paths: [] } }),
    ['update_mask'],
  ],
  [
    'an update of what no operator sets',
    () => hosts().updateHost({ host: { name: host }, updateMask: { paths: ['state'] } }),
    ['update_mask'],
  ],
  [
    'an update of everything',
    () => hosts().updateHost({ host: { name: host }, updateMask: { paths: ['*'] } }),
    ['update_mask'],
  ],
  [
    'an update of a property of all objects',
    () => hosts().updateHost({ host: { name: host }, updateMask: { paths: ['constructor'] } }),
    ['update_mask'],
  ],
  ['an update of no host', () => hosts().updateHost({ host: {}, updateMask: { paths: ['labels'] } }), ['host.name']],
  [
    'a bad etag',
    () => hosts().updateHost({ host: { name: host, etag: '1' }, updateMask: { paths: ['labels'] } }),
    ['host.etag'],
  ],
  [
    'labels that are none',
    () => hosts().updateHost({ host: { name: host, labels: { a: ' ' } }, updateMask: { paths: ['labels'] } }),
    ['host.labels["a"]'],
  ],
  [
    '65 labels',
    () => hosts().updateHost({ host: { name: host, labels: labels(65) }, updateMask: { paths: ['labels'] } }),
    ['host.labels'],
  ],
  [
    'a node name in upper case',
    () => hosts().updateHost({ host: { name: host, nodeName: 'Node' }, updateMask: { paths: ['node_name'] } }),
    ['host.node_name'],
  ],
  [
    'a policy of another collection',
    () => hosts().updateHost({ host: { name: host, trustPolicy: 'base' }, updateMask: { paths: ['trust_policy'] } }),
    ['host.trust_policy'],
  ],
  ['no policy', () => policies().createTrustPolicy({}), ['trust_policy']],
  [
    'a policy without name and rules',
    () => policies().createTrustPolicy({ trustPolicy: {} }),
    ['trust_policy.name', 'trust_policy.pcr_rules'],
  ],
  [
    'a policy with a name of another collection',
    () => policies().createTrustPolicy({ trustPolicy: { name: 'hosts/x', pcrRules: [rule] } }),
    ['trust_policy.name'],
  ],
  [
    'a policy with several problems',
    () =>
      policies().createTrustPolicy({
        trustPolicy: {
          name: 'trustPolicies/x',
          quote: { interval: { seconds: 0n, nanos: 1 } },
          pcrRules: [
            { ...rule, bank: 'md5' },
            { ...rule, index: 24 },
          ],
        },
      }),
    ['trust_policy.quote.interval', 'trust_policy.pcr_rules[0].bank', 'trust_policy.pcr_rules[1].index'],
  ],
  [
    'a rule of an unknown severity',
    () =>
      policies().createTrustPolicy({
        trustPolicy: { name: 'trustPolicies/x', pcrRules: [{ ...rule, severity: 9 as RuleSeverity }] },
      }),
    ['trust_policy.pcr_rules[0].severity'],
  ],
  [
    'an update of a policy to a bad one',
    () => policies().updateTrustPolicy({ trustPolicy: { name: 'trustPolicies/base' } }),
    ['trust_policy.pcr_rules'],
  ],
  [
    'a policy update with a bad etag',
    () => policies().updateTrustPolicy({ trustPolicy: { name: 'trustPolicies/base', etag: 'v0', pcrRules: [rule] } }),
    ['trust_policy.etag'],
  ],
  ['a policy by no name', () => policies().getTrustPolicy({}), ['name']],
  [
    'a version that no policy has',
    () => policies().getTrustPolicy({ name: 'trustPolicies/base', version: 1n << 60n }),
    ['version'],
  ],
  [
    'the deletion of a policy with a bad etag',
    () => policies().deleteTrustPolicy({ name: 'trustPolicies/base', etag: 'x' }),
    ['etag'],
  ],
  ['the check of no policy', () => policies().validateTrustPolicy({}), ['trust_policy']],
  ['the result of no host', () => results().getAttestationResult({}), ['host']],
  ['the result of a name that is none', () => results().getAttestationResult({ nodeName: 'Node_1' }), ['node_name']],
  [
    'an unknown status',
    () => results().listAttestationResults({ filter: { statuses: [99 as TrustStatus] } }),
    ['filter.statuses[0]'],
  ],
  [
    'an unset status',
    () => results().listAttestationResults({ filter: { statuses: [TrustStatus.UNSPECIFIED] } }),
    ['filter.statuses[0]'],
  ],
  [
    'a filter by what is no host',
    () => results().listAttestationResults({ filter: { hosts: [host, 'x'] } }),
    ['filter.hosts[1]'],
  ],
  [
    'a filter by too many hosts',
    () => results().listAttestationResults({ filter: { hosts: Array.from({ length: 101 }, () => host) } }),
    ['filter.hosts'],
  ],
  [
    'a filter by what is no label',
    () => results().listAttestationResults({ filter: { matchLabels: { a: '!' } } }),
    ['filter.match_labels["a"]'],
  ],
  ['the history of no host', () => results().listAttestationResults({ history: true }), ['filter']],
  [
    'the history of two hosts',
    () => results().listAttestationResults({ history: true, filter: { hosts: [host, host] } }),
    ['filter'],
  ],
  [
    'a history by status',
    () => results().listAttestationResults({ history: true, filter: { hosts: [host], statuses: [TrustStatus.NONE] } }),
    ['filter'],
  ],
  ['a watch by an unknown status', () => watch({ filter: { statuses: [99] } }), ['filter.statuses[0]']],
  ['a watch from a long token', () => watch({ resumeToken: 'x'.repeat(513) }), ['resume_token']],
  ['no anchors', () => endorsements().importTrustAnchors({}), ['certificates']],
  [
    'anchors above 1 MiB',
    () => endorsements().importTrustAnchors({ certificates: Buffer.alloc(1024 * 1024 + 1, 1) }),
    ['certificates'],
  ],
  ['the removal of what is no anchor', () => endorsements().removeTrustAnchor({ name: 'trustAnchors/x' }), ['name']],
  ['no revocation lists', () => endorsements().importRevocationLists({}), ['revocation_lists']],
  [
    'revocation lists above 4 MiB',
    () => endorsements().importRevocationLists({ revocationLists: Buffer.alloc(4 * 1024 * 1024 + 1, 1) }),
    ['revocation_lists'],
  ],
  [
    'the removal of what is no revocation list',
    () => endorsements().removeRevocationList({ name: `revocationLists/${DIGEST.toUpperCase()}` }),
    ['name'],
  ],
  [
    'a page of revocation lists by a token of the anchors',
    async () => {
      const { nextPageToken } = await endorsements().listTrustAnchors({ pageSize: 1 });
      return endorsements().listRevocationLists({ pageToken: nextPageToken });
    },
    ['page_token'],
  ],
  ['an empty inventory', () => endorsements().importInventory({ entries: [] }), ['entries']],
  [
    'an entry that is no fingerprint',
    () => endorsements().importInventory({ entries: [{ name: `inventory/${DIGEST}` }, { name: 'inventory/x' }] }),
    ['entries[1].name'],
  ],
  [
    'a fingerprint in upper case',
    () => endorsements().importInventory({ entries: [{ name: `inventory/${DIGEST.toUpperCase()}` }] }),
    ['entries[0].name'],
  ],
  [
    'an EK twice',
    () =>
      endorsements().importInventory({ entries: [{ name: `inventory/${DIGEST}` }, { name: `inventory/${DIGEST}` }] }),
    ['entries'],
  ],
  [
    'a long group',
    () => endorsements().importInventory({ entries: [{ name: `inventory/${DIGEST}`, group: 'x'.repeat(254) }] }),
    ['entries[0].group'],
  ],
  ['the removal of what is no entry', () => endorsements().removeInventoryEntry({ name: 'x' }), ['name']],
  ['no identity', () => identities().issueIdentity({ publicKey }), ['identity']],
  [
    'an identity without roles',
    () => identities().issueIdentity({ identity: { name: 'identities/x' }, publicKey }),
    ['identity.roles'],
  ],
  [
    'the role of an agent',
    () => identities().issueIdentity({ identity: { name: 'identities/x', roles: [Role.AGENT] }, publicKey }),
    ['identity.roles[0]'],
  ],
  [
    'the role of nobody',
    () =>
      identities().issueIdentity({
        identity: { name: 'identities/x', roles: [Role.OPERATOR, Role.ANONYMOUS] },
        publicKey,
      }),
    ['identity.roles[1]'],
  ],
  [
    'an unknown role',
    () => identities().issueIdentity({ identity: { name: 'identities/x', roles: [99 as Role] }, publicKey }),
    ['identity.roles[0]'],
  ],
  [
    'an identity with a name that is none',
    () => identities().issueIdentity({ identity: { name: 'identities/X', roles: [Role.AUDITOR] }, publicKey }),
    ['identity.name'],
  ],
  [
    'an identity without a key',
    () => identities().issueIdentity({ identity: { name: 'identities/x', roles: [Role.AUDITOR] } }),
    ['public_key'],
  ],
  [
    'a key of random bytes',
    () =>
      identities().issueIdentity({
        identity: { name: 'identities/x', roles: [Role.AUDITOR] },
        publicKey: Buffer.alloc(91, 7),
      }),
    ['public_key'],
  ],
  [
    'a key that is not on P-256',
    () =>
      identities().issueIdentity({
        identity: { name: 'identities/x', roles: [Role.AUDITOR] },
        publicKey: testKey('P-384').spki,
      }),
    ['public_key'],
  ],
  ['the revocation of no identity', () => identities().revokeIdentity({}), ['name']],
];

describe('a request with', () => {
  it.each(INVALID)('%s is INVALID_ARGUMENT at its fields, and changes nothing', async (_name, call, fields) => {
    const before = await dump(running.house.store);
    const error = await failure(call());
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.reason).toMatch(/^(?:INVALID_FIELD|POLICY_INVALID)$/);
    expect(error.fieldViolations.map(({ field }) => field)).toEqual(fields);
    expect(error.fieldViolations.every(({ description }) => description !== '')).toBe(true);
    expect(await dump(running.house.store)).toEqual(before);
  });

  it('a certificate among several that does not parse imports none', async () => {
    const before = await dump(running.house.store);
    const [anchor] = await running.house.store.allTrustAnchors();
    const certificates = Buffer.concat([Buffer.from(anchor?.certificate ?? '', 'hex'), Buffer.alloc(40, 7)]);
    const error = await failure(endorsements().importTrustAnchors({ certificates }));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(await dump(running.house.store)).toEqual(before);
  });

  it('bytes that are no message is INVALID_ARGUMENT', async () => {
    const [get] = HostService.methods;
    const bytes = { ...HostService, methods: [{ ...get, input: BytesValueSchema }] } as unknown as typeof HostService;
    const call = channel.client(bytes).getHost as (request: object) => Promise<unknown>;
    expect(await failure(call({ value: Buffer.from([0xff, 0xfe]) }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      reason: 'MALFORMED_MESSAGE',
    });
  });
});
