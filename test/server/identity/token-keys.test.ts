import { createHash, createPublicKey, randomBytes } from 'node:crypto';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { formatJwks, MAX_TOKEN_LIFETIME, TokenKeys } from '../../../server/identity/token-keys.ts';
import type { Store } from '../../../server/store/store.ts';
import { openTestStore } from '../../support/test-service.ts';
import { FakeClock } from '../store/contract/harness.ts';

const root = { version: 1, secret: randomBytes(32) };
const ADA = { actor: 'identities/ada' };
const PUBLISHED = (MAX_TOKEN_LIFETIME + 300) * 1000;
let store: Store;
let clock: FakeClock;
let close: () => Promise<void>;
beforeEach(async () => {
  clock = new FakeClock();
  ({ store, close } = await openTestStore(clock));
});
afterEach(() => close());

const load = (sealed = root): Promise<TokenKeys> =>
  TokenKeys.load({ store, root: sealed, random: (size) => randomBytes(size) });
const rotate = async (keys: TokenKeys): Promise<unknown> => keys.rotate((await keys.signer()).keyId, ADA);
const versions = async (keys: TokenKeys): Promise<readonly number[]> =>
  (await keys.published()).map(({ version }) => version);

describe('the keys of tokens', () => {
  it('begin with one, which is the same at every start and for two replicas that start at once', async () => {
    const [one, two] = await Promise.all([load(), load()]);
    const third = await load();
    const ids = await Promise.all([one, two, third].map(async (keys) => (await keys.signer()).keyId));
    expect(new Set(ids).size).toBe(1);
    expect(await store.listKeys('token-signing')).toHaveLength(1);
  });

  it('are named by their thumbprint', async () => {
    const { keyId, privateKey } = await (await load()).signer();
    const { crv, kty, x, y } = createPublicKey(privateKey).export({ format: 'jwk' });
    // RFC 7638 §3.2: the required members in the order of their names, without blanks.
    expect(keyId).toBe(createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url'));
  });

  it('rotate: the new one signs on every replica at once, the former stays published until its last token has expired', async () => {
    const [here, there] = await Promise.all([load(), load()]);
    const former = await there.signer();
    clock.advance(1000);
    const made = await here.rotate(former.keyId, ADA);
    const rotated = store.now();
    expect(await there.signer()).toMatchObject({ keyId: made.keyId, version: 2, retired: null });
    expect(made.keyId).not.toBe(former.keyId);
    expect(await there.published()).toMatchObject([
      { keyId: made.keyId, retired: null },
      { keyId: former.keyId, retired: { time: rotated, publishedUntil: rotated + PUBLISHED } },
    ]);
    clock.advance(PUBLISHED - 1);
    expect(await versions(here)).toEqual([2, 1]);
    clock.advance(1);
    expect(await versions(here)).toEqual([2]);
  });

  it('rotate once where two rotate at once', async () => {
    const [here, there] = await Promise.all([load(), load()]);
    const { keyId } = await here.signer();
    const [one, two] = await Promise.all([here.rotate(keyId, ADA), there.rotate(keyId, ADA)]);
    expect(one.keyId).toBe(two.keyId);
    expect(await versions(here)).toEqual([2, 1]);
    await expect(here.rotate(keyId, ADA)).rejects.toMatchObject({ code: 'etag_mismatch' });
    expect(await versions(here)).toEqual([2, 1]);
  });

  it('are not rotated without end: what is published stays small', async () => {
    const keys = await load();
    for (let version = 2; version <= 16; version++) await rotate(keys);
    await expect(rotate(keys)).rejects.toMatchObject({ code: 'wrong_state' });
    expect(await versions(keys)).toHaveLength(16);
    clock.advance(PUBLISHED);
    await rotate(keys);
    expect(await versions(keys)).toEqual([17, 16]);
  });

  it('are withdrawn when they were stolen: published no more at once, but never the one that signs', async () => {
    const [here, there] = await Promise.all([load(), load()]);
    const stolen = await here.signer();
    await expect(here.withdraw(stolen.keyId, ADA)).rejects.toMatchObject({ code: 'wrong_state' });
    await here.rotate(stolen.keyId, ADA);
    await here.withdraw(stolen.keyId, ADA);
    expect(await versions(there)).toEqual([2]);
    await expect(here.withdraw(stolen.keyId, ADA)).rejects.toMatchObject({ code: 'not_found' });
    // The numbers go on, and the end of the one before it is still when the next was made.
    await rotate(there);
    expect(await versions(here)).toEqual([3, 2]);
  });

  it('stand in the audit log with who rotated them', async () => {
    await rotate(await load());
    expect((await store.listAudit(0, 10)).map(({ actor, action, target }) => `${actor} ${action} ${target}`)).toEqual([
      'service key.add keys/token-signing/1',
      'identities/ada key.add keys/token-signing/2',
    ]);
  });

  it('stand in the store sealed, and open under their own root key alone', async () => {
    const { privateKey } = await (await load()).signer();
    const secret = privateKey.export({ type: 'pkcs8', format: 'der' }).toString('hex');
    const [record] = await store.listKeys('token-signing');
    expect(record?.sealed).not.toContain(secret.slice(-64));
    await expect(load({ version: 1, secret: randomBytes(32) })).rejects.toMatchObject({ code: 'not_authentic' });
  });

  it('are published without their private part', async () => {
    const keys = await load();
    await rotate(keys);
    const { keys: listed } = JSON.parse(formatJwks(await keys.published())) as { keys: readonly object[] };
    expect(listed).toHaveLength(2);
    for (const key of listed)
      expect(Object.keys(key).toSorted()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
  });
});
