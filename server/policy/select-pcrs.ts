import { hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import type { PcrBankSelection } from '../../tpm/structures/pcr-selection.ts';
import type { ApplicablePolicy } from './appraise.ts';

/** What is quoted where no policy says: the firmware's PCRs of the first active bank. */
const WITHOUT_POLICY = [0, 1, 2, 3, 4, 5, 6, 7];

/**
 * The PCRs of a round: those that the policy names, in active banks. A rule for a bank that is not active is found by the
 * appraisal. Empty only where the host has no active bank.
 */
export function selectPcrs(
  applicable: ApplicablePolicy,
  banks: readonly PcrBankSelection[],
): readonly PcrBankSelection[] {
  const selection = applicable.kind === 'policy' ? banks.flatMap((bank) => named(applicable, bank)) : [];
  const [first] = banks;
  if (selection.length > 0 || first === undefined) return selection;
  const firmware = WITHOUT_POLICY.filter((pcr) => first.pcrs.includes(pcr));
  return [{ hash: first.hash, pcrs: firmware.length > 0 ? firmware : first.pcrs }];
}

function named(
  applicable: ApplicablePolicy & { readonly kind: 'policy' },
  bank: PcrBankSelection,
): readonly PcrBankSelection[] {
  const indices = applicable.policy.pcrRules
    .filter((rule) => hashAlgorithmByName(rule.bank)?.alg === bank.hash)
    .map((rule) => rule.index);
  const pcrs = [...new Set(indices)].filter((pcr) => bank.pcrs.includes(pcr)).toSorted((left, right) => left - right);
  return pcrs.length === 0 ? [] : [{ hash: bank.hash, pcrs }];
}
