import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { Role } from '../../../proto/gen/assay/v1/access_pb.ts';
import { AttestationResultService } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { EndorsementService } from '../../../proto/gen/assay/v1/endorsement_pb.ts';
import { HostService } from '../../../proto/gen/assay/v1/host_pb.ts';
import { IdentityService } from '../../../proto/gen/assay/v1/identity_pb.ts';
import { ReferenceValueService } from '../../../proto/gen/assay/v1/reference_value_pb.ts';
import { ReportService } from '../../../proto/gen/assay/v1/report_pb.ts';
import { TokenKeyService } from '../../../proto/gen/assay/v1/token_pb.ts';
import { TrustPolicyService } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { IdentityRole } from '../../../server/store/records.ts';
import { makeTlsKey } from '../../support/evidence-builder.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { dump, enroll, OPERATOR, putPolicy } from '../../support/test-service.ts';

const RED = { tenant: 'red' };
const READERS: readonly IdentityRole[] = ['operator', 'orchestrator', 'relying_party', 'auditor'];
const MISSING = `hosts/h-${'a'.repeat(26)}`;

let running: Running;
let red = '';
let blue = '';
const channels = new Map<IdentityRole, Channel>();
beforeAll(async () => {
  running = await startAssay();
  const enrolled = async (labels: Readonly<Record<string, string>>) => {
    const tpm = new SoftwareTpm();
    const { host } = await enroll(running.house, tpm, tpm.createAk());
    await running.house.store.updateHost(
      host.id,
      { labels, nodeName: labels['tenant'] ?? '' },
      { ...OPERATOR, version: null },
    );
    return `hosts/${host.id}`;
  };
  await putPolicy(running.house.store, { id: 'every' });
  red = await enrolled(RED);
  blue = await enrolled({ tenant: 'blue' });
  for (const role of READERS) channels.set(role, running.connect(await running.identity(`red-${role}`, [role], RED)));
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

function as(role: IdentityRole): Channel {
  const channel = channels.get(role);
  if (channel === undefined) throw new TypeError(`no channel of ${role}`);
  return channel;
}

/** What a call failed with, but for the name that it was given. */
async function refusal(call: Promise<unknown>, name: string): Promise<unknown> {
  const { code, reason, message, fieldViolations } = await failure(call);
  return JSON.parse(JSON.stringify({ code, reason, message, fieldViolations }).replaceAll(name.slice(6), 'ID'));
}

type Act = (channel: Channel, name: string) => Promise<unknown>;
const etag = 'v1';
const ONE_HOST: readonly (readonly [string, readonly IdentityRole[], Act])[] = [
  ['GetAttestationResult', READERS, (c, host) => c.client(AttestationResultService).getAttestationResult({ host })],
  ['GetBootReport', READERS, (c, host) => c.client(AttestationResultService).getBootReport({ host })],
  ['GetRuntimeReport', READERS, (c, host) => c.client(AttestationResultService).getRuntimeReport({ host })],
  ['ExplainHost', ['operator', 'auditor'], (c, host) => c.client(TrustPolicyService).explainHost({ host })],
  [
    'SimulateTrustPolicy',
    ['operator', 'auditor'],
    async (c, host) => {
      const change = { case: 'deletedTrustPolicy', value: 'trustPolicies/every' } as const;
      for await (const _ of c.client(TrustPolicyService).simulateTrustPolicy({ change, hosts: [host] }));
    },
  ],
  ['GetHost', ['operator', 'auditor'], (c, name) => c.client(HostService).getHost({ name })],
  [
    'UpdateHost',
    ['operator'],
    (c, name) => c.client(HostService).updateHost({ host: { name, labels: RED }, updateMask: { paths: ['labels'] } }),
  ],
  ['ApproveHost', ['operator'], (c, name) => c.client(HostService).approveHost({ name, etag })],
  ['RevokeHost', ['operator'], (c, name) => c.client(HostService).revokeHost({ name })],
  [
    'ReplaceHost, the old one',
    ['operator'],
    (c, name) => c.client(HostService).replaceHost({ name, replacement: red }),
  ],
  [
    'ReplaceHost, the new one',
    ['operator'],
    (c, name) => c.client(HostService).replaceHost({ name: red, replacement: name }),
  ],
  ['DeleteHost', ['operator'], (c, name) => c.client(HostService).deleteHost({ name })],
];

describe('a host outside of the scope', () => {
  it.each(ONE_HOST.flatMap(([method, roles, act]) => roles.map((role) => ({ method, role, act }))))(
    'is to $role of $method like one that is not there',
    async ({ role, act }) => {
      const before = await dump(running.house.store);
      const denied = await refusal(act(as(role), blue), blue);
      expect(denied).toEqual(await refusal(act(as(role), MISSING), MISSING));
      expect(denied).toMatchObject({ code: 'NOT_FOUND', reason: 'NOT_FOUND' });
      expect(await dump(running.house.store)).toEqual(before);
    },
  );

  it.each(READERS)('is not found by its node name by %s', async (role) => {
    const find = (nodeName: string) => as(role).client(AttestationResultService).getAttestationResult({ nodeName });
    expect((await find('red')).result?.host).toBe(red);
    const { code, message } = await failure(find('blue'));
    const nobody = await failure(find('green'));
    expect([code, message]).toEqual([nobody.code, nobody.message.replace('green', 'blue')]);
  });

  it.each(READERS)('is in no list, history or watch of %s', async (role) => {
    const client = as(role).client(AttestationResultService);
    const names = async (filter: object, history = false) =>
      (await client.listAttestationResults({ filter, history })).results.map(({ host }) => host);
    expect(await names({})).toEqual([red]);
    expect(await names({ hosts: [blue, red] })).toEqual([red]);
    expect(await names({ matchLabels: { tenant: 'blue' } })).toEqual([]);
    expect(await names({ hosts: [blue] }, true)).toEqual([]);
    expect(await names({ hosts: [MISSING] }, true)).toEqual([]);
    expect(await names({ hosts: [red] }, true)).toEqual([red]);
    const heard: string[] = [];
    for await (const { event } of client.watchAttestationResults({})) {
      if (event.case === 'bookmark') break;
      if (event.case === 'change') heard.push(event.value.result?.host ?? '');
    }
    expect(heard).toEqual([red]);
  });

  it.each(['operator', 'auditor'] as const)('is not among the hosts that %s lists', async (role) => {
    const client = as(role).client(HostService);
    expect((await client.listHosts({})).hosts.map(({ name }) => name)).toEqual([red]);
    expect((await client.listHosts({ matchLabels: { tenant: 'blue' } })).hosts).toEqual([]);
  });
});

describe('the report', () => {
  it.each(['operator', 'relying_party', 'auditor'] as const)(
    'to %s is of the hosts in the scope alone',
    async (role) => {
      const { report } = await as(role).client(ReportService).getPlatformReport({});
      expect(report?.matchLabels).toEqual(RED);
      expect(report?.exceptions.map(({ host }) => host)).toEqual([red]);
    },
  );

  it('is not made, let alone signed, of other hosts: it would say that there are none', async () => {
    for (const role of ['operator', 'relying_party', 'auditor'] as const) {
      const client = as(role).client(ReportService);
      const error = await failure(client.getPlatformReport({ matchLabels: { tenant: 'blue' }, token: {} }));
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
      expect(error.fieldViolations.map(({ field }) => field)).toEqual(['match_labels["tenant"]']);
      const { report } = await client.getPlatformReport({ matchLabels: { ...RED, rack: 'none' } });
      expect(report).toMatchObject({ hostCount: 0n, matchLabels: { ...RED, rack: 'none' } });
    }
  });
});

describe('a token', () => {
  it('of a page or a watch is of no use in another scope', async () => {
    const everything = running.connect(await running.identity('everything', ['auditor']));
    const results = everything.client(AttestationResultService);
    const { nextPageToken: pageToken } = await results.listAttestationResults({ pageSize: 1 });
    const { nextPageToken: hostToken } = await everything.client(HostService).listHosts({ pageSize: 1 });
    let resumeToken = '';
    for await (const message of results.watchAttestationResults({})) {
      ({ resumeToken } = message);
      if (message.event.case === 'bookmark') break;
    }
    const scoped = as('auditor').client(AttestationResultService);
    const invalid = { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' };
    expect(await failure(scoped.listAttestationResults({ pageSize: 1, pageToken }))).toMatchObject(invalid);
    expect(
      await failure(as('auditor').client(HostService).listHosts({ pageSize: 1, pageToken: hostToken })),
    ).toMatchObject(invalid);
    const watched = (async () => {
      for await (const _ of scoped.watchAttestationResults({ resumeToken })) return;
    })();
    expect(await failure(watched)).toMatchObject({ code: 'OUT_OF_RANGE', reason: 'SCOPE_CHANGED' });
  });
});

describe('an operator with a scope', () => {
  it('cannot take a host out of it', async () => {
    const update = (labels: Record<string, string>) =>
      as('operator')
        .client(HostService)
        .updateHost({ host: { name: red, labels }, updateMask: { paths: ['labels'] } });
    expect(await failure(update({ tenant: 'blue' }))).toMatchObject({
      code: 'PERMISSION_DENIED',
      reason: 'OUT_OF_SCOPE',
    });
    expect((await update({ ...RED, rack: '1' })).host).toMatchObject({ labels: { ...RED, rack: '1' } });
  });

  it.each<[string, (channel: Channel) => Promise<unknown>]>([
    ['IssueIdentity', (c) => c.client(IdentityService).issueIdentity({})],
    ['ListIdentities', (c) => c.client(IdentityService).listIdentities({})],
    ['RevokeIdentity', (c) => c.client(IdentityService).revokeIdentity({})],
    ['CreateTrustPolicy', (c) => c.client(TrustPolicyService).createTrustPolicy({})],
    ['UpdateTrustPolicy', (c) => c.client(TrustPolicyService).updateTrustPolicy({})],
    ['DeleteTrustPolicy', (c) => c.client(TrustPolicyService).deleteTrustPolicy({})],
    ['ImportTrustAnchors', (c) => c.client(EndorsementService).importTrustAnchors({})],
    ['RemoveTrustAnchor', (c) => c.client(EndorsementService).removeTrustAnchor({})],
    ['ImportRevocationLists', (c) => c.client(EndorsementService).importRevocationLists({})],
    ['RemoveRevocationList', (c) => c.client(EndorsementService).removeRevocationList({})],
    ['ImportInventory', (c) => c.client(EndorsementService).importInventory({})],
    ['ListInventory', (c) => c.client(EndorsementService).listInventory({})],
    ['RemoveInventoryEntry', (c) => c.client(EndorsementService).removeInventoryEntry({})],
    ['ListEndorsementChanges', (c) => c.client(EndorsementService).listEndorsementChanges({})],
    ['RemoveReferenceEntries', (c) => c.client(ReferenceValueService).removeReferenceEntries({})],
    ['DeleteReferenceSet', (c) => c.client(ReferenceValueService).deleteReferenceSet({})],
    ['ImportKeyring', (c) => c.client(ReferenceValueService).importKeyring({})],
    ['RemoveKeyringKey', (c) => c.client(ReferenceValueService).removeKeyringKey({})],
    ['DeleteKeyring', (c) => c.client(ReferenceValueService).deleteKeyring({})],
    ['RotateTokenKey', (c) => c.client(TokenKeyService).rotateTokenKey({})],
    ['WithdrawTokenKey', (c) => c.client(TokenKeyService).withdrawTokenKey({})],
  ])('has no say in %s, which concerns every host', async (_method, call) => {
    const before = await dump(running.house.store);
    expect(await failure(call(as('operator')))).toMatchObject({
      code: 'PERMISSION_DENIED',
      reason: 'SCOPE_TOO_NARROW',
    });
    expect(await dump(running.house.store)).toEqual(before);
  });

  it('may read policies', async () => {
    await as('operator').client(TrustPolicyService).listTrustPolicies({});
  });
});

describe('the scope of an identity', () => {
  const issue = async (
    name: string,
    roles: Role[],
    scope?: { matchLabels?: Record<string, string>; allHosts?: boolean },
  ) => {
    const operator = running.connect(await running.identity('chief', ['operator']));
    const identity = { name: `identities/${name}`, roles, ...(scope === undefined ? {} : { scope }) };
    const answer = await operator.client(IdentityService).issueIdentity({ identity, publicKey: makeTlsKey().spki });
    const { matchLabels = {}, allHosts = false } = answer.identity?.scope ?? {};
    return { matchLabels, allHosts };
  };
  const everyHost = { matchLabels: {}, allHosts: true };

  it('is every host where operators and auditors are given none', async () => {
    expect(await issue('plain', [Role.OPERATOR, Role.AUDITOR])).toEqual(everyHost);
  });

  it.each([Role.ORCHESTRATOR, Role.RELYING_PARTY, Role.CONSUMER])(
    'must be named for a new one with role %s',
    async (role) => {
      const error = await failure(issue(`new-${role}`, [Role.AUDITOR, role]));
      expect(error.fieldViolations.map(({ field }) => field)).toEqual(['identity.scope']);
      expect(await running.house.store.getIdentity(`new-${role}`)).toBeNull();
      expect(await issue(`new-${role}`, [role], { allHosts: true })).toEqual(everyHost);
    },
  );

  it('stays as it is where a known one is given none', async () => {
    const scoped = { matchLabels: RED, allHosts: false };
    expect(await issue('keeps', [Role.ORCHESTRATOR], { matchLabels: RED })).toEqual(scoped);
    expect(await issue('keeps', [Role.OPERATOR])).toEqual(scoped);
    expect(await issue('keeps', [Role.OPERATOR], { allHosts: true })).toEqual(everyHost);
  });

  it.each([
    ['empty', {}, ['identity.scope.match_labels']],
    ['both', { matchLabels: RED, allHosts: true }, ['identity.scope']],
    ['no label', { matchLabels: { '-': 'x' } }, ['identity.scope.match_labels["-"]']],
    ['hostile text', { matchLabels: { x: '\u001b[2J' } }, ['identity.scope.match_labels["x"]']],
  ])('is refused when it is %s', async (_name, scope, fields) => {
    const error = await failure(issue('wrong', [Role.ORCHESTRATOR], scope));
    expect(error.fieldViolations.map(({ field }) => field)).toEqual(fields);
  });
});
