import { HASH_ALGORITHMS, hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import type { PcrBankSelection } from '../../tpm/structures/pcr-selection.ts';
import type { ApplicablePolicy } from './appraise.ts';
import { pcrsOfRules } from './boot-checks.ts';

/** What is quoted where no policy says: the firmware's PCRs of the first active bank. */
const WITHOUT_POLICY = [0, 1, 2, 3, 4, 5, 6, 7];

/**
 * The PCRs of a round: those that the policy names, in active banks, and those that its boot rules rest on. A rule for a bank that
 * is not active is found by the appraisal. Empty only where the host has no active bank.
 */
export function selectPcrs(
  applicable: ApplicablePolicy,
  banks: readonly PcrBankSelection[],
): readonly PcrBankSelection[] {
  const boot = selectBootPcrs(applicable, banks);
  const selection =
    applicable.kind === 'policy'
      ? banks.flatMap((bank) => named(applicable, bank, boot?.hash === bank.hash ? boot.pcrs : []))
      : [];
  const [first] = banks;
  if (selection.length > 0 || first === undefined) return selection;
  const firmware = WITHOUT_POLICY.filter((pcr) => first.pcrs.includes(pcr));
  return [{ hash: first.hash, pcrs: firmware.length > 0 ? firmware : first.pcrs }];
}

/**
 * The PCRs that the boot rules of a policy rest on, in the strongest active bank: one bank is enough where the log explained every
 * one. Null where the policy has no boot rules, or no bank is active.
 */
export function selectBootPcrs(
  applicable: ApplicablePolicy,
  banks: readonly PcrBankSelection[],
): PcrBankSelection | null {
  const rules = applicable.kind === 'policy' ? (applicable.policy.boot ?? null) : null;
  const size = ({ hash }: PcrBankSelection): number => HASH_ALGORITHMS.get(hash)?.size ?? 0;
  const [strongest] = banks.toSorted((left, right) => size(right) - size(left));
  if (rules === null || strongest === undefined) return null;
  return { hash: strongest.hash, pcrs: pcrsOfRules(rules).filter((pcr) => strongest.pcrs.includes(pcr)) };
}

function named(
  applicable: ApplicablePolicy & { readonly kind: 'policy' },
  bank: PcrBankSelection,
  boot: readonly number[],
): readonly PcrBankSelection[] {
  const indices = applicable.policy.pcrRules
    .filter((rule) => hashAlgorithmByName(rule.bank)?.alg === bank.hash)
    .map((rule) => rule.index);
  const pcrs = [...new Set([...indices, ...boot])]
    .filter((pcr) => bank.pcrs.includes(pcr))
    .toSorted((left, right) => left - right);
  return pcrs.length === 0 ? [] : [{ hash: bank.hash, pcrs }];
}
