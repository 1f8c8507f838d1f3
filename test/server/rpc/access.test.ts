import { randomBytes } from 'node:crypto';
import { getOption } from '@bufbuild/protobuf';
import type { DescMethod } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { access, Role } from '../../../proto/gen/assay/v1/access_pb.ts';
import { AttestationResultService } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { AttestationService } from '../../../proto/gen/assay/v1/attestation_pb.ts';
import { EndorsementService } from '../../../proto/gen/assay/v1/endorsement_pb.ts';
import { EnrollmentService } from '../../../proto/gen/assay/v1/enrollment_pb.ts';
import { HostService } from '../../../proto/gen/assay/v1/host_pb.ts';
import { IdentityService } from '../../../proto/gen/assay/v1/identity_pb.ts';
import { ReferenceValueService } from '../../../proto/gen/assay/v1/reference_value_pb.ts';
import { ReportService } from '../../../proto/gen/assay/v1/report_pb.ts';
import { TokenKeyService } from '../../../proto/gen/assay/v1/token_pb.ts';
import { PlacementService } from '../../../proto/gen/assay/v1/placement_pb.ts';
import { TrustPolicyService } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { RpcError } from '../../../proto/rpc-error.ts';
import { issueClientCertificate } from '../../../server/identity/ca.ts';
import { makeTlsKey } from '../../support/evidence-builder.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay, tlsIdentity } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { dump, enroll, OPERATOR } from '../../support/test-service.ts';
import { issueClient, makeTestAuthority } from '../../support/tls.ts';

const SERVICES = [
  AttestationResultService,
  AttestationService,
  EndorsementService,
  EnrollmentService,
  HostService,
  IdentityService,
  ReferenceValueService,
  ReportService,
  TokenKeyService,
  PlacementService,
  TrustPolicyService,
];
const CALLERS = ['anonymous', 'agent', 'operator', 'orchestrator', 'relying_party', 'consumer', 'auditor'] as const;
type CallerName = (typeof CALLERS)[number];

const ROLE: Readonly<Record<CallerName, Role>> = {
  anonymous: Role.ANONYMOUS,
  agent: Role.AGENT,
  operator: Role.OPERATOR,
  orchestrator: Role.ORCHESTRATOR,
  relying_party: Role.RELYING_PARTY,
  consumer: Role.CONSUMER,
  auditor: Role.AUDITOR,
};

let running: Running;
const channels = new Map<CallerName, Channel>();
beforeAll(async () => {
  running = await startAssay();
  channels.set('anonymous', running.connect());
  const tpm = new SoftwareTpm();
  const host = await enroll(running.house, tpm, tpm.createAk());
  channels.set('agent', running.connect(tlsIdentity(host.tls, host.clientCertificate)));
  for (const role of CALLERS) {
    if (role === 'anonymous' || role === 'agent') continue;
    channels.set(role, running.connect(await running.identity(role, [role])));
  }
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

/** Reasons with which a caller is turned away because of who it is. */
const TURNED_AWAY = [
  'ROLE_MISSING',
  'CERTIFICATE_MISSING',
  'CERTIFICATE_EXPIRED',
  'CERTIFICATE_INVALID',
  'IDENTITY_UNKNOWN',
  'IDENTITY_REVOKED',
  'HOST_UNKNOWN',
  'HOST_REVOKED',
  'TLS_KEY_SUPERSEDED',
];

/** Calls any method with an empty request, or an empty stream; what it failed with, or null. */
async function callEmpty(channel: Channel, method: DescMethod): Promise<RpcError | null> {
  const client = channel.client(method.parent) as unknown as Readonly<Record<string, (request: unknown) => unknown>>;
  const none = (async function* () {})();
  const streamsRequests = method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming';
  try {
    const answer = client[method.localName]?.(streamsRequests ? none : {});
    if (method.methodKind === 'unary' || method.methodKind === 'client_streaming') await answer;
    // One message shows that a stream was let in; who stops to listen cancels it.
    else for await (const _ of answer as AsyncIterable<unknown>) break;
    return null;
  } catch (error) {
    if (error instanceof RpcError) return error;
    throw error;
  }
}

const METHODS = SERVICES.flatMap(({ methods }) => methods as readonly DescMethod[]);
const MATRIX = METHODS.flatMap((method) =>
  CALLERS.map((caller) => {
    const { roles } = getOption(method, access);
    const allowed = roles.includes(Role.ANONYMOUS) || roles.includes(ROLE[caller]);
    return {
      path: `${method.parent.name}.${method.name}`,
      caller,
      method,
      allowed,
      answer: allowed ? 'lets in' : 'turns away',
    };
  }),
);

describe('access', () => {
  it.each(MATRIX)('$path $answer $caller', async ({ caller, method, allowed }) => {
    const channel = channels.get(caller);
    if (channel === undefined) throw new TypeError(`no channel of ${caller}`);
    const before = await dump(running.house.store);
    const error = await callEmpty(channel, method);
    expect(await dump(running.house.store)).toEqual(before);
    if (allowed) return expect(TURNED_AWAY).not.toContain(error?.reason);
    const anonymous = { code: 'UNAUTHENTICATED', reason: 'CERTIFICATE_MISSING' };
    expect(error).toMatchObject(
      caller === 'anonymous' ? anonymous : { code: 'PERMISSION_DENIED', reason: 'ROLE_MISSING' },
    );
  });

  it('covers every method of the contract', () => {
    expect(METHODS.length).toBeGreaterThan(25);
    expect(MATRIX).toHaveLength(METHODS.length * CALLERS.length);
  });

  it('lets nobody but an operator change trust, and an auditor only read', () => {
    const changing = /^(?:Create(?!Challenge)|Update|Delete|Approve|Revoke|Import|Remove|Issue|Rotate|Withdraw)/;
    for (const method of METHODS) {
      const { roles } = getOption(method, access);
      if (changing.test(method.name)) expect(roles, method.name).toEqual([Role.OPERATOR]);
      if (roles.includes(Role.AUDITOR)) expect(method.name).toMatch(/^(?:Get|List|Watch|Validate|Simulate|Explain)/);
      const open = method.parent.typeName === 'assay.v1.EnrollmentService' || method.name === 'ListTokenKeys';
      expect(roles.includes(Role.ANONYMOUS), method.name).toBe(open);
    }
  });

  it('bounds what strangers may send', async () => {
    const channel = channels.get('agent');
    if (channel === undefined) throw new TypeError('no channel of the agent');
    const endorsementKeys = Array.from({ length: 8 }, () => ({ certificate: Buffer.alloc(8 * 1024) }));
    const error = await failure(channel.client(EnrollmentService).beginEnrollment({ endorsementKeys }));
    expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'MESSAGE_TOO_LARGE' });
  });
});

const list = (channel: Channel) => channel.client(HostService).listHosts({});

describe('an identity', () => {
  it('with several roles may do what any of them may', async () => {
    const channel = running.connect(await running.identity('both', ['consumer', 'auditor']));
    await list(channel);
    expect(await failure(channel.client(HostService).deleteHost({}))).toMatchObject({ reason: 'ROLE_MISSING' });
  });

  it('that is revoked is turned away at its next call', async () => {
    const channel = running.connect(await running.identity('leaver', ['auditor']));
    await list(channel);
    await running.house.store.revokeIdentity('leaver', OPERATOR);
    expect(await failure(list(channel))).toMatchObject({ code: 'UNAUTHENTICATED', reason: 'IDENTITY_REVOKED' });
  });

  it('loses a role at its next call', async () => {
    const channel = running.connect(await running.identity('mover', ['auditor']));
    await list(channel);
    const record = await running.house.store.getIdentity('mover');
    if (record === null) throw new TypeError('no identity');
    await running.house.store.putIdentity({ ...record, roles: ['consumer'] }, OPERATOR);
    expect(await failure(list(channel))).toMatchObject({ code: 'PERMISSION_DENIED', reason: 'ROLE_MISSING' });
  });

  it('with a newer certificate ends the former one', async () => {
    const former = running.connect(await running.identity('renewed', ['auditor']));
    const newer = running.connect(await running.identity('renewed', ['auditor']));
    await list(newer);
    expect(await failure(list(former))).toMatchObject({ code: 'UNAUTHENTICATED', reason: 'IDENTITY_REVOKED' });
  });

  it('that the store does not know is turned away', async () => {
    const tls = makeTlsKey();
    const certificate = await issueClientCertificate(running.house.keys.current.authority, {
      publicKey: tls.spki,
      subject: { name: 'ghost' },
      lifetimeSeconds: 3_600,
      now: new Date(running.house.store.now()),
      random: (size) => randomBytes(size),
    });
    const channel = running.connect(tlsIdentity(tls, certificate));
    expect(await failure(list(channel))).toMatchObject({ code: 'UNAUTHENTICATED', reason: 'IDENTITY_UNKNOWN' });
  });

  it('of an unknown CA is nobody', async () => {
    const stranger = await makeTestAuthority();
    const channel = running.connect(await issueClient(stranger, 'operator'));
    expect(await failure(list(channel))).toMatchObject({ code: 'UNAUTHENTICATED', reason: 'CERTIFICATE_MISSING' });
    // It has a TLS key all the same, and may enrol with it.
    const error = await failure(channel.client(EnrollmentService).beginEnrollment({}));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('an agent', () => {
  it('whose host is revoked is turned away', async () => {
    const tpm = new SoftwareTpm();
    const { host, tls, clientCertificate } = await enroll(running.house, tpm, tpm.createAk());
    const channel = running.connect(tlsIdentity(tls, clientCertificate));
    const call = () => channel.client(AttestationService).createChallenge({});
    expect(await failure(call())).toMatchObject({ code: 'INVALID_ARGUMENT' });
    await running.house.store.revokeHost(host.id, { ...OPERATOR, reason: '' });
    expect(await failure(call())).toMatchObject({ code: 'PERMISSION_DENIED', reason: 'HOST_REVOKED' });
    await running.house.store.deleteHost(host.id, OPERATOR);
    expect(await failure(call())).toMatchObject({ code: 'UNAUTHENTICATED', reason: 'HOST_UNKNOWN' });
  });

  it('whose host enrolled again under another TLS key is turned away', async () => {
    const tpm = new SoftwareTpm();
    const ak = tpm.createAk();
    const former = await enroll(running.house, tpm, ak);
    await enroll(running.house, tpm, ak);
    const channel = running.connect(tlsIdentity(former.tls, former.clientCertificate));
    expect(await failure(channel.client(AttestationService).createChallenge({}))).toMatchObject({
      code: 'UNAUTHENTICATED',
      reason: 'TLS_KEY_SUPERSEDED',
    });
  });
});

// Moves the clock of the service: last.
describe('an expired certificate', () => {
  it('is turned away by the clock of the service, and may enrol', async () => {
    const channel = running.connect(await running.identity('late', ['auditor']));
    await list(channel);
    running.house.clock.advance(24 * 3_600_000);
    expect(await failure(list(channel))).toMatchObject({ code: 'UNAUTHENTICATED', reason: 'CERTIFICATE_EXPIRED' });
    const error = await failure(channel.client(EnrollmentService).beginEnrollment({}));
    expect(error.code).toBe('INVALID_ARGUMENT');
  });
});
