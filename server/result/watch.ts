import type { Confirmation, ResultRecord } from '../store/records.ts';
import { expiredResult, isExpired } from '../store/own-verdicts.ts';
import { StoreError } from '../store/store.ts';
import type { ResultFilter } from '../store/filters.ts';
import type { Store } from '../store/store.ts';
import type { ChangeFeed } from './feed.ts';
import { resultMatcher } from './match-results.ts';
import type { Matched } from './match-results.ts';
import { ResumeTokens } from './resume-tokens.ts';
import type { Position, ResumeTokensOptions } from './resume-tokens.ts';
import { PAGE } from './shared-changes.ts';
import type { ReadChange } from './shared-changes.ts';
import { ToldPages } from './told-pages.ts';
import { WatchError } from './watch-error.ts';
import { MIN_FLUSH, WatchPace } from './watch-pace.ts';

/** An idle watcher hears a bookmark this often, milliseconds. */
const BOOKMARK_INTERVAL = 15_000;

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
  readonly store: Pick<Store, 'incarnation' | 'now' | 'heads' | 'listResults'>;
  readonly feed: Pick<ChangeFeed, 'changesAfter' | 'confirmationsAfter' | 'wait'>;
  readonly filter: ResultFilter;
  /** Who watches, and what his tokens are signed with. */
  readonly signing: Pick<ResumeTokensOptions, 'holder' | 'masters'>;
  readonly resumeToken: string;
  readonly signal: AbortSignal;
}

/** What a watch keeps between two looks. */
interface Standing {
  /** While the present results are sent, `revision` is not yet the caller's: a token of then starts anew. */
  readonly position: Position;
  readonly tokens: ResumeTokens;
  readonly matches: (host: Matched) => boolean;
  readonly pace: WatchPace;
  /** The store's clock when the last flush had read everything. */
  flushed: number;
}

/**
 * All present results, a bookmark, then every change in order, once; from a resume token on, only what came after it. The present
 * results are read page by page. A host that changes meanwhile comes again, or is removed again, before the bookmark, so that all
 * that was told by then is what one list of the bookmark's revision says; nothing is told of a host that is older than what was.
 * Confirmations come as the latest validity of each host, at least every third of the shortest validity among them, and none before
 * the change that it confirms.
 */
export async function* watchResults(options: WatchOptions): AsyncGenerator<WatchEvent, void, undefined> {
  const { store, feed, filter, signing, resumeToken, signal } = options;
  const tokens = new ResumeTokens({ incarnation: store.incarnation, filter, ...signing });
  const position = resumeToken === '' ? { revision: -1, confirmation: 0 } : tokens.decode(resumeToken);
  const standing: Standing = {
    position,
    tokens,
    matches: resultMatcher(filter),
    pace: new WatchPace(),
    flushed: -Infinity,
  };
  if (resumeToken === '') yield* presentResults(options, standing);
  // Who resumes hears at once where it stands, even when nothing has changed.
  let bookmarkAt = resumeToken === '' ? store.now() + BOOKMARK_INTERVAL : store.now();
  while (!signal.aborted) {
    const complete = yield* changesBehind(options, standing);
    if (!complete) continue;
    const { pace } = standing;
    const flushed = store.now() < standing.flushed + pace.interval || (yield* flushConfirmations(options, standing));
    if (store.now() >= bookmarkAt) {
      yield { kind: 'bookmark', synced: false, resumeToken: tokens.encode(position) };
      bookmarkAt = store.now() + BOOKMARK_INTERVAL;
    }
    const flushAt = flushed ? standing.flushed + pace.interval : store.now() + MIN_FLUSH;
    const timeout = Math.max(1, Math.min(flushAt, bookmarkAt) - store.now());
    await feed.wait(position.revision, { timeout, signal });
  }
}

async function* presentResults(options: WatchOptions, standing: Standing): AsyncGenerator<WatchEvent, void, undefined> {
  const { store, feed, filter, signal } = options;
  const { position, tokens, pace } = standing;
  standing.flushed = store.now();
  position.confirmation = (await store.heads()).confirmation;
  const told = new ToldPages();
  for (let after: string | null = ''; after !== null;) {
    const page: Awaited<ReturnType<Store['listResults']>> = await store.listResults({ limit: PAGE, after }, filter);
    let through = page.next;
    for (const result of page.items) {
      // It ran out after it was read, and may have been confirmed since: the rest is read again.
      if (isExpired(result, store.now())) {
        through = after;
        break;
      }
      pace.noteResult(result);
      yield { kind: 'change', result, initial: true, resumeToken: '' };
      after = result.hostId;
    }
    told.add(through, page.revision);
    after = through;
  }
  position.revision = told.firstRevision;
  while (position.revision < told.lastRevision) {
    if (signal.aborted) return;
    const { revision } = position;
    yield* changesBehind(options, standing, told);
    // The store is ahead of the feed.
    if (position.revision === revision) await feed.wait(revision, { timeout: MIN_FLUSH, signal });
  }
  yield { kind: 'bookmark', synced: true, resumeToken: tokens.encode(position) };
}

/**
 * Tells a page of changes; whether that was all of them.
 * @param told the present results, while not all of what changed between them was told: what they say is not told again
 */
async function* changesBehind(
  { store, feed }: WatchOptions,
  { position, tokens, matches, pace }: Standing,
  told: ToldPages | null = null,
): AsyncGenerator<WatchEvent, boolean, undefined> {
  const initial = told !== null;
  let since = -Infinity;
  for (;;) {
    const read = await changesAfter(feed, position.revision, since);
    for (const { change, asOf, superseded } of read) {
      const now = store.now();
      // It ran out after it was read: it may have been confirmed since.
      if (!superseded && isExpired(change.result, now) && !isExpired(change.result, asOf)) {
        since = now;
        break;
      }
      position.revision = change.revision;
      if (told?.includes(change.hostId, change.revision) === true) continue;
      const event = eventOf({ change, asOf, superseded }, { matches, now, initial });
      if (event === null) continue;
      if (event.kind === 'change') pace.noteResult(event.result);
      yield { ...event, resumeToken: initial ? '' : tokens.encode(position) };
    }
    if ((read.at(-1)?.change.revision ?? position.revision) === position.revision) return read.length < PAGE;
  }
}

/** Tells what was confirmed since the last flush; false where it waits for a change that the watcher has not been told yet. */
async function* flushConfirmations(
  { store, feed }: WatchOptions,
  standing: Standing,
): AsyncGenerator<WatchEvent, boolean, undefined> {
  const { position, tokens, matches, pace } = standing;
  // What another watcher read a moment ago serves as well: the next flush comes as much earlier.
  const since = standing.flushed === -Infinity ? store.now() : standing.flushed + (pace.interval * 3) / 4;
  pace.begin();
  for (;;) {
    const { revision } = position;
    const page = await feed.confirmationsAfter(position.confirmation, { revision, since });
    for (const confirmation of page.confirmations) {
      if (confirmation.revision > revision) return false;
      position.confirmation = confirmation.sequence;
      if (!matches(confirmation)) continue;
      pace.note(confirmation.validUntil - store.now());
      yield { kind: 'validity', confirmation, resumeToken: tokens.encode(position) };
    }
    if (!page.complete) continue;
    standing.flushed = page.asOf;
    return true;
  }
}

function eventOf(
  read: ReadChange,
  { matches, now, initial }: { readonly matches: Standing['matches']; readonly now: number; readonly initial: boolean },
):
  | { readonly kind: 'change'; readonly result: ResultRecord; readonly initial: boolean }
  | { readonly kind: 'removal'; readonly hostId: string; readonly reason: 'DELETED' | 'FILTERED' }
  | null {
  const { hostId, cause, prior } = read.change;
  const result = toldResult(read, { now, initial });
  // Once it had lapsed it may have been told, or listed, as none.
  const before =
    prior !== null &&
    (matches({ hostId, ...prior }) || (prior.lapsed && matches({ hostId, ...prior, status: 'none' })));
  if (cause === 'deleted') return before ? { kind: 'removal', hostId, reason: 'DELETED' } : null;
  if (matches(result)) return { kind: 'change', result, initial };
  return before ? { kind: 'removal', hostId, reason: 'FILTERED' } : null;
}

/**
 * A former revision is told as it was recorded, for none follows that takes back what it would be now. The newest of a host is told as
 * every reader sees it: good news that are over are none, before their expiry is a revision. A contraindication is told even then,
 * but for the present results: who was away hears of it before it hears that nothing is known any more.
 */
function toldResult(
  { change, superseded }: ReadChange,
  { now, initial }: { readonly now: number; readonly initial: boolean },
): ResultRecord {
  const { result } = change;
  if (superseded || !isExpired(result, now)) return result;
  return initial || result.status !== 'contraindicated' ? lapsed(result) : result;
}

/** What is made of a result that ran out, once for all watchers. */
function lapsed(result: ResultRecord): ResultRecord {
  let expired = lapses.get(result);
  if (expired === undefined) lapses.set(result, (expired = expiredResult(result)));
  return expired;
}

const lapses = new WeakMap<ResultRecord, ResultRecord>();

async function changesAfter(
  feed: WatchOptions['feed'],
  revision: number,
  since: number,
): Promise<readonly ReadChange[]> {
  try {
    return await feed.changesAfter(revision, since);
  } catch (cause) {
    if (!(cause instanceof StoreError) || cause.code !== 'out_of_range') throw cause;
    throw new WatchError('REVISION_GONE', 'the changes after this resume token are no longer kept', { cause });
  }
}
