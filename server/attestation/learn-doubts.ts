import { withFormerFaults } from '../policy/runtime-tally.ts';
import type { RuntimeState } from '../policy/runtime-state.ts';
import type { ResultRecord } from '../store/records.ts';

/** What a host that is learned from may have: its files are not allowed yet, and no list of forbidden ones can be compared with them. */
const EXPECTED: readonly string[] = ['FILE_UNKNOWN', 'FILE_INCOMPARABLE'];

/**
 * What speaks against learning from a host, by reason: whatever its present verdict does not pass, so also what is not known of it,
 * and what was found in its list, whether its policy minds that or not.
 */
export function learnDoubts(
  { checks }: Pick<ResultRecord, 'checks'>,
  { tally, former }: Pick<RuntimeState, 'tally' | 'former'>,
): readonly string[] {
  const failed = checks.filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason);
  const found = Object.keys(withFormerFaults(tally, former).faults);
  return [...new Set([...failed, ...found])].filter((reason) => !EXPECTED.includes(reason));
}
