import type { Labels, PlacementRecord, ResultRecord } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** Reads from the store what it says now of hosts that an index has chosen; without those that are gone or out of the scope. */
export type ReadChosen<R extends PlacementRecord> = (
  chosen: readonly PlacementRecord[],
  scope: Labels,
) => Promise<readonly R[]>;

/**
 * In brief. A revision never changes but for its times, which confirmations move: of a host that is still at the revision of the
 * index, and so in the scope in which it was chosen, these are all that is read.
 */
export function readBriefly(store: Pick<Store, 'resultTimes' | 'snapshot'>): ReadChosen<PlacementRecord> {
  return async (chosen, scope) => {
    const times = new Map(
      (await store.resultTimes(chosen.map(({ hostId }) => hostId))).map((time) => [time.hostId, time]),
    );
    const read: PlacementRecord[] = [];
    const changed: PlacementRecord[] = [];
    for (const record of chosen) {
      const time = times.get(record.hostId);
      if (time === undefined) continue;
      if (time.revision === record.revision) read.push({ ...record, ...time });
      else changed.push(record);
    }
    return [...read, ...(await readWholly(store)(changed, scope))];
  };
}

/** With all that was found. */
export function readWholly(store: Pick<Store, 'snapshot'>): ReadChosen<ResultRecord> {
  return async (chosen, scope) => {
    // An empty filter would mean every host.
    if (chosen.length === 0) return [];
    const hostIds = chosen.map(({ hostId }) => hostId);
    return (await store.snapshot({ hostIds, scope, statuses: [], policyIds: [], matchLabels: {} })).results;
  };
}
