import type { ResultFilter } from '../store/filters.ts';
import type { Labels, ResultRecord } from '../store/records.ts';

/** What filters go by. */
export type Matched = Pick<ResultRecord, 'hostId' | 'labels' | 'status' | 'policyId'>;

/** Whether a result is among the filtered, and in the scope. Made once for a filter that is asked often. */
export function resultMatcher({
  hostIds,
  statuses,
  policyIds,
  matchLabels,
  scope,
}: ResultFilter): (host: Matched) => boolean {
  const tests: ((host: Matched) => boolean)[] = [];
  if (hostIds.length > 0) tests.push(among('hostId', hostIds));
  if (statuses.length > 0) tests.push(among('status', statuses));
  if (policyIds.length > 0) tests.push(among('policyId', policyIds));
  for (const [key, value] of entriesOf(scope, matchLabels)) {
    tests.push(({ labels }) => Object.hasOwn(labels, key) && labels[key] === value);
  }
  return (host) => tests.every((test) => test(host));
}

function among(field: 'hostId' | 'status' | 'policyId', wanted: readonly string[]): (host: Matched) => boolean {
  const set = new Set(wanted);
  return (host) => set.has(host[field]);
}

function entriesOf(...selectors: readonly Labels[]): readonly (readonly [string, string])[] {
  return selectors.flatMap((labels) => Object.entries(labels));
}
