import { hash as oneShotHash } from 'node:crypto';

import type { ReferenceVersion } from '../store/reference-store.ts';
import type { RuntimeRecord } from '../store/log-store.ts';
import type { RuntimeRules } from './runtime-rules.ts';
import type { RuntimeTally } from './runtime-tally.ts';

/** How an entry is judged, and what is kept of it: another one judges every list anew from its start. */
const JUDGEMENT_VERSION = 2;

/** How far a list is proven and what it came to, as the store keeps it. */
export interface RuntimeState {
  readonly version: number;
  /** The TPM's counters that the list is of. */
  readonly resetCount: number;
  readonly restartCount: number;
  /** Text form of {@link ImaCheckpoint}. */
  readonly checkpoint: string;
  /** PCRs that the list extends as far as is known, ascending: each round quotes them. */
  readonly pcrs: readonly number[];
  /** Of the judge that made the tally. */
  readonly judge: string;
  readonly tally: RuntimeTally;
  /** Faults of lists from before a restart of the same reset: their PCR values are gone, and what was found is not. */
  readonly former: RuntimeTally['faults'];
}

export function makeState(state: Omit<RuntimeState, 'version'>): RuntimeState {
  return { version: JUDGEMENT_VERSION, ...state };
}

/** Null where nothing is kept, or what another version of this program judged. */
export function readState(record: RuntimeRecord | null): RuntimeState | null {
  if (record === null) return null;
  // Written from this very shape; the store gives back what it was given.
  const state = JSON.parse(record.body) as RuntimeState;
  return state.version === JUDGEMENT_VERSION ? state : null;
}

/** SHA-256 (hex) over all that the judgement of an entry rests on besides the entry. */
export function judgeDigest(rules: RuntimeRules, references: readonly ReferenceVersion[]): string {
  const named = references.map(({ name, version }) => `${name}/${version}`);
  return oneShotHash('sha256', JSON.stringify(['assay.v1 runtime judge', JUDGEMENT_VERSION, rules, named]), 'hex');
}
