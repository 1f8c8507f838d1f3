import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { calculateJwkThumbprint } from 'jose';

import { TOKEN_ALGORITHM } from '../../proto/token-profile.ts';
import type { KeyRecord } from '../store/records.ts';
import { StoreError } from '../store/store.ts';
import type { Actor } from '../store/store.ts';
import { addVersion, newestOrMake, unseal } from './stored-keys.ts';
import type { NewKey, StoredKeyOptions } from './stored-keys.ts';

const PURPOSE = 'token-signing';
/** Longest life of a token that any configuration may give, seconds. */
export const MAX_TOKEN_LIFETIME = 3600;
/** A former key is published until its last token has expired, whatever the configuration then was, for clocks that differ. */
const PUBLISHED_AFTER = (MAX_TOKEN_LIFETIME + 300) * 1000;
/** Keys that may be published at once: rotating more often than that is a defect of whoever does it. */
const MAX_PUBLISHED = 16;

/** A key that signs tokens, or whose tokens may still be good. */
export interface TokenKey {
  /** Thumbprint (RFC 7638). */
  readonly keyId: string;
  readonly version: number;
  readonly createTime: number;
  /** When the next one took its place, and until when it is published; null for the one that signs. */
  readonly retired: { readonly time: number; readonly publishedUntil: number } | null;
  readonly privateKey: KeyObject;
}

interface Opened {
  readonly keyId: string;
  readonly privateKey: KeyObject;
}

/**
 * The keys that sign tokens: P-256, sealed in the store, the newest signs. They are read anew for every token, so that of several
 * replicas none signs with a key that another has retired.
 */
export class TokenKeys {
  readonly #options: StoredKeyOptions;
  /** What was opened, by its sealed form: a row never changes. */
  readonly #opened = new Map<string, Promise<Opened>>();
  #reading: Promise<readonly TokenKey[]> | null = null;

  private constructor(options: StoredKeyOptions) {
    this.#options = options;
  }

  /** Makes the first key of a new store. */
  static async load(options: StoredKeyOptions): Promise<TokenKeys> {
    await newestOrMake(options, PURPOSE, makeKey);
    const keys = new TokenKeys(options);
    await keys.published();
    return keys;
  }

  /** The key that signs. */
  async signer(): Promise<TokenKey> {
    const [newest] = await this.#read(1);
    if (newest === undefined) throw new TypeError('the store has lost the key that signs tokens');
    return newest;
  }

  /** Every key whose tokens may still be good, newest first; the first one signs. Strangers may ask: they share one read. */
  published(): Promise<readonly TokenKey[]> {
    this.#reading ??= this.#read(MAX_PUBLISHED).finally(() => (this.#reading = null));
    return this.#reading;
  }

  /**
   * Makes the next key, which signs from now on in place of the named one; of two at once the second takes the first's key.
   * Throws StoreError etag_mismatch where another signs, wrong_state where too many are published.
   */
  async rotate(keyId: string, actor: Actor): Promise<TokenKey> {
    const published = await this.#read(MAX_PUBLISHED);
    if (published[0]?.keyId !== keyId) throw new StoreError('etag_mismatch', 'another key signs by now');
    if (published.length >= MAX_PUBLISHED) {
      throw new StoreError('wrong_state', `${MAX_PUBLISHED} keys are published already: wait for the oldest to end`);
    }
    const version = (published[0]?.version ?? 0) + 1;
    await addVersion(this.#options, { purpose: PURPOSE, version, key: await makeKey(), actor });
    return this.signer();
  }

  /** A former key is published no more, as when somebody else has it. Throws StoreError not_found, or wrong_state for the one that signs. */
  async withdraw(keyId: string, actor: Actor): Promise<void> {
    const found = (await this.#read(MAX_PUBLISHED)).find((key) => key.keyId === keyId);
    if (found === undefined) throw new StoreError('not_found', 'no such key is published');
    await this.#options.store.withdrawKey(PURPOSE, found.version, actor);
  }

  async #read(limit: number): Promise<readonly TokenKey[]> {
    const { store } = this.#options;
    const records = await store.listKeys(PURPOSE);
    const now = store.now();
    const keys = records.map((record, index) => ({ record, retired: retirement(records[index - 1]) }));
    const good = keys
      .filter(({ record }) => record.withdrawTime === null)
      .filter(({ retired }) => retired === null || retired.publishedUntil > now)
      .slice(0, limit);
    return Promise.all(good.map(({ record, retired }) => this.#describe(record, retired)));
  }

  async #describe(record: KeyRecord, retired: TokenKey['retired']): Promise<TokenKey> {
    let opened = this.#opened.get(record.sealed);
    if (opened === undefined) {
      opened = open(this.#options, record);
      if (this.#opened.size > MAX_PUBLISHED) this.#opened.clear();
      this.#opened.set(record.sealed, opened);
    }
    return { ...(await opened), version: record.version, createTime: record.createTime, retired };
  }
}

/** The public keys as JSON Web Key Set (RFC 7517). */
export function formatJwks(keys: readonly TokenKey[]): string {
  return JSON.stringify({
    keys: keys.map(({ keyId, privateKey }) => ({
      ...createPublicKey(privateKey).export({ format: 'jwk' }),
      kid: keyId,
      use: 'sig',
      alg: TOKEN_ALGORITHM,
    })),
  });
}

/** A key is retired by the one that was made after it. */
function retirement(next: KeyRecord | undefined): TokenKey['retired'] {
  return next === undefined ? null : { time: next.createTime, publishedUntil: next.createTime + PUBLISHED_AFTER };
}

function makeKey(): Promise<NewKey> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return Promise.resolve({
    certificate: Buffer.alloc(0),
    secret: privateKey.export({ type: 'pkcs8', format: 'der' }),
  });
}

async function open(options: StoredKeyOptions, record: KeyRecord): Promise<Opened> {
  const privateKey = createPrivateKey({ key: unseal(options, record), format: 'der', type: 'pkcs8' });
  const { kty, crv, x, y } = createPublicKey(privateKey).export({ format: 'jwk' });
  if (kty !== 'EC' || crv !== 'P-256' || x === undefined || y === undefined) {
    throw new TypeError('the stored key is no key for tokens');
  }
  return { privateKey, keyId: await calculateJwkThumbprint({ kty, crv, x, y }) };
}
