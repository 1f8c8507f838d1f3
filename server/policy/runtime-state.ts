import { hash as oneShotHash } from 'node:crypto';

import type { ReferenceVersion } from '../store/reference-store.ts';
import type { RuntimeRecord } from '../store/log-store.ts';
import type { RuntimeRules } from './runtime-rules.ts';
import { EMPTY_TALLY, lostFaults, newlyLost, withFormerFaults } from './runtime-tally.ts';
import type { RuntimeTally } from './runtime-tally.ts';

/** How an entry is judged: another one judges every list anew from its start. ENGINE_VERSION goes up with it. */
const JUDGEMENT_VERSION = 4;
/** Form of what is kept. It goes on over another judgement, for what was found in lists that are gone must not go with it. */
const STATE_VERSION = 3;

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
  /**
   * Faults of lists of the same reset that others took the place of, by the judges of then: those lists are gone, so that no other
   * judge can look at them, and what was found is not.
   */
  readonly former: RuntimeTally['faults'];
  /** Another list came from its start since, when no policy asked what ran: nobody has judged the bytes that are kept. */
  readonly replaced: boolean;
}

/**
 * All that was found in this reset, in whatever list and by whatever judge: where nobody can judge it anew, it stands. Null where that
 * is nothing.
 */
export function foundInReset(
  state: RuntimeState | null,
  { resetCount }: Pick<RuntimeState, 'resetCount'>,
): RuntimeTally | null {
  return state?.resetCount === resetCount ? tallyOfFaults(withFormerFaults(state.tally, state.former).faults) : null;
}

/**
 * What was found in this reset and not `again`, which is what the beginning of a list comes to that takes the place of the one of
 * before. Only where that is the same list, byte by byte, another judge may find less in it: a host can show one that leads to the same
 * PCR values and hides what was found.
 */
export function faultsBeside({ tally, former }: RuntimeState, again: RuntimeTally): RuntimeTally['faults'] {
  if (again.trace === tally.trace) return former;
  const faults = newlyLost(lostFaults(tally.faults, again.faults), former);
  return withFormerFaults({ ...EMPTY_TALLY, faults }, former).faults;
}

/** Faults without a list; null where there are none. */
export function tallyOfFaults(faults: RuntimeTally['faults']): RuntimeTally | null {
  return Object.keys(faults).length === 0 ? null : withFormerFaults(EMPTY_TALLY, faults);
}

export function makeState(state: Omit<RuntimeState, 'version'>): RuntimeState {
  return { version: STATE_VERSION, ...state };
}

/** Null where nothing is kept, or in another form. */
export function readState(record: RuntimeRecord | null): RuntimeState | null {
  if (record === null) return null;
  // Written from this very shape; the store gives back what it was given.
  const state = JSON.parse(record.body) as Omit<RuntimeState, 'replaced'> & Partial<RuntimeState>;
  // Earlier releases had no word for a list that was replaced, and dropped its record.
  return state.version === STATE_VERSION ? { ...state, replaced: state.replaced ?? false } : null;
}

/** SHA-256 (hex) over all that the judgement of an entry rests on besides the entry. */
export function judgeDigest(rules: RuntimeRules, references: readonly ReferenceVersion[]): string {
  const named = references.map(({ name, version }) => `${name}/${version}`);
  return oneShotHash('sha256', JSON.stringify(['assay.v1 runtime judge', JUDGEMENT_VERSION, rules, named]), 'hex');
}
