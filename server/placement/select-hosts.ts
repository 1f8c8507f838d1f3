import type { Labels, PlacementRecord, ResultRecord } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { needClock } from './need-clock.ts';
import { PlacementError } from './placement-error.ts';
import type { PlacementFeed } from './placement-feed.ts';
import type { PlacementOrder } from './placement-index.ts';
import { readWholly } from './read-chosen.ts';
import type { ReadChosen } from './read-chosen.ts';
import { refusalBits, REFUSALS, refusalsOf } from './requirements.ts';
import type { PlacementRequirements, Refusal } from './requirements.ts';
import type { Turns } from './turns.ts';

/** How often the choice is repeated where the store knows better than the index. */
const MAX_ATTEMPTS = 5;
/** Hosts that are read beyond the chosen when the choice is repeated, twice as many each time; and how many at the most. */
const MARGIN = 16;
const MAX_MARGIN = 1_000;
/** Of one read. */
const MAX_READ = 1_000;

export interface SelectionRequest {
  readonly requirements: PlacementRequirements;
  /** Labels of the hosts that the caller sees. */
  readonly scope: Labels;
  /** At least 1. */
  readonly count: number;
  readonly spreadBy: string;
  readonly order: PlacementOrder;
  /** How many refused hosts are told; 0 for none, and no counts. */
  readonly explain: number;
}

export interface Refused {
  readonly result: ResultRecord;
  readonly refusals: readonly Refusal[];
}

export interface Selection<R extends PlacementRecord = PlacementRecord> {
  readonly hosts: readonly R[];
  /** By the index. */
  readonly selectable: number;
  readonly refused: readonly Refused[];
  readonly counts: readonly { readonly refusal: Refusal; readonly count: number }[];
  /** Of the answer, by the store's clock. */
  readonly time: number;
}

export interface SelectionSources {
  readonly store: Pick<Store, 'now' | 'clockBehind' | 'snapshot'>;
  readonly placements: Pick<PlacementFeed, 'freshIndex'>;
  /** Explanations take turns. */
  readonly turns: Turns;
}

/**
 * Chooses from the index, then reads the chosen from the store: what has changed since is replaced, and nothing is answered that the
 * store does not say now. Throws PlacementError or StoreError where that cannot be known, and where so much has changed that fewer
 * hosts were found than there may be.
 */
export async function selectHosts<R extends PlacementRecord>(
  sources: SelectionSources,
  request: SelectionRequest,
  readChosen: ReadChosen<R>,
): Promise<Selection<R>> {
  const { store } = sources;
  needClock(store);
  // First, for it may wait: what is selectable is read last.
  const explanation = request.explain === 0 ? NO_EXPLANATION : await explain(sources, request);
  const index = sources.placements.freshIndex();
  const read = new Map<string, R>();
  const without = new Set<string>();
  let picked: readonly PlacementRecord[] = [];
  let selectable = 0;
  for (let attempt = 0; ; attempt += 1) {
    ({ picked, selectable } = index.pick({ ...request, now: store.now(), without }));
    const left = picked.filter(({ hostId }) => !read.has(hostId));
    if (left.length === 0 || attempt === MAX_ATTEMPTS) break;
    // Where some had changed, more have: what may take their places is read with them.
    const count = request.count + marginOf(attempt, request.count);
    const wanted = attempt === 0 ? picked : index.pick({ ...request, count, now: store.now(), without }).picked;
    const unread = wanted.filter(({ hostId }) => !read.has(hostId)).slice(0, MAX_READ);
    for (const result of await readChosen(unread, request.scope)) {
      read.set(result.hostId, result);
      index.apply(result);
    }
    for (const { hostId } of unread) {
      const result = read.get(hostId);
      // Gone, out of the scope, or not what the index says.
      if (result === undefined || refusalBits(result, request.requirements, store.now()) !== 0) without.add(hostId);
    }
    if (left.every(({ hostId }) => read.has(hostId) && !without.has(hostId))) break;
  }
  const time = store.now();
  const hosts = picked.flatMap(({ hostId }) => {
    const result = read.get(hostId);
    return result !== undefined && refusalBits(result, request.requirements, time) === 0 ? [result] : [];
  });
  needClock(store);
  if (hosts.length < Math.min(request.count, selectable))
    throw new PlacementError('PLACEMENT_INDEX_STALE', 'too much has changed since the index was read');
  // One that has become selectable meanwhile is no longer refused.
  const refused = explanation.refused.filter(({ result }) => hosts.every(({ hostId }) => hostId !== result.hostId));
  return { hosts, selectable, counts: explanation.counts, refused, time };
}

function marginOf(attempt: number, count: number): number {
  return Math.min(Math.max(MARGIN, count) * 2 ** (attempt - 1), MAX_MARGIN);
}

const NO_EXPLANATION = { refused: [], counts: [] };

async function explain(
  sources: SelectionSources,
  request: SelectionRequest,
): Promise<Pick<Selection, 'refused' | 'counts'>> {
  const { requirements, explain: limit } = request;
  const { hosts, counts } = await sources.turns.take(() =>
    sources.placements.freshIndex().refused({ ...request, now: sources.store.now() }, limit),
  );
  const read = await readWholly(sources.store)(hosts, request.scope);
  const results = new Map(read.map((result) => [result.hostId, result]));
  const now = sources.store.now();
  return {
    refused: hosts.flatMap(({ hostId }) => {
      const result = results.get(hostId);
      const refusals = result === undefined ? [] : refusalsOf(refusalBits(result, requirements, now));
      return result === undefined || refusals.length === 0 ? [] : [{ result, refusals }];
    }),
    counts: REFUSALS.flatMap((refusal, bit) => {
      const count = counts[bit] ?? 0;
      return count === 0 ? [] : [{ refusal, count }];
    }),
  };
}
