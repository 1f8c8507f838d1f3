import { createHmac, createSecretKey, hash, timingSafeEqual } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { deriveKey } from '../identity/seal.ts';
import type { SealingMaster } from '../identity/seal.ts';
import type { ResultFilter } from '../store/filters.ts';
import type { Labels } from '../store/records.ts';
import { WatchError } from './watch-error.ts';

const MAX_LENGTH = 512;
const SIGNATURE_BYTES = 16;

/** Where a watcher stands in the order of all changes and in that of all confirmations. */
export interface Position {
  revision: number;
  confirmation: number;
}

export interface ResumeTokensOptions {
  readonly incarnation: string;
  readonly filter: ResultFilter;
  /** Who watches. */
  readonly holder: string;
  /** Newest first: it signs; tokens of the older ones still hold. At least one. */
  readonly masters: readonly SealingMaster[];
}

/**
 * The tokens of one watch: a position, and what it is a position in, for it would skip what another filter or scope lets through. A
 * position of the caller's own choice would show him what hosts were while they were in his scope: so each is signed, for him, his scope
 * and his filter (HMAC-SHA-256, cut to 128 bits).
 */
export class ResumeTokens {
  readonly #incarnation: string;
  readonly #scope: string;
  readonly #filter: string;
  readonly #keys: readonly KeyObject[];
  /** What stands before and behind the position in each token of this watch. */
  readonly #before: string;
  readonly #behind: string;

  constructor({ incarnation, filter, holder, masters }: ResumeTokensOptions) {
    this.#incarnation = incarnation;
    [this.#scope, this.#filter] = fingerprintsOf(filter);
    const context = hash('sha256', JSON.stringify([incarnation, holder, ...canonical(filter)]), 'hex');
    this.#keys = masters.map((master) => createSecretKey(deriveKey(master, { purpose: 'resume token', context }).key));
    this.#before = `[${JSON.stringify(incarnation)},`;
    this.#behind = `,${JSON.stringify(this.#scope)},${JSON.stringify(this.#filter)},`;
  }

  encode({ revision, confirmation }: Readonly<Position>): string {
    const [key] = this.#keys;
    if (key === undefined) throw new TypeError('no master to sign with');
    const position = `${revision},${confirmation}`;
    const signature = sign(key, position).toString('base64url');
    return Buffer.from(`${this.#before}${position}${this.#behind}"${signature}"]`).toString('base64url');
  }

  /** Throws WatchError for a token of another watch, and for what is none. */
  decode(token: string): Position {
    const { incarnation, revision, confirmation, scope, filter, signature } = parse(token);
    if (incarnation !== this.#incarnation) {
      throw new WatchError('INCARNATION_CHANGED', 'the resume token is of another incarnation of the service data');
    }
    if (signature === null) throw new WatchError('REVISION_GONE', 'the resume token is of a former release');
    if (scope !== this.#scope) throw new WatchError('SCOPE_CHANGED', 'the resume token is of another scope');
    if (filter !== this.#filter) throw new WatchError('RESUME_TOKEN_INVALID', 'the resume token is of another filter');
    if (!this.#keys.some((key) => isEqual(sign(key, `${revision},${confirmation}`), signature)))
      throw new WatchError('RESUME_TOKEN_INVALID', 'the resume token is not one of this identity');
    return { revision, confirmation };
  }
}

function sign(key: KeyObject, position: string): Buffer {
  return createHmac('sha256', key).update(position).digest().subarray(0, SIGNATURE_BYTES);
}

function isEqual(expected: Buffer, given: Buffer): boolean {
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/** Of the scope and of the rest of a filter; the order in which labels and names are given does not matter. */
function fingerprintsOf(filter: ResultFilter): readonly [scope: string, filter: string] {
  const [scope, rest] = canonical(filter);
  return [fingerprint(scope), fingerprint(rest)];
}

function canonical({ scope, hostIds, statuses, policyIds, matchLabels }: ResultFilter): readonly [unknown, unknown] {
  const sorted = [hostIds, statuses, policyIds].map((names) => [...names].sort());
  return [sortedLabels(scope), [...sorted, sortedLabels(matchLabels)]];
}

function sortedLabels(labels: Labels): unknown {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}

function fingerprint(value: unknown): string {
  return hash('sha256', JSON.stringify(value), 'base64url').slice(0, 16);
}

interface TokenParts extends Position {
  readonly incarnation: string;
  readonly scope: string;
  readonly filter: string;
  /** Null where it has none, as those of former releases. */
  readonly signature: Buffer | null;
}

function parse(token: string): TokenParts {
  const invalid = (cause?: unknown): WatchError =>
    new WatchError('RESUME_TOKEN_INVALID', 'the resume token is not one of this service', { cause });
  if (token.length > MAX_LENGTH) throw invalid();
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch (cause) {
    throw invalid(cause);
  }
  if (!Array.isArray(parsed) || ![3, 5, 6].includes(parsed.length)) throw invalid();
  // Former releases said neither scope nor filter, and signed none.
  const [incarnation, revision, confirmation, scope = '', filter = '', signed] = parsed as unknown[];
  if (typeof incarnation !== 'string' || typeof scope !== 'string' || typeof filter !== 'string') throw invalid();
  if (!isPosition(revision) || !isPosition(confirmation)) throw invalid();
  if (parsed.length < 6) return { incarnation, revision, confirmation, scope, filter, signature: null };
  if (typeof signed !== 'string') throw invalid();
  const signature = Buffer.from(signed, 'base64url');
  return { incarnation, revision, confirmation, scope, filter, signature };
}

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
