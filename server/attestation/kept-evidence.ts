import { hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import { readPcrCheckId } from '../policy/appraise.ts';
import { pcrsOfExpressions } from '../policy/expression-rules.ts';
import type { TrustPolicy } from '../policy/policy.ts';
import { selectBootPcrs } from '../policy/select-pcrs.ts';
import type { HostRecord, ResultRecord } from '../store/records.ts';
import type { PolicyStore } from '../store/store.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import { recordedPcrs } from '../verifier/boot-record.ts';
import type { Finding } from '../verifier/finding.ts';
import { explainKept } from './kept-findings.ts';

/** What is kept of a host between two rounds. */
export interface KeptEvidence {
  readonly host: HostRecord;
  /** The last result that rests on evidence, as it reads now. */
  readonly result: ResultRecord;
  /** What the host proved of its present boot; null when nothing. */
  readonly boot: KnownBoot | null;
}

/** A PCR in one bank. */
export interface BankPcr {
  /** TPM_ALG_ID. */
  readonly hash: number;
  readonly pcr: number;
}

export interface ReadPcrs {
  /** Those of the last quote. */
  readonly quoted: ProvenPcrValues;
  /** With those of the first quote of this boot, of PCRs that are not known to have moved since. */
  readonly values: ProvenPcrValues;
  /** Which these are. */
  readonly assumed: readonly BankPcr[];
  /** Why the value of one is not known; null where none is missing. */
  readonly finding: Finding | null;
}

/** What of a verdict is the verifier's, and stands whatever policy judges. */
const VERIFIER_CHECKS: ReadonlySet<string> = new Set(['quote', 'clock', 'pcr-selection', 'pcr-digest']);

/** The findings of the round that the present result is of. */
export function keptFindings({ checks }: Pick<ResultRecord, 'checks'>): readonly Finding[] {
  return checks.filter(({ id }) => VERIFIER_CHECKS.has(id));
}

/** Why nothing can be judged by what is kept; null where it can. */
export function checkKept({ host, result }: KeptEvidence): Finding | null {
  const proven = ['quote', 'pcr-digest'].every((id) =>
    result.checks.some((check) => check.id === id && check.outcome === 'passed'),
  );
  const { resetCount, restartCount } = host.clock;
  const present =
    result.akName === host.ak.name && result.resetCount === resetCount && result.restartCount === restartCount;
  if (!proven || !present || result.challengeTime === 0) {
    return explainKept.missing(result);
  }
  if (result.validUntil === null && result.connectivity !== 'connected') {
    return explainKept.stale(result);
  }
  return null;
}

/** The policy that a result is of; null where none judged. What a result names stays readable. */
export async function judgedBy(
  store: Pick<PolicyStore, 'getPolicy'>,
  { policyId, policyVersion }: ResultRecord,
): Promise<ApplicablePolicy | null> {
  if (policyId === '') return null;
  const record = await store.getPolicy(policyId, policyVersion);
  if (record === null) return null;
  return { kind: 'policy', policy: JSON.parse(record.body) as TrustPolicy, version: policyVersion, references: [] };
}

/** PCR values as the rounds of the present boot proved them. */
export class KeptPcrs {
  /** Of the last round. */
  readonly #last = new Map<string, Buffer>();
  /** Of the first quote of this boot. */
  readonly #first: ReturnType<typeof recordedPcrs>;
  /** PCRs of which some bank is known to have moved since. */
  readonly #moved = new Set<number>();

  /** `judged` is the policy that the present result is of; null where that is not known any more. */
  constructor({ host, result, boot }: KeptEvidence, judged: ApplicablePolicy | null) {
    this.#first = boot === null ? new Map() : recordedPcrs(boot.record);
    for (const { id, outcome, observed } of result.checks) {
      const place = outcome === 'error' ? null : readPcrCheckId(id);
      const hash = place === null ? undefined : hashAlgorithmByName(place.bank);
      // A rule's check says what the quote held: a confirming round has the same, or it would not confirm.
      if (place !== null && hash !== undefined)
        this.#last.set(keyOf(hash.alg, place.pcr), Buffer.from(observed, 'hex'));
    }
    // Boot rules rest on these as long as they hold what the log was replayed against.
    const resting = judged === null || boot?.outcome.kind !== 'verified' ? null : selectBootPcrs(judged, banksOf(host));
    for (const pcr of resting?.pcrs ?? []) {
      const value = this.#first.get(resting?.hash ?? 0)?.get(pcr);
      if (resting !== null && value !== undefined) this.#last.set(keyOf(resting.hash, pcr), value);
    }
    for (const [hash, bank] of this.#first) {
      for (const [pcr, value] of bank) {
        const last = this.#last.get(keyOf(hash, pcr));
        if (last !== undefined && !last.equals(value)) this.#moved.add(pcr);
      }
    }
  }

  /** The values that a policy needs. A PCR that moved in one bank has no known value in another. */
  read(needed: readonly BankPcr[]): ReadPcrs {
    const quoted = new Map<number, Map<number, Buffer>>();
    const values = new Map<number, Map<number, Buffer>>();
    const assumed: BankPcr[] = [];
    let finding: Finding | null = null;
    for (const each of needed) {
      const { hash, pcr } = each;
      const last = this.#last.get(keyOf(hash, pcr));
      const value = last ?? (this.#moved.has(pcr) ? undefined : this.#first.get(hash)?.get(pcr));
      if (last !== undefined) put(quoted, each, last);
      else if (value !== undefined) assumed.push(each);
      if (value === undefined) finding ??= explainKept.unknownPcr(each, this.#moved.has(pcr));
      else put(values, each, value);
    }
    // They were proven in the rounds that they were kept from.
    return {
      quoted: quoted as unknown as ProvenPcrValues,
      values: values as unknown as ProvenPcrValues,
      assumed,
      finding,
    };
  }
}

function put(values: Map<number, Map<number, Buffer>>, { hash, pcr }: BankPcr, value: Buffer): void {
  values.set(hash, (values.get(hash) ?? new Map<number, Buffer>()).set(pcr, value));
}

/** What the rules of a policy look at, in banks that are active. Boot rules do where there is a boot that may have moved away. */
export function neededPcrs(
  applicable: ApplicablePolicy,
  { host, boot: known }: Pick<KeptEvidence, 'host' | 'boot'>,
): readonly BankPcr[] {
  if (applicable.kind !== 'policy') return [];
  const banks = banksOf(host);
  const boot = known?.outcome.kind === 'verified' ? selectBootPcrs(applicable, banks) : null;
  return banks.flatMap(({ hash, pcrs }) => {
    const named = [...applicable.policy.pcrRules, ...pcrsOfExpressions(applicable.policy)].flatMap(({ bank, index }) =>
      hashAlgorithmByName(bank)?.alg === hash ? [index] : [],
    );
    const all = new Set([...named, ...(boot?.hash === hash ? boot.pcrs : [])]);
    return [...all].filter((pcr) => pcrs.includes(pcr)).map((pcr) => ({ hash, pcr }));
  });
}

function banksOf({ banks }: Pick<HostRecord, 'banks'>) {
  return banks.map(({ algorithm, pcrs }) => ({ hash: algorithm, pcrs }));
}

function keyOf(hash: number, pcr: number): string {
  return `${hash}:${pcr}`;
}
