/** Whether a watcher heard every revision of its filter once and in order. */
import { expiredResult } from '../../../server/store/own-verdicts.ts';
import type { Change, ResultRecord } from '../../../server/store/records.ts';
import type { ResultFilter } from '../../../server/store/filters.ts';
import type { ToldResult } from '../tellings.ts';
import type { History } from './history.ts';

interface Position {
  readonly heardAt: number;
  /** Of the token that came with it: everything up to there was told. Null while there was none. */
  readonly revision: number | null;
}

export type Heard = Position &
  (
    | { readonly kind: 'anew' }
    | { readonly kind: 'initial'; readonly result: ToldResult }
    | { readonly kind: 'change'; readonly result: ToldResult }
    | { readonly kind: 'removal'; readonly hostId: string; readonly reason: string }
    | {
        readonly kind: 'validity';
        readonly hostId: string;
        /** The revision that was confirmed. */
        readonly of: number;
        readonly validUntil: number;
        readonly confirmations: number;
      }
    | { readonly kind: 'bookmark'; readonly synced: boolean }
  );

export interface Watch {
  readonly name: string;
  readonly filter: ResultFilter;
  readonly heard: readonly Heard[];
}

/** What a watcher can hear of a revision, in short: a change with its status, a removal with its reason, or nothing. */
type Word = `change ${string}` | `removal ${string}` | 'nothing';

export function checkWatch(history: History, { name, filter, heard }: Watch): readonly string[] {
  const problems: string[] = [];
  const wrong = (text: string): void => void problems.push(`watcher ${name}: ${text}`);
  let at: number | null = null;
  let initial: Extract<Heard, { kind: 'initial' }>[] = [];
  for (const each of heard) {
    if (each.kind === 'anew') {
      at = null;
      initial = [];
    } else if (each.kind === 'initial') {
      initial.push(each);
    } else if (at === null) {
      if (each.kind !== 'bookmark' || !each.synced || each.revision === null) {
        wrong(`heard a ${each.kind} before the present results were told`);
        continue;
      }
      at = each.revision;
      checkInitial(history, { filter, initial, at, heardAt: each.heardAt }, wrong);
    } else if (each.revision === null || each.revision < at) {
      wrong(`stood at ${at} and heard a ${each.kind} at ${each.revision}`);
    } else {
      checkStep(history, { filter, from: at, to: each.revision, each }, wrong);
      at = each.revision;
    }
  }
  if (at !== history.revision) wrong(`ended at revision ${at}, the store at ${history.revision}`);
  return problems;
}

/** Between two messages lies nothing that should have been told, and the second is what its revision says. */
function checkStep(
  history: History,
  step: { readonly filter: ResultFilter; readonly from: number; readonly to: number; readonly each: Heard },
  wrong: (text: string) => void,
): void {
  const { filter, from, to, each } = step;
  const tells = each.kind === 'change' || each.kind === 'removal';
  if (tells && to === from) wrong(`heard of revision ${to} twice`);
  for (let revision = from + 1; revision <= to; revision++) {
    const change = history.changes[revision - 1];
    if (change === undefined) return wrong(`heard of revision ${revision}, which the store does not have`);
    const possible = wordsOf(history, change, filter, each.heardAt);
    const word = revision === to && tells ? wordHeard(each) : 'nothing';
    if (!possible.has(word)) {
      wrong(`heard ${word} of revision ${revision}, not ${[...possible].join(' or ')}`);
    }
    if (revision === to && tells && hostOf(each) !== change.hostId)
      wrong(`heard revision ${revision} of another host than ${change.hostId}`);
  }
}

function checkInitial(
  { changes }: History,
  list: {
    readonly filter: ResultFilter;
    readonly initial: readonly Extract<Heard, { kind: 'initial' }>[];
    readonly at: number;
    readonly heardAt: number;
  },
  wrong: (text: string) => void,
): void {
  const present = new Map<string, Change>();
  for (const change of changes.slice(0, list.at)) {
    if (change.cause === 'deleted') present.delete(change.hostId);
    else present.set(change.hostId, change);
  }
  const told = new Map(list.initial.map(({ result }) => [result.hostId, result]));
  if (told.size !== list.initial.length) wrong('heard of a host twice among the present results');
  for (const [hostId, { result }] of present) {
    const statuses = readings(result, list.heardAt).filter((reading) => matches(reading, list.filter));
    const heard = told.get(hostId);
    const mayBeAbsent = statuses.length < readings(result, list.heardAt).length;
    if (heard === undefined && !mayBeAbsent) wrong(`did not hear of ${hostId} at revision ${list.at}`);
    if (heard === undefined) continue;
    if (heard.revision !== result.revision || !statuses.some(({ status }) => status === heard.status))
      wrong(`heard ${hostId} at revision ${heard.revision} with ${heard.status} in the list of revision ${list.at}`);
    told.delete(hostId);
  }
  for (const hostId of told.keys()) wrong(`heard of ${hostId}, which was not there at revision ${list.at}`);
}

/** A verdict that is over is listed as none, also where its expiry is a later revision: both may be heard, by when it was read. */
function readings(result: ResultRecord, heardAt: number): readonly ResultRecord[] {
  return result.validUntil !== null && result.validUntil <= heardAt ? [result, expiredResult(result)] : [result];
}

/**
 * A change is told as it was recorded. As none it may be told only where it was over while it was the host's newest, and where it was
 * good news: no other revision takes back what a host never was.
 */
function wordsOf(history: History, change: Change, filter: ResultFilter, heardAt: number): ReadonlySet<Word> {
  const { prior, hostId, cause, result } = change;
  const before =
    prior !== null &&
    (matches({ hostId, ...prior }, filter) || (prior.lapsed && matches({ hostId, ...prior, status: 'none' }, filter)));
  if (cause === 'deleted') return new Set([before ? 'removal DELETED' : 'nothing']);
  const next = history.changes.slice(change.revision).find((later) => later.hostId === hostId);
  const lapsed = result.validUntil !== null && (next === undefined || result.validUntil <= next.result.revisionTime);
  const told = lapsed && result.status !== 'contraindicated' ? readings(result, heardAt) : [result];
  return new Set(
    told.map((reading): Word => {
      if (matches(reading, filter)) return `change ${reading.status}`;
      return before ? 'removal FILTERED' : 'nothing';
    }),
  );
}

function wordHeard(heard: Heard): Word {
  if (heard.kind === 'change') return `change ${heard.result.status}`;
  return heard.kind === 'removal' ? `removal ${heard.reason}` : 'nothing';
}

function hostOf(heard: Heard): string {
  if (heard.kind === 'change') return heard.result.hostId;
  return heard.kind === 'removal' ? heard.hostId : '';
}

function matches(
  { hostId, status, labels }: Pick<ResultRecord, 'hostId' | 'status' | 'labels'>,
  { hostIds, statuses, matchLabels, scope }: ResultFilter,
): boolean {
  if (hostIds.length > 0 && !hostIds.includes(hostId)) return false;
  if (statuses.length > 0 && !statuses.includes(status)) return false;
  return [...Object.entries(matchLabels), ...Object.entries(scope)].every(([key, value]) => labels[key] === value);
}
