import type { PlacementRecord } from './records.ts';

/** How far an index has read. */
export interface PlacementPosition {
  readonly revision: number;
  readonly confirmation: number;
  /** The newest revision when the reading began: no deletion before it concerns the reader. */
  readonly began: number;
}

/** Where a reader stands that has nothing yet. */
export const PLACEMENT_START: PlacementPosition = { revision: 0, confirmation: 0, began: 0 };

/** What confirmations move of a present result; all else of its revision stays as it is. */
export type ResultTimes = Pick<PlacementRecord, 'hostId' | 'revision' | 'challengeTime' | 'validUntil'>;

/** What has changed behind a position, all of it as it stood at one moment. */
export interface PlacementChanges {
  /** Present results that were written, each host once. */
  readonly present: readonly PlacementRecord[];
  /** What confirmations have moved; of a revision that the reader has not read yet it says nothing that `present` will not. */
  readonly moved: readonly ResultTimes[];
  /** Hosts that were deleted; one that enrolled again is among the present as well. */
  readonly gone: readonly string[];
  readonly position: PlacementPosition;
  /** Whether this was all. */
  readonly complete: boolean;
}

export interface PlacementStore {
  /** Of the named hosts that have a present result, in no order; at most 1,000. For who knows of each which revision he means. */
  resultTimes(hostIds: readonly string[]): Promise<readonly ResultTimes[]>;
  /**
   * Results that were written behind a position, in brief, and the times of those that were confirmed: of every host from
   * PLACEMENT_START on. `limit` bounds each of the two. Throws out_of_range when deletions behind the position may be forgotten.
   */
  placementsSince(position: PlacementPosition, limit: number): Promise<PlacementChanges>;
}
