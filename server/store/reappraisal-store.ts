import type { Epochs } from './epochs.ts';
import type { HostRecord, ResultRecord, Verdict } from './records.ts';

/** What a host whose verdict fell, because what it was judged by has changed, is judged anew from. */
export interface ReappraisalBasis {
  /** The last result that rests on evidence; as long as it is kept here, nothing drops it. */
  readonly basis: ResultRecord;
  /** When that evidence ends: no verdict on it may hold longer. */
  readonly validUntil: number;
}

/** A host that is to be judged anew. */
export interface DueReappraisal extends ReappraisalBasis {
  readonly host: HostRecord;
}

/** A verdict from kept evidence, to be written if nothing changed that it was judged from. */
export interface ReappraisalInput {
  readonly hostId: string;
  readonly fence: {
    readonly version: number;
    readonly round: number;
    readonly akGeneration: number;
    readonly epochs: Epochs;
    /** Revision of the basis. */
    readonly basis: number;
  };
  readonly verdict: Verdict;
  /** As a round's: a round of an equal digest confirms. */
  readonly verdictDigest: string;
  /**
   * When the verdict ends, unless the evidence ends sooner; null where the kept evidence does not say: then the verdict is NONE, and
   * the host waits for its next evidence or the next change.
   */
  readonly endsAt: number | null;
}

/** Verdicts that fell with their policy, set, keyring, anchor, list or inventory, and are made anew from kept evidence. */
export interface ReappraisalStore {
  /**
   * Hosts that are due, those that fell first at the head. One that is connected is asked for evidence by its stream, and is due only
   * when it fell before a time.
   */
  dueReappraisals(limit: number, connectedBefore: number): Promise<readonly DueReappraisal[]>;
  /**
   * What those of these hosts would be judged anew from whose verdict has fallen since their last evidence, whether they were judged
   * anew by now or not.
   */
  reappraisalBases(hostIds: readonly string[]): Promise<readonly ReappraisalBasis[]>;
  /** Checks every fence and writes all that hold in one transaction; false for each that does not. */
  commitReappraisals(inputs: readonly ReappraisalInput[]): Promise<readonly boolean[]>;
}
