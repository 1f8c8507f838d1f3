import { request } from 'node:https';
import { checkServerIdentity } from 'node:tls';

import { importJWK } from 'jose';
import type { CryptoKey } from 'jose';

import { verifyLeaf } from '../../proto/certificate-profile.ts';
import { toPem } from '../../proto/tls-identity.ts';
import { TOKEN_ALGORITHM } from '../../proto/token-profile.ts';
import type { JsonObject, JsonValue } from './resources.ts';
import { parseStrictJson } from './strict-json.ts';
import { TokenRefusal } from './token-refusal.ts';

export const MAX_JWKS_BYTES = 64 * 1024;
const MAX_KEYS = 64;
const FETCH_TIMEOUT_MS = 10_000;

/** Keys that verify tokens, by their id. */
export type TokenKeySet = ReadonlyMap<string, CryptoKey>;

/**
 * Reads a JSON Web Key Set (RFC 7517). Keys of other kinds or for other uses are left out, as the RFC has it; a set with no key
 * that verifies tokens, or with two of one id, is refused. Throws {@link TokenRefusal} KEYS_MALFORMED.
 */
export async function parseJwks(bytes: Uint8Array): Promise<TokenKeySet> {
  if (bytes.length > MAX_JWKS_BYTES) throw malformed('the key set is too large');
  let document: JsonObject;
  try {
    document = parseStrictJson(bytes);
  } catch (cause) {
    throw malformed('the key set is not JSON of a key set', cause);
  }
  const { keys } = document;
  if (!Array.isArray(keys) || keys.length > MAX_KEYS)
    throw malformed(`a key set has a list of at most ${MAX_KEYS} keys`);
  const found = new Map<string, CryptoKey>();
  for (const [id, jwk] of (keys as readonly JsonValue[]).flatMap(publicKeyOf)) {
    if (found.has(id)) throw malformed('the key set has two keys of one id');
    // oxlint-disable-next-line no-await-in-loop -- a set has two or three keys
    found.set(id, await importKey(jwk));
  }
  if (found.size === 0) throw malformed('the key set has no key that verifies tokens');
  return found;
}

interface PublicKey {
  readonly kty: 'EC';
  readonly crv: 'P-256';
  readonly x: string;
  readonly y: string;
}

/** The public part alone, whatever else stands beside it. */
function publicKeyOf(key: JsonValue): readonly (readonly [string, PublicKey])[] {
  if (typeof key !== 'object' || key === null || Array.isArray(key)) throw malformed('a key is no object');
  const { kty, crv, x, y, kid, use, alg } = key as JsonObject;
  if (kty !== 'EC' || crv !== 'P-256' || typeof kid !== 'string') return [];
  if ((use ?? 'sig') !== 'sig' || (alg ?? TOKEN_ALGORITHM) !== TOKEN_ALGORITHM) return [];
  if (typeof x !== 'string' || typeof y !== 'string') throw malformed('a key has no point');
  return [[kid, { kty, crv, x, y }]];
}

async function importKey(jwk: PublicKey): Promise<CryptoKey> {
  try {
    const key = await importJWK({ ...jwk }, TOKEN_ALGORITHM);
    if (key instanceof Uint8Array) throw new TypeError('an EC key came out as a secret');
    return key;
  } catch (cause) {
    throw malformed('a key of the set is not a point of P-256', cause);
  }
}

export interface JwksQuery {
  /** `https:` */
  readonly url: URL;
  /** Certificate of the service's CA, DER: no other server is believed. */
  readonly authority: Buffer;
  readonly now: () => Date;
  readonly signal?: AbortSignal;
}

/** Fetches a key set from a service of which the CA is known. Throws {@link TokenRefusal} KEYS_UNREACHABLE. */
export async function fetchJwks(query: JwksQuery): Promise<Buffer> {
  const { url, authority, now } = query;
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const fail = (message: string, cause?: unknown): void =>
    reject(new TokenRefusal('KEYS_UNREACHABLE', message, { cause }));
  const timeout = AbortSignal.timeout(FETCH_TIMEOUT_MS);
  const call = request(url, {
    method: 'GET',
    headers: { Accept: 'application/jwk-set+json' },
    ca: toPem(authority),
    minVersion: 'TLSv1.3',
    agent: false,
    signal: query.signal === undefined ? timeout : AbortSignal.any([query.signal, timeout]),
    // In place of node:tls' own check of the name, which is therefore called here.
    checkServerIdentity: (name, leaf) => {
      const error = checkServerIdentity(name, leaf);
      if (error !== undefined) return error;
      verifyLeaf(leaf.raw, { authority, profile: 'server', now: now() });
      return undefined;
    },
  });
  call.on('error', (cause) => fail(`${url.href} cannot be read: ${cause.message}`, cause));
  call.on('response', (response) => {
    const parts: Buffer[] = [];
    let size = 0;
    if (response.statusCode !== 200) {
      call.destroy();
      return fail(`${url.href} answers ${response.statusCode}`);
    }
    response.on('data', (part: Buffer) => {
      size += part.length;
      if (size > MAX_JWKS_BYTES) {
        fail(`${url.href} answers more than ${MAX_JWKS_BYTES} bytes`);
        call.destroy();
      } else parts.push(part);
    });
    response.on('error', (cause) => fail(`${url.href} cannot be read: ${cause.message}`, cause));
    response.on('end', () => resolve(Buffer.concat(parts)));
  });
  call.end();
  return promise;
}

function malformed(message: string, cause?: unknown): TokenRefusal {
  return new TokenRefusal('KEYS_MALFORMED', message, { cause });
}
