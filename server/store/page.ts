/** Who did it, for the audit log; written in the transaction of the change. */
export interface Actor {
  readonly actor: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Key of the last item when more follow, else null. */
  readonly next: string | null;
}

export interface PageRequest {
  /** At least 1; the caller has bounded it. */
  readonly limit: number;
  /** Key after which the page starts; '' for the first. */
  readonly after: string;
}
