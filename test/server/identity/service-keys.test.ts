import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { verifyLeaf } from '../../../proto/certificate-profile.ts';
import { loadServiceKeys } from '../../../server/identity/service-keys.ts';
import type { KeyOptions, ServiceKeys } from '../../../server/identity/service-keys.ts';
import type { Store } from '../../../server/store/store.ts';
import { OPERATOR, openTestStore } from '../../support/test-service.ts';
import { FakeClock } from '../store/contract/harness.ts';

const DAY = 24 * 3_600_000;
const root = { version: 1, secret: randomBytes(32) };
let store: Store;
let clock: FakeClock;
let close: () => Promise<void>;
beforeEach(async () => {
  clock = new FakeClock();
  ({ store, close } = await openTestStore(clock));
});
afterEach(() => close());

const load = (change: Partial<KeyOptions> = {}): Promise<ServiceKeys> =>
  loadServiceKeys({
    store,
    root,
    random: (size) => randomBytes(size),
    serverNames: ['localhost', '127.0.0.1'],
    ...change,
  });

function shown({ authority, serviceIdentity, serverTls, tokenMasters }: ServiceKeys): unknown {
  return {
    authority: authority.fingerprint,
    serviceIdentity: serviceIdentity.certificate.toString('hex'),
    serverTls: serverTls.certificate.toString('hex'),
    tokenMasters: tokenMasters.map(({ version, secret }) => `${version} ${Buffer.from(secret).toString('hex')}`),
  };
}

const versions = async (): Promise<readonly number[]> =>
  Promise.all(
    ['authority', 'service-identity', 'server-tls', 'token'].map(
      async (purpose) => (await store.listKeys(purpose)).length,
    ),
  );

describe('the keys of the service', () => {
  it('are made at first, each certificate for its own use under the one CA', async () => {
    const keys = await load();
    const authority = keys.authority.certificate;
    const now = new Date(store.now());
    for (const [profile, { certificate, key }] of [
      ['service-identity', keys.serviceIdentity],
      ['server', keys.serverTls],
    ] as const) {
      verifyLeaf(certificate, { authority, profile, now });
      expect(new X509Certificate(certificate).publicKey.equals(createPublicKey(key))).toBe(true);
    }
    expect(keys.tokenMasters.map(({ version, secret }) => [version, secret.length])).toEqual([[1, 32]]);
    expect(keys.authority.deployment).toBe(store.deployment);
  });

  it('are the same at every further start, and on every replica', async () => {
    const keys = await load();
    expect(shown(await load())).toEqual(shown(keys));
    expect(await versions()).toEqual([1, 1, 1, 1]);
  });

  it('are the same for two replicas that start at once', async () => {
    const [one, two] = await Promise.all([load(), load()]);
    expect(shown(one)).toEqual(shown(two));
    expect(await versions()).toEqual([1, 1, 1, 1]);
  });

  it('stand in the store sealed: no key is in the clear', async () => {
    const keys = await load();
    const sealed = (
      await Promise.all(
        ['authority', 'service-identity', 'server-tls', 'token'].map((purpose) => store.listKeys(purpose)),
      )
    )
      .flat()
      .map((record) => record.sealed);
    expect(sealed).toHaveLength(4);
    const secrets = [keys.serviceIdentity, keys.serverTls].map(({ key }) =>
      key.export({ type: 'pkcs8', format: 'der' }).toString('hex'),
    );
    for (const secret of [...secrets, Buffer.from(keys.tokenMasters[0]?.secret ?? []).toString('hex')]) {
      for (const text of sealed) expect(text).not.toContain(secret.slice(0, 48));
    }
  });

  it.each([
    ['another root key', { version: 1, secret: randomBytes(32) }],
    ['another version of the root key', { version: 2, secret: root.secret }],
  ])('do not open under %s, and nothing is written then', async (_name, other) => {
    await load();
    const before = await store.listAudit(0, 100);
    await expect(load({ root: other })).rejects.toThrow();
    expect(await store.listAudit(0, 100)).toEqual(before);
    expect(await versions()).toEqual([1, 1, 1, 1]);
  });

  it('of TLS are renewed half through their life, the identity and the CA stay', async () => {
    const first = await load();
    clock.advance(44 * DAY);
    expect(shown(await load())).toEqual(shown(first));
    clock.advance(2 * DAY);
    const later = await load();
    expect(later.serverTls.certificate).not.toEqual(first.serverTls.certificate);
    expect(later.serviceIdentity.certificate).toEqual(first.serviceIdentity.certificate);
    expect(later.authority.fingerprint).toBe(first.authority.fingerprint);
    expect(await versions()).toEqual([1, 1, 2, 1]);
  });

  it('of the service identity are renewed half through a year', async () => {
    const first = await load();
    clock.advance(184 * DAY);
    const later = await load();
    expect(later.serviceIdentity.certificate).not.toEqual(first.serviceIdentity.certificate);
    expect(later.authority.fingerprint).toBe(first.authority.fingerprint);
  });

  describe('that were made by a clock that ran ahead', () => {
    const setBack = async (milliseconds: number): Promise<void> => {
      clock.wall -= milliseconds;
      await store.acceptClock(OPERATOR);
    };

    it('are made anew once the right time was accepted, for nobody takes the former ones', async () => {
      const first = await load();
      clock.advance(400 * DAY);
      expect(shown(await load())).not.toEqual(shown(first));
      await setBack(400 * DAY);
      const keys = await load();
      const authority = keys.authority.certificate;
      const now = new Date(store.now());
      verifyLeaf(keys.serviceIdentity.certificate, { authority, profile: 'service-identity', now });
      verifyLeaf(keys.serverTls.certificate, { authority, profile: 'server', now });
      expect(keys.authority.fingerprint).toBe(first.authority.fingerprint);
      expect(shown(await load())).toEqual(shown(keys));
    });

    it('are refused where the CA itself is of the future, which no later certificate mends', async () => {
      clock.advance(400 * DAY);
      await load();
      await setBack(400 * DAY);
      await expect(load()).rejects.toMatchObject({
        code: 'bad_authority',
        message: expect.stringMatching(/^the CA was made by a clock that ran ahead and is not valid before 2027-/),
      });
    });
  });

  it('are refused where the CA has expired', async () => {
    await load();
    clock.advance(3_653 * DAY);
    await expect(load()).rejects.toMatchObject({ message: expect.stringMatching(/^the CA has expired on 2036-/) });
  });

  it('of TLS are made anew for a name that they do not have', async () => {
    const first = await load();
    const named = await load({ serverNames: ['assay.example.org', '192.0.2.7'] });
    expect(named.serverTls.certificate).not.toEqual(first.serverTls.certificate);
    const certificate = new X509Certificate(named.serverTls.certificate);
    expect([certificate.checkHost('assay.example.org'), certificate.checkIP('192.0.2.7')]).toEqual([
      'assay.example.org',
      '192.0.2.7',
    ]);
    expect(shown(await load({ serverNames: ['192.0.2.7', 'assay.example.org'] }))).toEqual(shown(named));
  });

  it('of TLS are made once for a wildcard', async () => {
    const first = await load({ serverNames: ['*.example.org'] });
    expect(shown(await load({ serverNames: ['*.example.org'] }))).toEqual(shown(first));
  });

  it('are named in the audit log as the service’s own doing', async () => {
    await load();
    const records = await store.listAudit(0, 100);
    expect(records.map(({ actor }) => actor)).toEqual(['service', 'service', 'service', 'service']);
  });
});
