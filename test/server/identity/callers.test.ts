import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Peer } from '../../../proto/service.ts';
import {
  createAuthority,
  issueAkCertificate,
  issueClientCertificate,
  issueServerCertificate,
  issueServiceIdentityCertificate,
} from '../../../server/identity/ca.ts';
import type { CertificateAuthority } from '../../../server/identity/ca.ts';
import { Callers, rolesOf } from '../../../server/identity/callers.ts';
import type { Caller } from '../../../server/identity/callers.ts';
import type { HostRecord, IdentityRecord } from '../../../server/store/records.ts';
import { makeTlsKey } from '../../support/evidence-builder.ts';
import type { TlsKey } from '../../support/evidence-builder.ts';
import { TEST_DEPLOYMENT } from '../../support/tls.ts';

const random = (size: number): Buffer => randomBytes(size);
const HOST = `h-${'a'.repeat(26)}`;
const LIFE = 3_600;

/** What the store would say. */
class FakeStore {
  readonly deployment = TEST_DEPLOYMENT;
  clock = Date.UTC(2026, 0, 1);
  host: Partial<HostRecord> | null = null;
  identity: Partial<IdentityRecord> | null = null;
  readonly now = () => this.clock;
  readonly getHost = (id: string) => Promise.resolve(id === HOST ? (this.host as HostRecord | null) : null);
  readonly getIdentity = (name: string) =>
    Promise.resolve(name === 'ada' ? (this.identity as IdentityRecord | null) : null);
}

let store: FakeStore;
let authority: CertificateAuthority;
let callers: Callers;
let tls: TlsKey;

beforeEach(async () => {
  store = new FakeStore();
  authority = await createAuthority({ now: new Date(store.clock), random }, { deployment: TEST_DEPLOYMENT });
  callers = new Callers({ store, authorities: [authority.certificate] });
  tls = makeTlsKey();
  const key = tls.sha256.toString('hex');
  store.host = { id: HOST, state: 'active', tlsKeySha256: key, nextTlsKeySha256: '' };
  store.identity = { name: 'ada', roles: ['operator'], keySha256: key, revoked: false };
});
afterEach(() => {
  expect(store.deployment).toBe(TEST_DEPLOYMENT);
});

const request = (publicKey = tls.spki) => ({ publicKey, lifetimeSeconds: LIFE, now: new Date(store.clock), random });
const certificateOf = (subject: { readonly host: string } | { readonly name: string }, by = authority) =>
  issueClientCertificate(by, { subject, ...request() });
const peer = (certificate?: Buffer, key = tls): Peer => ({
  address: '192.0.2.1',
  port: 1,
  ...(certificate === undefined ? {} : { certificate, tlsKeySha256: key.sha256 }),
});
const refused = (refusal: string): Caller => ({ kind: 'anonymous', refusal }) as Caller;

describe('who is calling', () => {
  it('is nobody without a certificate', async () => {
    expect(await callers.identify(peer())).toEqual(refused(''));
  });

  it('is an identity with the roles that the store gives it', async () => {
    const caller = await callers.identify(peer(await certificateOf({ name: 'ada' })));
    expect(caller).toEqual({ kind: 'identity', name: 'ada', roles: ['operator'], expires: store.clock + LIFE * 1000 });
  });

  it('is a host by its present TLS key, or the renewed one', async () => {
    const certificate = await certificateOf({ host: HOST });
    const expected = {
      kind: 'host',
      hostId: HOST,
      tlsKeySha256: tls.sha256.toString('hex'),
      expires: store.clock + LIFE * 1000,
    };
    expect(await callers.identify(peer(certificate))).toEqual(expected);
    store.host = { ...store.host, tlsKeySha256: '00', nextTlsKeySha256: tls.sha256.toString('hex') };
    expect(await callers.identify(peer(certificate))).toEqual(expected);
  });

  it('is a pending host all the same', async () => {
    store.host = { ...store.host, state: 'pending' };
    expect(await callers.identify(peer(await certificateOf({ host: HOST })))).toMatchObject({ kind: 'host' });
  });

  it.each<[string, () => void | Promise<void>, { readonly host: string } | { readonly name: string }, string]>([
    [
      'an identity that the store does not know',
      () => void (store.identity = null),
      { name: 'ada' },
      'IDENTITY_UNKNOWN',
    ],
    ['another identity that the store does not know', () => undefined, { name: 'eve' }, 'IDENTITY_UNKNOWN'],
    [
      'a revoked identity',
      () => void (store.identity = { ...store.identity, revoked: true }),
      { name: 'ada' },
      'IDENTITY_REVOKED',
    ],
    [
      'an identity with a newer key',
      () => void (store.identity = { ...store.identity, keySha256: '00' }),
      { name: 'ada' },
      'IDENTITY_REVOKED',
    ],
    ['a host that is not enrolled', () => void (store.host = null), { host: HOST }, 'HOST_UNKNOWN'],
    ['a revoked host', () => void (store.host = { ...store.host, state: 'revoked' }), { host: HOST }, 'HOST_REVOKED'],
    [
      'a host with a newer TLS key',
      () => void (store.host = { ...store.host, tlsKeySha256: '00' }),
      { host: HOST },
      'TLS_KEY_SUPERSEDED',
    ],
    [
      'a certificate that has expired',
      () => void (store.clock += LIFE * 1000 + 1_000),
      { name: 'ada' },
      'CERTIFICATE_EXPIRED',
    ],
    [
      'a certificate that is not yet valid',
      () => void (store.clock -= 3_600_000),
      { name: 'ada' },
      'CERTIFICATE_INVALID',
    ],
  ])('is nobody with %s', async (_name, change, subject, refusal) => {
    const certificate = await certificateOf(subject);
    await change();
    expect(await callers.identify(peer(certificate))).toEqual(refused(refusal));
  });

  it.each<[string, () => Promise<Buffer>]>([
    ['a server', () => issueServerCertificate(authority, { ...request(), names: ['localhost'] })],
    ['the service identity', () => issueServiceIdentityCertificate(authority, request())],
    ['an AK', () => issueAkCertificate(authority, { ...request(), host: HOST })],
    ['the CA itself', () => Promise.resolve(authority.certificate)],
    [
      'another deployment under the same CA',
      async () => certificateOf({ name: 'ada' }, { ...authority, deployment: `d-${'b'.repeat(16)}` }),
    ],
  ])('is nobody with the certificate of %s', async (_name, issue) => {
    const caller = await callers.identify(peer(await issue()));
    expect(caller).toMatchObject({ kind: 'anonymous', refusal: expect.stringMatching(/^(?:CERTIFICATE_INVALID)?$/) });
    expect(rolesOf(caller)).toEqual(['anonymous']);
  });

  it('is nobody in particular with a certificate of an unknown CA, or one that does not parse', async () => {
    const stranger = await createAuthority({ now: new Date(store.clock), random }, { deployment: TEST_DEPLOYMENT });
    expect(await callers.identify(peer(await certificateOf({ name: 'ada' }, stranger)))).toEqual(refused(''));
    expect(await callers.identify(peer(Buffer.alloc(100, 7)))).toEqual(refused(''));
  });

  it('is asked of the store each time: what was remembered is the certificate alone', async () => {
    const certificate = await certificateOf({ name: 'ada' });
    expect(await callers.identify(peer(certificate))).toMatchObject({ roles: ['operator'] });
    store.identity = { ...store.identity, roles: ['auditor'] };
    expect(await callers.identify(peer(certificate))).toMatchObject({ roles: ['auditor'] });
    store.identity = { ...store.identity, revoked: true };
    expect(await callers.identify(peer(certificate))).toEqual(refused('IDENTITY_REVOKED'));
  });

  it('is nobody once a remembered certificate has expired', async () => {
    const certificate = await certificateOf({ name: 'ada' });
    expect(await callers.identify(peer(certificate))).toMatchObject({ kind: 'identity' });
    store.clock += LIFE * 1000;
    expect(await callers.identify(peer(certificate))).toEqual(refused('CERTIFICATE_EXPIRED'));
  });

  it('is known under every CA that a rotation has', async () => {
    const next = await createAuthority({ now: new Date(store.clock), random }, { deployment: TEST_DEPLOYMENT });
    const both = new Callers({ store, authorities: [next.certificate, authority.certificate] });
    for (const by of [authority, next]) {
      expect(await both.identify(peer(await certificateOf({ name: 'ada' }, by)))).toMatchObject({ kind: 'identity' });
    }
  });
});

describe('the roles of a caller', () => {
  it.each<[Caller, readonly string[]]>([
    [{ kind: 'anonymous', refusal: '' }, ['anonymous']],
    [{ kind: 'host', hostId: HOST, tlsKeySha256: '', expires: 0 }, ['anonymous', 'agent']],
    [
      { kind: 'identity', name: 'ada', roles: ['auditor', 'consumer'], scope: {}, expires: 0 },
      ['anonymous', 'auditor', 'consumer'],
    ],
  ])('of %j are %j', (caller, roles) => {
    expect(rolesOf(caller)).toEqual(roles);
  });
});
