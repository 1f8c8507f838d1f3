import { hash } from 'node:crypto';

import { matchesLabels } from '../store/attachment.ts';
import type { Change, Confirmation, Labels, ResultRecord } from '../store/records.ts';
import { presentResult } from '../store/own-verdicts.ts';
import { StoreError } from '../store/store.ts';
import type { ResultFilter } from '../store/filters.ts';
import type { Store } from '../store/store.ts';
import type { ChangeFeed } from './feed.ts';
import { PAGE } from './shared-changes.ts';

/** An idle watcher hears a bookmark this often, milliseconds. */
const BOOKMARK_INTERVAL = 15_000;
const MIN_FLUSH = 250;
const MAX_FLUSH = 10_000;

export type WatchErrorCode =
  | 'RESUME_TOKEN_INVALID'
  | 'REVISION_GONE'
  | 'INCARNATION_CHANGED'
  | 'SCOPE_CHANGED'
  | 'WATCH_LIMIT';

/** A watch that cannot begin, or not where the caller left it. */
export class WatchError extends Error {
  override readonly name = 'WatchError';
  readonly code: WatchErrorCode;

  constructor(code: WatchErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type WatchEvent =
  | { readonly kind: 'change'; readonly result: ResultRecord; readonly initial: boolean; readonly resumeToken: string }
  | {
      readonly kind: 'removal';
      readonly hostId: string;
      readonly reason: 'DELETED' | 'FILTERED';
      readonly resumeToken: string;
    }
  | { readonly kind: 'validity'; readonly confirmation: Confirmation; readonly resumeToken: string }
  | { readonly kind: 'bookmark'; readonly synced: boolean; readonly resumeToken: string };

export interface WatchOptions {
  readonly store: Pick<Store, 'incarnation' | 'now' | 'heads' | 'snapshot' | 'confirmationsSince'>;
  readonly feed: ChangeFeed;
  readonly filter: ResultFilter;
  readonly resumeToken: string;
  readonly signal: AbortSignal;
}

/** Where a watcher stands. While the present results are sent, `revision` is not yet the caller's: a token of then starts anew. */
interface Position {
  revision: number;
  confirmation: number;
}

/**
 * How often a watcher hears of validity: a quarter of the shortest one that the last flush found, so that none runs out unheard, and
 * one late flush does not hurry the watcher for ever.
 */
class Pace {
  #interval = MAX_FLUSH;
  #fresh = false;

  /** Milliseconds. */
  get interval(): number {
    return this.#interval;
  }

  /** The validity of a verdict, milliseconds. */
  note(validity: number): void {
    if (validity <= 0) return;
    const bound = this.#fresh ? MAX_FLUSH : this.#interval;
    this.#interval = Math.max(MIN_FLUSH, Math.min(bound, validity / 4));
    this.#fresh = false;
  }

  /** A flush begins: the first validity that it finds counts anew. One that finds none leaves the pace. */
  begin(): void {
    this.#fresh = true;
  }

  /** A lost stream has shortened the validity of its verdict, and confirms nothing. */
  noteResult({ validUntil, challengeTime, connectivity }: ResultRecord): void {
    if (validUntil !== null && connectivity === 'connected') this.note(validUntil - challengeTime);
  }
}

/**
 * All present results, a bookmark, then every change in order, once; from a resume token on, only what came after it.
 * Confirmations come as the latest validity of each host, at least every third of the shortest validity among them.
 */
export async function* watchResults(options: WatchOptions): AsyncGenerator<WatchEvent, void, undefined> {
  const { store, filter, signal } = options;
  const position: Position = options.resumeToken === '' ? { revision: -1, confirmation: 0 } : readToken(options);
  const pace = new Pace();
  /** Pages that had been read at the start or the last flush: what there was by then, or was passed over, comes with a later one. */
  let reads = options.feed.reads;
  if (options.resumeToken === '') {
    const { confirmation } = await store.heads();
    const snapshot = await store.snapshot(filter);
    for (const result of snapshot.results) {
      pace.noteResult(result);
      yield { kind: 'change', result, initial: true, resumeToken: '' };
    }
    position.revision = snapshot.revision;
    position.confirmation = confirmation;
    yield { kind: 'bookmark', synced: true, resumeToken: token(options, position) };
  }
  let flushed = 0;
  // Who resumes hears at once where it stands, even when nothing has changed.
  let bookmarkAt = options.resumeToken === '' ? store.now() + BOOKMARK_INTERVAL : store.now();
  while (!signal.aborted) {
    const changes = await changesAfter(options.feed, position.revision, reads);
    for (const change of changes) {
      position.revision = change.revision;
      const event = eventOf(change, { filter, now: store.now() });
      if (event === null) continue;
      if (event.kind === 'change') pace.noteResult(event.result);
      yield { ...event, resumeToken: token(options, position) };
    }
    if (changes.length === PAGE) continue;
    if (store.now() >= flushed + pace.interval) {
      yield* flushConfirmations(options, position, pace);
      flushed = store.now();
      reads = options.feed.reads;
    }
    if (store.now() >= bookmarkAt) {
      yield { kind: 'bookmark', synced: false, resumeToken: token(options, position) };
      bookmarkAt = store.now() + BOOKMARK_INTERVAL;
    }
    const timeout = Math.max(1, Math.min(flushed + pace.interval, bookmarkAt) - store.now());
    await options.feed.wait(position.revision, { timeout, signal });
  }
}

/** Sends what was confirmed since the last flush. */
async function* flushConfirmations(
  options: WatchOptions,
  position: Position,
  pace: Pace,
): AsyncGenerator<WatchEvent, void, undefined> {
  const { store, filter } = options;
  pace.begin();
  for (;;) {
    const confirmations = await store.confirmationsSince(position.confirmation, PAGE);
    for (const confirmation of confirmations) {
      position.confirmation = confirmation.sequence;
      // A verdict that the watcher has not seen yet comes as a change, with its validity.
      if (confirmation.revision > position.revision || !matches(confirmation, filter)) continue;
      pace.note(confirmation.validUntil - store.now());
      yield { kind: 'validity', confirmation, resumeToken: token(options, position) };
    }
    if (confirmations.length < PAGE) return;
  }
}

function eventOf(
  change: Change,
  { filter, now }: { readonly filter: ResultFilter; readonly now: number },
):
  | { readonly kind: 'change'; readonly result: ResultRecord; readonly initial: boolean }
  | { readonly kind: 'removal'; readonly hostId: string; readonly reason: 'DELETED' | 'FILTERED' }
  | null {
  const { hostId, prior } = change;
  // As every reader sees it: a verdict that is over is none, also when its expiry is a later revision.
  const result = presentResult(change.result, now);
  const before = prior !== null && matches({ hostId, ...prior }, filter);
  if (change.cause === 'deleted') return before ? { kind: 'removal', hostId, reason: 'DELETED' } : null;
  if (matches(result, filter)) return { kind: 'change', result, initial: false };
  return before ? { kind: 'removal', hostId, reason: 'FILTERED' } : null;
}

/** Whether a result is among the filtered, and in the scope. */
export function matches(
  host: Pick<ResultRecord, 'hostId' | 'labels' | 'status' | 'policyId'>,
  filter: ResultFilter,
): boolean {
  if (!matchesLabels(host.labels, filter.scope)) return false;
  if (filter.hostIds.length > 0 && !filter.hostIds.includes(host.hostId)) return false;
  if (filter.statuses.length > 0 && !filter.statuses.includes(host.status)) return false;
  if (filter.policyIds.length > 0 && !filter.policyIds.includes(host.policyId)) return false;
  return matchesLabels(host.labels, filter.matchLabels);
}

async function changesAfter(feed: ChangeFeed, revision: number, since: number): Promise<readonly Change[]> {
  try {
    return await feed.changesAfter(revision, since);
  } catch (cause) {
    if (!(cause instanceof StoreError) || cause.code !== 'out_of_range') throw cause;
    throw new WatchError('REVISION_GONE', 'the changes after this resume token are no longer kept', { cause });
  }
}

/** A position, and what it is a position in: it would skip what another filter or scope lets through. */
function token(
  { store, filter }: Pick<WatchOptions, 'store' | 'filter'>,
  { revision, confirmation }: Position,
): string {
  const parts: TokenParts = [store.incarnation, revision, confirmation, ...fingerprintsOf(filter)];
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

function readToken({ resumeToken, store, filter }: WatchOptions): Position {
  const [incarnation, revision, confirmation, scopeThen, filterThen] = parseToken(resumeToken);
  const [scopeNow, filterNow] = fingerprintsOf(filter);
  if (incarnation !== store.incarnation) {
    throw new WatchError('INCARNATION_CHANGED', 'the resume token is of another incarnation of the service data');
  }
  if (scopeThen !== scopeNow) throw new WatchError('SCOPE_CHANGED', 'the resume token is of another scope');
  if (filterThen !== filterNow) throw new WatchError('RESUME_TOKEN_INVALID', 'the resume token is of another filter');
  return { revision, confirmation };
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

function parseToken(text: string): TokenParts {
  const invalid = (cause?: unknown): WatchError =>
    new WatchError('RESUME_TOKEN_INVALID', 'the resume token is not one of this service', { cause });
  if (text.length > 512) throw invalid();
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
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
