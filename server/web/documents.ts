import { formatJwks } from '../identity/token-keys.ts';
import type { TokenKeys } from '../identity/token-keys.ts';
import type { WebDocument } from './web-server.ts';

/** How long a cache may keep the keys, seconds: whoever meets an unknown `kid` asks anew. */
const JWKS_MAX_AGE = 60;

/** What is served to anybody, by path. */
export function webDocuments({
  tokenKeys,
}: {
  readonly tokenKeys: TokenKeys;
}): ReadonlyMap<string, () => Promise<WebDocument>> {
  return new Map([
    [
      '/.well-known/jwks.json',
      async () => ({
        type: 'application/jwk-set+json',
        body: formatJwks(await tokenKeys.published()),
        maxAge: JWKS_MAX_AGE,
      }),
    ],
  ]);
}
