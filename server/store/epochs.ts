/** Versions of what verdicts depend on. */
export interface Epochs {
  /** Counts changes of any policy, and of any set or keyring that a policy names. */
  readonly policy: number;
  /** Counts changes of trust anchors, revocation lists and inventory. */
  readonly endorsement: number;
}
