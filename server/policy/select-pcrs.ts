import { HASH_ALGORITHMS, hashAlgorithmByName, TPM_ALG_SHA1 } from '../../tpm/structures/constants.ts';
import type { PcrBankSelection } from '../../tpm/structures/pcr-selection.ts';
import type { ApplicablePolicy } from './appraise.ts';
import { pcrsOfRules } from './boot-checks.ts';
import { bootPcrsOfExpressions, pcrsOfExpressions } from './expression-rules.ts';
import { bootRulesOf, runtimeRulesOf } from './policy.ts';
import type { TrustPolicy } from './policy.ts';

/** What is quoted where no policy says: the firmware's PCRs of the first active bank. */
const WITHOUT_POLICY = [0, 1, 2, 3, 4, 5, 6, 7];

/** IMA's. */
export const IMA_PCR = 10;
const IMA_ALONE: readonly number[] = [IMA_PCR];

interface Selected {
  readonly banks: readonly PcrBankSelection[];
  readonly extended: readonly number[];
  readonly selection: readonly PcrBankSelection[];
}

/** What was selected last for each policy: hosts of one make have the same banks. */
const last = new WeakMap<TrustPolicy, Selected>();

/**
 * The PCRs of a round: those that the policy names, in active banks, and those that what it asks of boot and run time rests on. A rule for a bank that
 * is not active is found by the appraisal. Empty only where the host has no active bank.
 */
export function selectPcrs(
  applicable: ApplicablePolicy,
  banks: readonly PcrBankSelection[],
  extended: readonly number[] = IMA_ALONE,
): readonly PcrBankSelection[] {
  if (applicable.kind !== 'policy') return select(applicable, banks, extended);
  const before = last.get(applicable.policy);
  if (before !== undefined && sameNumbers(before.extended, extended) && sameBanks(before.banks, banks))
    return before.selection;
  const selection = select(applicable, banks, extended);
  last.set(applicable.policy, { banks, extended, selection });
  return selection;
}

function sameBanks(one: readonly PcrBankSelection[], other: readonly PcrBankSelection[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ hash, pcrs }, at) => hash === other[at]?.hash && sameNumbers(pcrs, other[at].pcrs))
  );
}

function sameNumbers(one: readonly number[], other: readonly number[]): boolean {
  return one === other || (one.length === other.length && one.every((number, at) => number === other[at]));
}

function select(
  applicable: ApplicablePolicy,
  banks: readonly PcrBankSelection[],
  extended: readonly number[],
): readonly PcrBankSelection[] {
  const boot = selectBootPcrs(applicable, banks);
  const resting = [...(boot === null ? [] : [boot]), ...selectRuntimePcrs(applicable, banks, extended)];
  const selection =
    applicable.kind === 'policy'
      ? banks.flatMap((bank) =>
          named(
            applicable,
            bank,
            resting.flatMap(({ hash, pcrs }) => (hash === bank.hash ? pcrs : [])),
          ),
        )
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
  const rules = applicable.kind === 'policy' ? bootRulesOf(applicable.policy) : null;
  const size = ({ hash }: PcrBankSelection): number => HASH_ALGORITHMS.get(hash)?.size ?? 0;
  const [strongest] = banks.toSorted((left, right) => size(right) - size(left));
  if (applicable.kind !== 'policy' || rules === null || strongest === undefined) return null;
  const asked = [...pcrsOfRules(rules), ...(bootPcrsOfExpressions(applicable.policy) ?? [])];
  return { hash: strongest.hash, pcrs: ascending(asked).filter((pcr) => strongest.pcrs.includes(pcr)) };
}

/**
 * The PCRs that a list of run-time measurements must explain, in every active bank that has PCR 10; in SHA-1's only where there is no
 * other. One of them is not enough: kernels pad SHA-1 hashes into banks of hashes that they lack, however long these are. `extended`:
 * those that the list was seen to extend. Empty where the policy asks for no list, or no bank is such.
 */
export function selectRuntimePcrs(
  applicable: ApplicablePolicy,
  banks: readonly PcrBankSelection[],
  extended: readonly number[] = IMA_ALONE,
): readonly PcrBankSelection[] {
  const rules = applicable.kind === 'policy' ? runtimeRulesOf(applicable.policy) : null;
  const having = rules === null ? [] : banks.filter(({ pcrs }) => pcrs.includes(IMA_PCR));
  const strong = having.filter(({ hash }) => hash !== TPM_ALG_SHA1);
  return (strong.length > 0 ? strong : having).map(({ hash }) => ({ hash, pcrs: extended }));
}

function named(
  applicable: ApplicablePolicy & { readonly kind: 'policy' },
  bank: PcrBankSelection,
  resting: readonly number[],
): readonly PcrBankSelection[] {
  const { policy } = applicable;
  const indices = [...policy.pcrRules, ...pcrsOfExpressions(policy)]
    .filter((named) => hashAlgorithmByName(named.bank)?.alg === bank.hash)
    .map(({ index }) => index);
  const pcrs = ascending([...indices, ...resting]).filter((pcr) => bank.pcrs.includes(pcr));
  return pcrs.length === 0 ? [] : [{ hash: bank.hash, pcrs }];
}

/** Each once. */
function ascending(pcrs: readonly number[]): readonly number[] {
  return [...new Set(pcrs)].toSorted((left, right) => left - right);
}
