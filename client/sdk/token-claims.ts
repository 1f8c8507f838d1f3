import type { JsonObject } from './resources.ts';
import { TokenRefusal } from './token-refusal.ts';

/** Claims of a token whose signature holds, by their types. */

export function claim(path: string): TokenRefusal {
  return new TokenRefusal('TOKEN_CLAIM', `the claim ${path} is missing or not as it must be`);
}

export function textClaim(claims: JsonObject, name: string, path = name): string {
  const value = member(claims, name);
  if (typeof value !== 'string' || value === '') throw claim(path);
  return value;
}

/** Times and counters: no fractions, and not negative. */
export function integerClaim(claims: JsonObject, name: string, path = name): number {
  const value = member(claims, name);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw claim(path);
  return value;
}

export function objectClaim(claims: JsonObject, name: string, path = name): JsonObject {
  const value = member(claims, name);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw claim(path);
  return value as JsonObject;
}

function member(claims: JsonObject, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}
