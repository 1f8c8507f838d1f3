import type { Labels } from './records.ts';

/** Who did it, for the audit log; written in the transaction of the change. */
export interface Actor {
  readonly actor: string;
}

/** The same where hosts are changed: one outside of the scope is not found, and none can be taken out of it. */
export interface HostActor extends Actor {
  /** Labels of the hosts that the actor sees; empty: every host. */
  readonly scope: Labels;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Key behind which the next page starts, else null. There may be one behind a page that is short, or empty. */
  readonly next: string | null;
}

export interface PageRequest {
  /** At least 1; the caller has bounded it. */
  readonly limit: number;
  /** Key after which the page starts; '' for the first. */
  readonly after: string;
  /** Rows that are looked at, at the most, where a filter may pass over many; left out, as many as a store does at once. */
  readonly walk?: number;
}
