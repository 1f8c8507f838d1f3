/** Every method with every role that may call it, in a scope: what it tells of hosts, and what it does to them. */
import { getOption } from '@bufbuild/protobuf';
import type { DescMethod } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { access, Role } from '../../../proto/gen/assay/v1/access_pb.ts';
import { AttestationResultService } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { HostService } from '../../../proto/gen/assay/v1/host_pb.ts';
import { PlacementService } from '../../../proto/gen/assay/v1/placement_pb.ts';
import { RpcError } from '../../../proto/rpc-error.ts';
import { assayServices } from '../../../server/rpc/services.ts';
import type { ServicesOptions } from '../../../server/rpc/services.ts';
import type { IdentityRole } from '../../../server/store/records.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { dump, enroll, OPERATOR } from '../../support/test-service.ts';
import { commit, round } from '../store/fixtures.ts';

const RED = { tenant: 'red' };
const MISSING = `hosts/h-${'a'.repeat(26)}`;
const ROLES = {
  operator: Role.OPERATOR,
  orchestrator: Role.ORCHESTRATOR,
  relying_party: Role.RELYING_PARTY,
  consumer: Role.CONSUMER,
  auditor: Role.AUDITOR,
} as const satisfies Record<IdentityRole, Role>;

type Kind =
  /** Names one host; the request that does. */
  | { readonly kind: 'one host'; readonly ask: (host: string) => object }
  /** Tells of hosts, of those in the scope alone; the widest request. */
  | { readonly kind: 'hosts'; readonly ask: object }
  /** Concerns every host: whoever sees some only has no say. */
  | { readonly kind: 'every host' }
  /** Tells and changes nothing of a host. */
  | { readonly kind: 'no host' }
  /** Is for hosts themselves. */
  | { readonly kind: 'agents' };

/** For every host. */
const CANDIDATE = {
  name: 'trustPolicies/candidate',
  selector: { allHosts: true },
  pcrRules: [{ bank: 'sha256', index: 7, allowed: ['00'.repeat(32)] }],
};
const named = (host: string) => ({ name: host, etag: 'v1' });
const ASKS: Readonly<Record<string, Kind>> = {
  'AttestationResultService.GetAttestationResult': { kind: 'one host', ask: (host) => ({ host, token: {} }) },
  'AttestationResultService.GetBootReport': { kind: 'one host', ask: (host) => ({ host }) },
  'AttestationResultService.GetRuntimeReport': { kind: 'one host', ask: (host) => ({ host }) },
  'AttestationResultService.ListAttestationResults': { kind: 'hosts', ask: { pageSize: 1000 } },
  'AttestationResultService.WatchAttestationResults': { kind: 'hosts', ask: {} },
  'AttestationService.Attest': { kind: 'agents' },
  'AttestationService.CreateChallenge': { kind: 'agents' },
  'AttestationService.SubmitEvidence': { kind: 'agents' },
  'EndorsementService.ListRevocationLists': { kind: 'no host' },
  'EndorsementService.GetRevocationList': { kind: 'no host' },
  'EndorsementService.GetTrustAnchor': { kind: 'no host' },
  'EndorsementService.ListTrustAnchors': { kind: 'no host' },
  'EnrollmentService.BeginEnrollment': { kind: 'agents' },
  'EnrollmentService.CompleteEnrollment': { kind: 'agents' },
  'HostService.ApproveHost': { kind: 'one host', ask: named },
  'HostService.DeleteHost': { kind: 'one host', ask: named },
  'HostService.GetHost': { kind: 'one host', ask: named },
  'HostService.ListHosts': { kind: 'hosts', ask: { pageSize: 1000 } },
  'HostService.ReplaceHost': { kind: 'one host', ask: (name) => ({ name, replacement: MISSING, reason: 'old' }) },
  'HostService.RevokeHost': { kind: 'one host', ask: named },
  'HostService.UpdateHost': {
    kind: 'one host',
    ask: (name) => ({ host: { name, labels: { ...RED, x: 'y' } }, updateMask: { paths: ['labels'] } }),
  },
  'PlacementService.CheckHost': { kind: 'one host', ask: (value) => ({ subject: { case: 'host', value }, token: {} }) },
  'PlacementService.SelectHosts': { kind: 'hosts', ask: { count: 100, explain: 100, spreadBy: 'tenant', token: {} } },
  'ReferenceValueService.GetKeyring': { kind: 'no host' },
  'ReferenceValueService.GetReferenceSet': { kind: 'no host' },
  'ReferenceValueService.ListKeyrings': { kind: 'no host' },
  'ReferenceValueService.ListReferenceEntries': { kind: 'no host' },
  'ReferenceValueService.ListReferenceSets': { kind: 'no host' },
  'ReportService.GetPlatformReport': { kind: 'hosts', ask: { maxExceptions: 500 } },
  'TokenKeyService.ListTokenKeys': { kind: 'no host' },
  'TrustPolicyService.ExplainHost': { kind: 'one host', ask: (host) => ({ host }) },
  'TrustPolicyService.SimulateTrustPolicy': {
    kind: 'hosts',
    ask: { change: { case: 'trustPolicy', value: CANDIDATE } },
  },
  'TrustPolicyService.GetTrustPolicy': { kind: 'no host' },
  'TrustPolicyService.ListTrustPolicies': { kind: 'no host' },
  'TrustPolicyService.ValidateTrustPolicy': { kind: 'no host' },
};

/** The services are bound, not called. */
const METHODS = assayServices({} as ServicesOptions).flatMap(
  ({ descriptor }) => descriptor.methods as readonly DescMethod[],
);
const pathOf = (method: DescMethod): string => `${method.parent.name}.${method.name}`;
const kindOf = (method: DescMethod): Kind | undefined =>
  getOption(method, access).everyHost ? { kind: 'every host' } : ASKS[pathOf(method)];

const CASES = METHODS.flatMap((method) => {
  const { roles } = getOption(method, access);
  return Object.keys(ROLES)
    .map((role) => role as IdentityRole)
    .filter((role) => roles.includes(ROLES[role]))
    .map((role) => ({ path: pathOf(method), role, method, rule: kindOf(method) }));
});

let running: Running;
let red = '';
let blue = '';
const channels = new Map<IdentityRole, Channel>();
beforeAll(async () => {
  running = await startAssay();
  const { store } = running.house;
  const enrolled = async (tenant: string) => {
    const tpm = new SoftwareTpm();
    const { host } = await enroll(running.house, tpm, tpm.createAk());
    await store.updateHost(host.id, { labels: { tenant }, nodeName: `${tenant}-1` }, { ...OPERATOR, version: null });
    await commit(store, await round(store, host.id));
    return `hosts/${host.id}`;
  };
  red = await enrolled('red');
  blue = await enrolled('blue');
  for (const role of Object.keys(ROLES) as IdentityRole[])
    channels.set(role, running.connect(await running.identity(`red-${role}`, [role], RED)));
  const everything = running.connect(await running.identity('all', ['orchestrator'])).client(PlacementService);
  await vi.waitFor(async () => expect((await everything.selectHosts({})).selectableCount).toBe(2), 60_000);
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

/** Everything that a call tells until it ends, or until a watch has told the present state; or its refusal. */
async function hear(role: IdentityRole, method: DescMethod, request: object): Promise<string | RpcError> {
  const client = channels.get(role)?.client(method.parent) as unknown as Readonly<
    Record<string, (request: unknown) => unknown>
  >;
  const heard: unknown[] = [];
  try {
    const answer = client[method.localName]?.(request);
    if (method.methodKind === 'unary') heard.push(await answer);
    else {
      for await (const message of answer as AsyncIterable<{ readonly event?: { readonly case?: string } }>) {
        heard.push(message);
        if (message.event?.case === 'bookmark') break;
      }
    }
    return JSON.stringify(heard, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  } catch (error) {
    if (error instanceof RpcError) return error;
    throw error;
  }
}

const brief = ({ code, reason, message }: RpcError, name: string): object => ({
  code,
  reason,
  message: message.replaceAll(name, 'HOST').replaceAll(name.slice('hosts/'.length), 'HOST'),
});

it('each method is in the table of this test, by what it has to do with hosts', () => {
  expect(METHODS.filter((method) => kindOf(method) === undefined).map(pathOf)).toEqual([]);
  expect(Object.keys(ASKS).filter((path) => !METHODS.some((method) => pathOf(method) === path))).toEqual([]);
});

describe('in a scope', () => {
  it.each(CASES.filter(({ rule }) => rule?.kind === 'hosts'))(
    '$path tells $role of the hosts in it alone',
    async ({ role, method, rule }) => {
      const told = await hear(role, method, rule?.kind === 'hosts' ? rule.ask : {});
      expect(told).toContain(method.name === 'GetPlatformReport' ? '"hostCount":"1"' : red);
      expect(told).not.toContain(blue.slice('hosts/'.length));
      expect(told).not.toContain('blue');
    },
  );

  it.each(CASES.filter(({ rule }) => rule?.kind === 'one host'))(
    '$path is to $role of another host like of none, and changes nothing',
    async ({ role, method, rule }) => {
      if (rule?.kind !== 'one host') throw new TypeError('another kind');
      const before = await dump(running.house.store);
      const [denied, missing] = [await hear(role, method, rule.ask(blue)), await hear(role, method, rule.ask(MISSING))];
      if (!(denied instanceof RpcError) || !(missing instanceof RpcError)) throw new TypeError('it answers');
      expect(brief(denied, blue)).toEqual(brief(missing, MISSING));
      expect(denied.reason).toBe('NOT_FOUND');
      expect(await dump(running.house.store)).toEqual(before);
    },
  );

  it.each(CASES.filter(({ rule, method }) => rule?.kind === 'every host' && method.methodKind === 'unary'))(
    '$path gives $role no say',
    async ({ role, method }) => {
      expect(await hear(role, method, {})).toMatchObject({ code: 'PERMISSION_DENIED', reason: 'SCOPE_TOO_NARROW' });
    },
  );

  it.each(CASES.filter(({ rule }) => rule?.kind === 'no host'))(
    '$path tells $role nothing of a host',
    async ({ role, method }) => {
      const told = await hear(role, method, {});
      const text = told instanceof RpcError ? told.message : told;
      for (const host of [red, blue]) expect(text).not.toContain(host.slice('hosts/'.length));
    },
  );
});

describe('a host that is given other labels', () => {
  it.each(['orchestrator', 'relying_party', 'auditor'] as const)(
    'leaves the watch of %s with a removal, is silent there, and comes back as a change',
    async (role) => {
      const operator = running.connect(await running.identity(`chief-${role}`, ['operator'])).client(HostService);
      const relabel = (tenant: string, turn: string) =>
        operator.updateHost({
          host: { name: red, labels: { tenant, turn: `${role}-${turn}` } },
          updateMask: { paths: ['labels'] },
        });
      const heard: string[] = [];
      const stop = new AbortController();
      const results = channels.get(role)?.client(AttestationResultService);
      const watching = (async () => {
        for await (const { event } of results?.watchAttestationResults({}, { signal: stop.signal }) ?? []) {
          if (event.case === 'bookmark') heard.push('bookmark');
          if (event.case === 'change') heard.push(`change ${event.value.result?.labels['turn'] ?? ''}`);
          if (event.case === 'removal') heard.push(`removal ${event.value.host} ${event.value.reason}`);
        }
      })().catch(() => undefined);
      await vi.waitFor(() => expect(heard).toContain('bookmark'), 60_000);
      heard.length = 0;
      await relabel('blue', '1');
      await relabel('blue', '2');
      await relabel('red', '3');
      await relabel('red', '4');
      await vi.waitFor(() => expect(heard).toContain(`change ${role}-4`), 60_000);
      stop.abort();
      await watching;
      expect(heard[0]).toMatch(new RegExp(`^removal ${red} `));
      expect(heard.slice(1)).toEqual([`change ${role}-3`, `change ${role}-4`]);
    },
  );
});
