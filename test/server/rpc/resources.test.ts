import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { Role } from '../../../proto/gen/assay/v1/access_pb.ts';
import { AttestationResultService, TrustStatus } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { HostService, HostState } from '../../../proto/gen/assay/v1/host_pb.ts';
import { IdentityService } from '../../../proto/gen/assay/v1/identity_pb.ts';
import { RuleSeverity, TrustPolicyService } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { makeTlsKey } from '../../support/evidence-builder.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay, tlsIdentity } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { dump, enroll } from '../../support/test-service.ts';

let running: Running;
let channel: Channel;
beforeEach(async () => {
  running = await startAssay({ admission: ['certificate', 'approval'] });
  channel = running.connect(await running.identity('ada', ['operator']));
});
afterEach(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

async function enrolled(count: number, options: Parameters<typeof enroll>[3] = {}): Promise<readonly string[]> {
  const names: string[] = [];
  for (let index = 0; index < count; index++) {
    const tpm = new SoftwareTpm();
    names.push(`hosts/${(await enroll(running.house, tpm, tpm.createAk(), options)).host.id}`);
  }
  return names.toSorted();
}

describe('hosts', () => {
  it('are listed page by page, each once, whatever the size of a page', async () => {
    const names = await enrolled(5);
    for (const pageSize of [1, 2, 5, 6, 0, 5_000]) {
      const seen: string[] = [];
      let pageToken = '';
      do {
        const page = await channel.client(HostService).listHosts({ pageSize, pageToken });
        expect(page.hosts.length).toBeLessThanOrEqual(pageSize === 0 ? 50 : pageSize);
        seen.push(...page.hosts.map(({ name }) => name));
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      expect(seen).toEqual(names);
    }
  });

  it('are listed by state and label, and a token is good for its filter alone', async () => {
    const [first = '', second = ''] = await enrolled(2);
    await enrolled(1, { certificates: [undefined] });
    const client = channel.client(HostService);
    for (const name of [first, second]) {
      await client.updateHost({ host: { name, labels: { zone: 'eu' } }, updateMask: { paths: ['labels'] } });
    }
    const pending = await client.listHosts({ states: [HostState.PENDING] });
    expect(pending.hosts.map(({ state, akCertificate }) => [state, akCertificate.length])).toEqual([
      [HostState.PENDING, 0],
    ]);
    const zone = await client.listHosts({ matchLabels: { zone: 'eu' }, pageSize: 1 });
    expect(zone.hosts.map(({ name }) => name)).toEqual([first]);
    const error = await failure(client.listHosts({ matchLabels: { zone: 'us' }, pageToken: zone.nextPageToken }));
    expect(error.fieldViolations.map(({ field }) => field)).toEqual(['page_token']);
  });

  it('are updated where the etag still holds, by the fields of the mask alone', async () => {
    const [name = ''] = await enrolled(1);
    const client = channel.client(HostService);
    const { host } = await client.getHost({ name });
    const change = { name, nodeName: 'node-1', labels: { a: 'b' }, etag: host?.etag ?? '' };
    const updated = await client.updateHost({ host: change, updateMask: { paths: ['node_name'] } });
    expect(updated.host).toMatchObject({ nodeName: 'node-1', labels: {} });
    expect(updated.host?.etag).not.toBe(host?.etag);
    const before = await dump(running.house.store);
    const stale = await failure(client.updateHost({ host: change, updateMask: { paths: ['labels'] } }));
    expect(stale).toMatchObject({ code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    expect(await dump(running.house.store)).toEqual(before);
  });

  it('have node names of their own', async () => {
    const [first = '', second = ''] = await enrolled(2);
    const update = (name: string, nodeName = 'node-1') =>
      channel.client(HostService).updateHost({ host: { name, nodeName }, updateMask: { paths: ['node_name'] } });
    await update(first);
    expect(await failure(update(second))).toMatchObject({ code: 'ALREADY_EXISTS', reason: 'ALREADY_EXISTS' });
    // Who names a host takes what looks like an id for one.
    const { fieldViolations } = await failure(update(second, first.slice('hosts/'.length)));
    expect(fieldViolations).toMatchObject([{ field: 'host.node_name' }]);
  });

  it('are approved once, revoked as often as anybody likes, and deleted', async () => {
    const [name = ''] = await enrolled(1, { certificates: [undefined] });
    const client = channel.client(HostService);
    const etag = async () => (await client.getHost({ name })).host?.etag ?? '';
    const seen = await etag();
    const { host } = await client.approveHost({ name, etag: seen });
    expect(host?.state).toBe(HostState.ACTIVE);
    expect(host?.akCertificate.length).toBeGreaterThan(100);
    expect(await failure(client.approveHost({ name, etag: seen }))).toMatchObject({ reason: 'ETAG_MISMATCH' });
    expect(await failure(client.approveHost({ name, etag: await etag() }))).toMatchObject({
      code: 'FAILED_PRECONDITION',
      reason: 'WRONG_STATE',
    });
    for (const reason of ['stolen', ''])
      expect((await client.revokeHost({ name, reason })).host?.state).toBe(HostState.REVOKED);
    expect(await failure(client.approveHost({ name, etag: await etag() }))).toMatchObject({
      code: 'FAILED_PRECONDITION',
      reason: 'WRONG_STATE',
    });
    await client.deleteHost({ name });
    expect(await failure(client.getHost({ name }))).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('are changed by name in the audit log', async () => {
    const [name = ''] = await enrolled(1);
    await channel.client(HostService).revokeHost({ name, reason: 'stolen' });
    const last = (await running.house.store.listAudit(0, 100)).at(-1);
    expect(last).toMatchObject({ actor: 'identities/ada', action: 'host.revoke', target: name, detail: 'stolen' });
  });
});

const POLICY = {
  name: 'trustPolicies/base',
  description: 'what a host must be',
  selector: { allHosts: true },
  precedence: -3,
  quote: { interval: { seconds: 2n }, allowUnprovenBanks: true },
  pcrRules: [{ bank: 'sha256', index: 7, allowed: ['AB'.repeat(32)], severity: RuleSeverity.WARNING, message: 'why' }],
};

describe('trust policies', () => {
  const client = () => channel.client(TrustPolicyService);

  it('are given back as they were written, with every default', async () => {
    const { trustPolicy } = await client().createTrustPolicy({ trustPolicy: POLICY });
    expect(trustPolicy).toMatchObject({
      ...POLICY,
      version: 1n,
      quote: {
        interval: { seconds: 2n },
        validity: { seconds: 6n },
        disconnectGrace: { seconds: 2n },
        allowUnprovenBanks: true,
        allowUnendorsed: false,
      },
      pcrRules: [{ ...POLICY.pcrRules[0], allowed: ['ab'.repeat(32)] }],
    });
    expect((await client().getTrustPolicy({ name: POLICY.name })).trustPolicy).toEqual(trustPolicy);
  });

  it('keep every version, and one etag each', async () => {
    const first = await client().createTrustPolicy({ trustPolicy: POLICY });
    const etag = first.trustPolicy?.etag ?? '';
    const second = await client().updateTrustPolicy({ trustPolicy: { ...POLICY, description: 'two', etag } });
    expect(second.trustPolicy).toMatchObject({ version: 2n, description: 'two' });
    const stale = await failure(client().updateTrustPolicy({ trustPolicy: { ...POLICY, etag } }));
    expect(stale).toMatchObject({ code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    expect(await failure(client().deleteTrustPolicy({ name: POLICY.name, etag }))).toMatchObject({ code: 'ABORTED' });
    expect((await client().getTrustPolicy({ name: POLICY.name, version: 1n })).trustPolicy?.description).toBe(
      POLICY.description,
    );
    expect((await client().listTrustPolicies({})).trustPolicies.map(({ version }) => version)).toEqual([2n]);
    expect(await failure(client().createTrustPolicy({ trustPolicy: POLICY }))).toMatchObject({
      code: 'ALREADY_EXISTS',
    });
    await client().deleteTrustPolicy({ name: POLICY.name, etag: second.trustPolicy?.etag ?? '' });
    expect(await failure(client().getTrustPolicy({ name: POLICY.name }))).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('are checked without being written', async () => {
    expect((await client().validateTrustPolicy({ trustPolicy: POLICY })).problems).toEqual([]);
    const { problems } = await client().validateTrustPolicy({ trustPolicy: { ...POLICY, pcrRules: [{ bank: 'x' }] } });
    expect(problems.map(({ field }) => field)).toEqual(['pcr_rules[0].bank', 'pcr_rules[0].allowed']);
    expect((await client().listTrustPolicies({})).trustPolicies).toEqual([]);
  });
});

describe('identities', () => {
  it('are issued for a key of their own, work at once, and stay revoked', async () => {
    const client = channel.client(IdentityService);
    const tls = makeTlsKey();
    const request = { identity: { name: 'identities/bot', roles: [Role.AUDITOR, Role.AUDITOR] }, publicKey: tls.spki };
    const issued = await client.issueIdentity(request);
    expect(issued.identity).toMatchObject({ roles: [Role.AUDITOR], revoked: false });
    const bot = running.connect(tlsIdentity(tls, Buffer.from(issued.certificate)));
    await bot.client(HostService).listHosts({});
    await client.revokeIdentity({ name: 'identities/bot' });
    expect(await failure(bot.client(HostService).listHosts({}))).toMatchObject({ reason: 'IDENTITY_REVOKED' });
    expect(await failure(client.issueIdentity(request))).toMatchObject({
      code: 'FAILED_PRECONDITION',
      reason: 'WRONG_STATE',
    });
    const { identities } = await client.listIdentities({});
    expect(identities.map(({ name, revoked }) => `${name} ${revoked}`)).toEqual([
      'identities/ada false',
      'identities/bot true',
    ]);
  });
});

describe('results', () => {
  it('are told for one host, listed by filter, and in their history', async () => {
    const [name = '', other = ''] = await enrolled(2);
    const client = channel.client(AttestationResultService);
    expect((await client.getAttestationResult({ host: name })).result).toMatchObject({
      host: name,
      status: TrustStatus.NONE,
    });
    const named = { host: { name, nodeName: 'node-7' }, updateMask: { paths: ['node_name'] } };
    await channel.client(HostService).updateHost(named);
    expect((await client.getAttestationResult({ nodeName: 'node-7' })).result).toMatchObject({ host: name });
    const both = await failure(client.getAttestationResult({ host: name, nodeName: 'node-7' }));
    expect(both.fieldViolations).toMatchObject([{ field: 'node_name' }]);
    const nobody = await failure(client.getAttestationResult({ nodeName: 'node-8' }));
    expect(nobody).toMatchObject({ code: 'NOT_FOUND', message: 'no host of the node name node-8 is known' });
    await channel.client(HostService).revokeHost({ name, reason: '' });
    const bad = await client.listAttestationResults({ filter: { statuses: [TrustStatus.CONTRAINDICATED] } });
    expect(bad.results.map(({ host }) => host)).toEqual([name]);
    const some = await client.listAttestationResults({ filter: { hosts: [other] } });
    expect(some.results.map(({ host }) => host)).toEqual([other]);
    const newest = await client.listAttestationResults({ history: true, filter: { hosts: [name] }, pageSize: 1 });
    expect(newest.results.map(({ status }) => status)).toEqual([TrustStatus.CONTRAINDICATED]);
    const older = await client.listAttestationResults({
      history: true,
      filter: { hosts: [name] },
      pageSize: 1,
      pageToken: newest.nextPageToken,
    });
    expect(older.results.map(({ status }) => status)).toEqual([TrustStatus.NONE]);
    const crossed = await failure(
      client.listAttestationResults({ filter: { hosts: [name] }, pageToken: newest.nextPageToken }),
    );
    expect(crossed.fieldViolations.map(({ field }) => field)).toEqual(['page_token']);
  });

  it.each([
    ['that is none', 'x', 'INVALID_ARGUMENT', 'RESUME_TOKEN_INVALID'],
    [
      'of another incarnation',
      Buffer.from('["other",1,1,"",""]').toString('base64url'),
      'OUT_OF_RANGE',
      'INCARNATION_CHANGED',
    ],
  ])('are not watched from a token %s', async (_name, resumeToken, code, reason) => {
    const watch = channel.client(AttestationResultService).watchAttestationResults({ resumeToken });
    expect(await failure(watch[Symbol.asyncIterator]().next())).toMatchObject({ code, reason });
  });

  it('are watched until the service stops, and from the last token on afterwards', async () => {
    const [name = ''] = await enrolled(1);
    const messages = channel.client(AttestationResultService).watchAttestationResults({})[Symbol.asyncIterator]();
    expect((await messages.next()).value).toMatchObject({
      event: { case: 'change', value: { initial: true, result: { host: name } } },
    });
    const bookmark = await messages.next();
    if (bookmark.done === true) throw new TypeError('the watch ended');
    expect(bookmark.value).toMatchObject({ event: { case: 'bookmark', value: { synced: true } } });
    const resumed = channel
      .client(AttestationResultService)
      .watchAttestationResults({ resumeToken: bookmark.value.resumeToken });
    await channel.client(HostService).revokeHost({ name, reason: '' });
    for await (const { event } of resumed) {
      if (event.case === 'bookmark') continue;
      expect(event).toMatchObject({ case: 'change', value: { result: { status: TrustStatus.CONTRAINDICATED } } });
      break;
    }
    expect((await messages.next()).value).toMatchObject({ event: { case: 'change', value: { initial: false } } });
    const ended = failure(messages.next());
    await running.service.stop();
    expect(await ended).toMatchObject({ code: 'UNAVAILABLE', reason: 'SHUTTING_DOWN' });
  });
});
