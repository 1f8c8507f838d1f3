import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { parseJwks } from '../../../client/sdk/jwks.ts';
import { verifyToken } from '../../../client/sdk/verify-token.ts';
import type { VerifiedToken } from '../../../client/sdk/verify-token.ts';
import type { Channel } from '../../../proto/client.ts';
import { TrustStatus } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { PlacementService, SelectHostsResponseSchema } from '../../../proto/gen/assay/v1/placement_pb.ts';
import type {
  PlacementOrder,
  PlacementRequirementsSchema,
  PlacementTier,
} from '../../../proto/gen/assay/v1/placement_pb.ts';
import { TokenKeyService } from '../../../proto/gen/assay/v1/token_pb.ts';
import { fitHosts, placementHostToProto } from '../../../server/rpc/convert-placement.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { enroll, OPERATOR } from '../../support/test-service.ts';
import { commit, MINUTE, round, verdict } from '../store/fixtures.ts';

let running: Running;
let red = '';
let blue = '';
let pending = '';
const channels = new Map<string, Channel>();
beforeAll(async () => {
  running = await startAssay();
  const { store } = running.house;
  const enrolled = async (tenant: string, nodeName: string, good: boolean) => {
    const tpm = new SoftwareTpm();
    const { host } = await enroll(running.house, tpm, tpm.createAk());
    await store.updateHost(host.id, { labels: { tenant }, nodeName }, { ...OPERATOR, version: null });
    if (good) await commit(store, await round(store, host.id));
    return `hosts/${host.id}`;
  };
  red = await enrolled('red', 'red-1', true);
  blue = await enrolled('blue', 'blue-1', true);
  pending = await enrolled('red', 'red-2', false);
  channels.set('operator', running.connect(await running.identity('operator', ['operator'])));
  channels.set('everything', running.connect(await running.identity('all', ['orchestrator'])));
  channels.set('red', running.connect(await running.identity('red', ['orchestrator'], { tenant: 'red' })));
  // Its labels were written last: an index that knows them knows all.
  const known = { selectableCount: 1, refused: [{ host: { host: pending } }] };
  await vi.waitFor(async () => expect(await as('red').selectHosts({ explain: 10 })).toMatchObject(known), 60_000);
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

function as(name: string) {
  const channel = channels.get(name);
  if (channel === undefined) throw new TypeError(`no channel of ${name}`);
  return channel.client(PlacementService);
}

type Requirements = MessageInitShape<typeof PlacementRequirementsSchema>;

describe('SelectHosts', () => {
  it('answers hosts with what is known of them, and refused ones with their reasons', async () => {
    const answer = await as('operator').selectHosts({
      count: 10,
      explain: 10,
      requirements: { trustPolicy: 'trustPolicies/base' },
    });
    expect(answer.hosts.map(({ host }) => host).toSorted()).toEqual([red, blue].toSorted());
    expect(answer.hosts.find(({ host }) => host === red)).toMatchObject({
      nodeName: 'red-1',
      status: TrustStatus.AFFIRMING,
      trustPolicy: 'trustPolicies/base',
      trustPolicyVersion: 1n,
      labels: { tenant: 'red' },
    });
    expect(answer.refused.map(({ host, reasons, checkReasons }) => [host?.host, reasons, checkReasons])).toEqual([
      [pending, ['STATUS_NONE', 'POLICY_DIFFERS'], ['AWAITING_EVIDENCE']],
    ]);
    expect(answer.refusalCounts).toMatchObject([
      { reason: 'STATUS_NONE', count: 1 },
      { reason: 'POLICY_DIFFERS', count: 1 },
    ]);
    expect(Number(answer.answerTime?.seconds)).toBeGreaterThan(0);
  });

  it('answers one host where no count is given, and none where none is good', async () => {
    expect((await as('everything').selectHosts({})).hosts).toHaveLength(1);
    const none = await as('everything').selectHosts({ requirements: { matchLabels: { tenant: 'green' } } });
    expect(none).toMatchObject({ hosts: [], selectableCount: 0, refused: [], refusalCounts: [] });
  });

  it('knows no host outside of the scope', async () => {
    const answer = await as('red').selectHosts({ count: 10, explain: 10 });
    expect(answer.hosts.map(({ host }) => host)).toEqual([red]);
    expect(answer.selectableCount).toBe(1);
    expect(answer.refused.map(({ host }) => host?.host)).toEqual([pending]);
    const other = await as('red').selectHosts({ explain: 10, requirements: { matchLabels: { tenant: 'blue' } } });
    expect(other).toMatchObject({ hosts: [], selectableCount: 0 });
    expect(JSON.stringify(other.refused.map(({ host }) => host?.host))).not.toContain(blue);
  });

  it.each<[string, object, readonly string[]]>([
    ['a negative count', { count: -1 }, ['count']],
    ['too large a count', { count: 1001 }, ['count']],
    ['a negative explain', { explain: -1 }, ['explain']],
    ['too large an explain', { explain: 101 }, ['explain']],
    ['an unknown order', { order: 9 as PlacementOrder }, ['order']],
    ['a spread over no label', { spreadBy: '\u001b[2J' }, ['spread_by']],
  ])('refuses %s', async (_name, request, fields) => {
    const error = await failure(as('red').selectHosts(request));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    expect(error.fieldViolations.map(({ field }) => field)).toEqual(fields);
  });

  it.each<[string, Requirements, string]>([
    ['an unknown tier', { minimumTier: 7 as PlacementTier }, 'minimum_tier'],
    ['a policy name that is none', { trustPolicy: 'hosts/x' }, 'trust_policy'],
    ['a version without a policy', { minimumPolicyVersion: 1n }, 'minimum_policy_version'],
    [
      'too large a version',
      { trustPolicy: 'trustPolicies/a', minimumPolicyVersion: 1n << 60n },
      'minimum_policy_version',
    ],
    ['no age', { maximumAge: {} }, 'maximum_age'],
    ['a negative age', { maximumAge: { seconds: -1n, nanos: 0 } }, 'maximum_age'],
    ['an endless age', { maximumAge: { seconds: 1n << 53n, nanos: 0 } }, 'maximum_age'],
    ['a label that is none', { matchLabels: { 'a b': 'c' } }, 'match_labels["a b"]'],
    [
      'too many labels',
      { matchLabels: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 'v'])) },
      'match_labels',
    ],
    ['an excluded host that is none', { exclusions: { hosts: ['h-1'] } }, 'exclusions.hosts[0]'],
    [
      'an excluded node name that is none',
      { exclusions: { nodeNames: ['ok', '../etc\u202e'] } },
      'exclusions.node_names[1]',
    ],
    ['an excluded label that is none', { exclusions: { labels: [{ key: '', value: '' }] } }, 'exclusions.labels[0]'],
    [
      'too many excluded names',
      { exclusions: { nodeNames: Array.from({ length: 1001 }, () => 'n') } },
      'exclusions.node_names',
    ],
  ])('and CheckHost refuse %s', async (_name, requirements, field) => {
    const subject = { case: 'host', value: red } as const;
    for (const call of [as('red').selectHosts({ requirements }), as('red').checkHost({ subject, requirements })]) {
      const error = await failure(call);
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
      expect(error.fieldViolations.map((violation) => violation.field)).toEqual([`requirements.${field}`]);
    }
  });
});

describe('a token', () => {
  const token = { audience: 'engine', nonce: Buffer.alloc(8, 7) };
  const verified = async (jwt: string | undefined, host: string) => {
    const { jwks } = await running.connect().client(TokenKeyService).listTokenKeys({});
    const keys = await parseJwks(Buffer.from(jwks));
    const now = new Date(running.house.store.now());
    return verifyToken(jwt ?? '', { keys, now, audience: 'engine', nonce: token.nonce, host });
  };

  it('comes with each selected host when it is asked for, and with no refused one', async () => {
    const { hosts, refused } = await as('everything').selectHosts({ count: 10, explain: 10, token });
    expect(hosts).toHaveLength(2);
    for (const each of hosts) {
      const { status, expires } = (await verified(each.token?.jwt, each.host)) as VerifiedToken & { kind: 'result' };
      expect(status).toBe('affirming');
      expect(expires.getTime()).toBeLessThanOrEqual(Number(each.validUntil?.seconds) * 1000);
    }
    expect(refused.map(({ host }) => host?.token)).toEqual([undefined]);
    expect((await as('everything').selectHosts({ count: 10 })).hosts[0]?.token).toBeUndefined();
  });

  it('comes with a host that is checked, where it is selectable', async () => {
    const check = (value: string) => as('red').checkHost({ subject: { case: 'host', value }, token });
    expect(await verified((await check(red)).host?.token?.jwt, red)).toMatchObject({ status: 'affirming' });
    expect((await check(pending)).host?.token).toBeUndefined();
  });

  it.each<[string, object, string]>([
    ['more than 100 hosts', { count: 101, token }, 'count'],
    ['a nonce of 7 bytes', { token: { nonce: Buffer.alloc(7) } }, 'token.nonce'],
    ['an audience that cannot be printed', { token: { audience: '\u001b[2J' } }, 'token.audience'],
  ])('is refused for %s', async (_name, request, field) => {
    const error = await failure(as('red').selectHosts(request));
    expect(error.fieldViolations.map((violation) => violation.field)).toEqual([field]);
  });
});

describe('CheckHost', () => {
  const host = (value: string) => ({ subject: { case: 'host', value } as const });
  const node = (value: string) => ({ subject: { case: 'nodeName', value } as const });

  it('says of one host, by either name, whether it is selectable', async () => {
    for (const named of [host(red), node('red-1')]) {
      expect(await as('red').checkHost(named)).toMatchObject({
        selectable: true,
        reasons: [],
        host: { host: red, nodeName: 'red-1' },
      });
    }
    const requirements = { matchLabels: { zone: 'eu' } };
    expect(await as('red').checkHost({ ...node('red-2'), requirements })).toMatchObject({
      selectable: false,
      reasons: ['STATUS_NONE', 'LABELS_DIFFER'],
      checkReasons: ['AWAITING_EVIDENCE'],
    });
  });

  it('tells a host outside of the scope and one that is not there apart by nothing', async () => {
    const missing = `hosts/h-${'a'.repeat(26)}`;
    const refusal = async (named: Parameters<ReturnType<typeof as>['checkHost']>[0], name: string) => {
      const { code, reason, message } = await failure(as('red').checkHost(named));
      return { code, reason, message: message.replace(name, 'NAME') };
    };
    const expected = { code: 'NOT_FOUND', reason: 'NOT_FOUND', message: 'NAME is not known' };
    for (const name of [blue, missing]) expect(await refusal(host(name), name)).toEqual(expected);
    for (const name of ['blue-1', 'green-1']) expect(await refusal(node(name), name)).toEqual(expected);
  });

  it.each<[string, Parameters<ReturnType<typeof as>['checkHost']>[0], string]>([
    ['no subject', {}, 'subject'],
    ['an empty host', host(''), 'host'],
    ['a host that is none', host('nodes/x'), 'host'],
    ['an empty node name', node(''), 'node_name'],
    ['a hostile node name', node('a\u0000b'), 'node_name'],
  ])('refuses %s', async (_name, request, field) => {
    const error = await failure(as('red').checkHost(request));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    expect(error.fieldViolations.map((violation) => violation.field)).toEqual([field]);
  });

  it('reads the store at each call', async () => {
    const { store } = running.house;
    const id = blue.slice('hosts/'.length);
    const record = await store.getHost(id);
    if (record === null) throw new TypeError('no host');
    await commit(store, await round(store, id, { verdict: verdict(record, { status: 'contraindicated' }) }));
    expect(await as('everything').checkHost(host(blue))).toMatchObject({
      selectable: false,
      reasons: ['STATUS_CONTRAINDICATED'],
    });
    const { hosts } = await as('everything').selectHosts({ count: 10 });
    expect(hosts.map((each) => each.host)).toEqual([red]);
  });
});

it('as many hosts are answered as fit into a message, whatever labels they have', async () => {
  const wide = Object.fromEntries(
    Array.from({ length: 64 }, (_, index) => [`k${index}`.padEnd(63, 'k'), 'v'.repeat(63)]),
  );
  const { store } = running.house;
  const known = await store.getResult(red.slice('hosts/'.length));
  if (known === null) throw new TypeError('no result');
  const result = { ...known, labels: wide };
  const hosts = Array.from({ length: 1000 }, () => placementHostToProto(result));
  const fitting = fitHosts(hosts);
  expect(fitting.length).toBeGreaterThan(300);
  const size = toBinary(SelectHostsResponseSchema, create(SelectHostsResponseSchema, { hosts: fitting })).length;
  expect(size).toBeLessThan(3.1 * 1024 * 1024);
  expect(fitHosts(hosts.slice(0, 10))).toHaveLength(10);
});

// Moves the clock of the service: last.
describe('where the service cannot tell', () => {
  it('both calls fail with UNAVAILABLE', async () => {
    running.house.clock.wall -= 6 * MINUTE;
    const subject = { case: 'host', value: red } as const;
    for (const call of [as('red').selectHosts({}), as('red').checkHost({ subject })]) {
      expect(await failure(call)).toMatchObject({ code: 'UNAVAILABLE', reason: 'CLOCK_BEHIND' });
    }
    running.house.clock.wall += 6 * MINUTE;
  });
});
