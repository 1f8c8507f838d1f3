import { hash } from 'node:crypto';

import type { ResultFilter } from '../store/filters.ts';
import type { Labels } from '../store/records.ts';
import { WatchError } from './watch-error.ts';

const MAX_LENGTH = 512;

/** Where a watcher stands in the order of all changes and in that of all confirmations. */
export interface Position {
  revision: number;
  confirmation: number;
}

/** The tokens of one watch: a position, and what it is a position in, for it would skip what another filter or scope lets through. */
export class ResumeTokens {
  readonly #incarnation: string;
  readonly #scope: string;
  readonly #filter: string;
  /** What stands before and behind the position in each token of this watch. */
  readonly #before: string;
  readonly #behind: string;

  constructor(incarnation: string, filter: ResultFilter) {
    this.#incarnation = incarnation;
    [this.#scope, this.#filter] = fingerprintsOf(filter);
    this.#before = `[${JSON.stringify(incarnation)},`;
    this.#behind = `,${JSON.stringify(this.#scope)},${JSON.stringify(this.#filter)}]`;
  }

  encode({ revision, confirmation }: Readonly<Position>): string {
    return Buffer.from(`${this.#before}${revision},${confirmation}${this.#behind}`).toString('base64url');
  }

  /** Throws WatchError for a token of another watch, and for what is none. */
  decode(token: string): Position {
    const [incarnation, revision, confirmation, scope, filter] = parse(token);
    if (incarnation !== this.#incarnation) {
      throw new WatchError('INCARNATION_CHANGED', 'the resume token is of another incarnation of the service data');
    }
    if (scope !== this.#scope) throw new WatchError('SCOPE_CHANGED', 'the resume token is of another scope');
    if (filter !== this.#filter) throw new WatchError('RESUME_TOKEN_INVALID', 'the resume token is of another filter');
    return { revision, confirmation };
  }
}

/** Of the scope and of the rest of a filter; the order in which labels and names are given does not matter. */
function fingerprintsOf({ scope, ...filter }: ResultFilter): readonly [scope: string, filter: string] {
  const { hostIds, statuses, policyIds, matchLabels } = filter;
  const sorted = [hostIds, statuses, policyIds].map((names) => [...names].sort());
  return [fingerprint(sortedLabels(scope)), fingerprint([...sorted, sortedLabels(matchLabels)])];
}

function sortedLabels(labels: Labels): unknown {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}

function fingerprint(value: unknown): string {
  return hash('sha256', JSON.stringify(value), 'base64url').slice(0, 16);
}

type TokenParts = readonly [incarnation: string, revision: number, confirmation: number, scope: string, filter: string];

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
  if (!Array.isArray(parsed) || parsed.length !== 5) throw invalid();
  const [incarnation, revision, confirmation, scope, filter] = parsed as unknown[];
  if (typeof incarnation !== 'string' || typeof scope !== 'string' || typeof filter !== 'string') throw invalid();
  if (!isPosition(revision) || !isPosition(confirmation)) throw invalid();
  return [incarnation, revision, confirmation, scope, filter];
}

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
