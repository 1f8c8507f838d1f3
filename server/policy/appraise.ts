import { hash as oneShotHash } from 'node:crypto';

import { tierOfClaim } from '../../proto/token-profile.ts';
import { algorithmName, hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import type { ReferenceVersion } from '../store/reference-store.ts';
import type { CheckRecord, TrustStatus, VectorRecord, Verdict } from '../store/records.ts';
import type { Epochs } from '../store/store.ts';
import { failed, passed, unevaluated } from '../verifier/finding.ts';
import type { Finding } from '../verifier/finding.ts';
import { appraiseBoot } from './appraise-boot.ts';
import type { BootEvidence } from './appraise-boot.ts';
import { appraiseExpressions } from './appraise-expressions.ts';
import { appraiseRuntime } from './appraise-runtime.ts';
import type { RuntimeEvidence } from './appraise-runtime.ts';
import {
  APPROVED,
  APPROVED_AT_BOOT,
  Claims,
  CONTRAINDICATED,
  ELEMENTS_MISSING,
  NOT_APPROVED,
  RECOGNISED,
  RECOGNISED_BY_OPERATOR,
  REPLACED,
  UNENDORSED,
  UNTRUSTWORTHY,
} from './claims.ts';
import type { HostFacts } from './expression-claims.ts';
import { pcrsOfExpressions } from './expression-rules.ts';
import { bootRulesOf, hasRules, runtimeRulesOf } from './policy.ts';
import type { PcrRule, TrustPolicy } from './policy.ts';

/** Version of the appraisal itself: a change of what a rule means makes every verdict a new one. */
export const ENGINE_VERSION = 6;

/** The policy that judges a host, or why none does. */
export type ApplicablePolicy =
  | {
      readonly kind: 'policy';
      readonly policy: TrustPolicy;
      readonly version: number;
      /** The sets and keyrings that it names, in the order of names. */
      readonly references: readonly ReferenceVersion[];
    }
  | { readonly kind: 'none' }
  | { readonly kind: 'ambiguous'; readonly ids: readonly string[] };

/** Proven evidence, and what is known of the host from its enrolment. */
export interface AppraisalInput {
  readonly applicable: ApplicablePolicy;
  readonly epochs: Epochs;
  /** Findings of the verifier. */
  readonly findings: readonly Finding[];
  /** Null where the quote did not cover what was asked for. */
  readonly pcrs: ProvenPcrValues | null;
  /** What is known of the present boot. */
  readonly boot: BootEvidence;
  /** What is known of what ran since; null where nothing is. */
  readonly runtime: RuntimeEvidence | null;
  /** The host's active banks, TPM_ALG_ID. */
  readonly banks: ReadonlySet<number>;
  readonly banksProven: boolean;
  readonly endorsed: boolean;
  /** What an issuer of its EK certificates revoked, for people; null where nothing is. */
  readonly revoked: string | null;
  /** Findings that stand since earlier rounds. */
  readonly standing: readonly string[];
  readonly akName: string;
  readonly firmwareVersion: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  /** For expressions; null while a host enrols. */
  readonly facts: HostFacts | null;
}

/** Judges proven evidence by the host's policy. Pure: equal input gives an equal verdict. */
export function appraise(input: AppraisalInput): Verdict {
  const checks: CheckRecord[] = [];
  const claims = new Claims();
  for (const finding of input.findings) {
    if (finding.id === 'pcr-banks') continue;
    checks.push(finding);
    if (finding.outcome === 'failed') claims.lower('instanceIdentity', UNTRUSTWORTHY);
  }
  const policy = input.applicable.kind === 'policy' ? input.applicable.policy : null;
  checks.push(checkStanding(input, claims));
  checks.push(checkEndorsement(input, policy, claims));
  checks.push(checkBanks(input, policy, claims));
  checks.push(checkPolicy(input.applicable));
  if (policy !== null && input.pcrs !== null) {
    for (const rule of policy.pcrRules) checks.push(checkPcr(rule, input.pcrs, input.banks, claims));
    checks.push(...tellQuoted(policy, input.pcrs));
  }
  checks.push(...appraiseBoot(input.boot, policy === null ? null : bootRulesOf(policy), claims));
  checks.push(...appraiseRuntime(input.runtime, policy === null ? null : runtimeRulesOf(policy), claims));
  if (policy !== null) checks.push(...appraiseExpressions(policy, input, claims));
  const vector = claims.vector();
  return {
    status: overallStatus(vector, checks),
    vector,
    checks: checks.toSorted((left, right) => rank(left) - rank(right)),
    policyId: policy?.id ?? '',
    policyVersion: input.applicable.kind === 'policy' ? input.applicable.version : 0,
    inputDigest: appraisalInputDigest(input.applicable, input.epochs),
    endorsementVersion: input.epochs.endorsement,
    akName: input.akName,
    resetCount: input.resetCount,
    restartCount: input.restartCount,
  };
}

/** SHA-256 (hex) over the version of everything that a verdict depends on besides the evidence. */
export function appraisalInputDigest(applicable: ApplicablePolicy, epochs: Epochs): string {
  const policy = applicable.kind === 'policy' ? `${applicable.policy.id}/${applicable.version}` : applicable.kind;
  const text = `assay.v1 appraisal input\nengine ${ENGINE_VERSION}\npolicy ${policy}\nendorsements ${epochs.endorsement}\n`;
  const references = applicable.kind === 'policy' ? applicable.references : [];
  const named = references.map(({ name, version }) => `${name}/${version}\n`).join('');
  return oneShotHash('sha256', text + named, 'hex');
}

/** Equal for equal verdicts: what a confirming round leaves as it is. */
export function verdictDigest(verdict: Verdict): string {
  const checks = verdict.checks.map(({ id, outcome, reason, observed, expected, message }) =>
    // The clock moves with every quote; that it did is no new verdict.
    id === 'clock' ? [id, outcome, reason] : [id, outcome, reason, observed, expected, message],
  );
  return oneShotHash('sha256', JSON.stringify({ ...verdict, checks }), 'hex');
}

function checkStanding(input: AppraisalInput, claims: Claims): Finding {
  if (input.standing.includes('CLOCK_REGRESSED')) {
    claims.lower('instanceIdentity', UNTRUSTWORTHY);
    return failed('standing', {
      reason: 'CLOCK_REGRESSED',
      observed: "an earlier quote's counters went back",
      expected: 'counters that never go back',
      message: "The TPM's state was rolled back or cloned. Only a new enrolment with a new AK ends this.",
    });
  }
  if (input.standing.includes('AK_REPLACED')) {
    claims.lower('instanceIdentity', REPLACED);
    return failed('standing', {
      reason: 'AK_REPLACED',
      observed: 'the host enrolled again with a new AK',
      expected: 'an operator who acknowledges it',
      message:
        'The host has a new attestation key. An operator must acknowledge that (assay host approve --acknowledge).',
    });
  }
  return passed('standing', 'Nothing stands against the host from earlier rounds.');
}

function checkEndorsement(input: AppraisalInput, policy: TrustPolicy | null, claims: Claims): Finding {
  // Neither the inventory nor a lenient policy speaks for a TPM that its own maker warns about.
  if (input.revoked !== null) {
    claims.lower('instanceIdentity', UNTRUSTWORTHY);
    return failed('endorsement', {
      reason: 'EK_CERT_REVOKED',
      observed: input.revoked,
      expected: 'a certificate that no revocation list names',
      message: "The certificate of the TPM's EK, or of a CA above it, was revoked by its issuer.",
    });
  }
  if (input.endorsed) {
    claims.raise('instanceIdentity', RECOGNISED);
    return passed('endorsement', "The TPM's EK is certified by a trust anchor or listed in the inventory.");
  }
  if (policy?.quote.allowUnendorsed === true) {
    claims.raise('instanceIdentity', RECOGNISED_BY_OPERATOR);
    return passed('endorsement', 'An operator approved the TPM on first use, which the policy allows.');
  }
  claims.lower('instanceIdentity', UNENDORSED);
  return failed('endorsement', {
    reason: 'EK_UNENDORSED',
    observed: 'an operator approved the TPM on first use',
    expected: 'an EK certificate of a trust anchor, or an entry of the inventory',
    message:
      'Nobody but an operator vouches for the TPM: it has no certificate of a known manufacturer and is not in the inventory.',
  });
}

/** The same sentence in every round, whether this one brought the proof or an earlier one: a confirming round changes nothing. */
function checkBanks(input: AppraisalInput, policy: TrustPolicy | null, claims: Claims): Finding {
  if (input.banksProven) {
    const names = [...input.banks].map(algorithmName).join(', ');
    return passed('pcr-banks', 'Since its last reset the TPM has proven which PCR banks are active.', names);
  }
  if (policy?.quote.allowUnprovenBanks === true) {
    return passed('pcr-banks', 'It is not proven which PCR banks are active, which the policy allows.');
  }
  claims.lower('configuration', ELEMENTS_MISSING);
  return (
    input.findings.find(({ id, outcome }) => id === 'pcr-banks' && outcome === 'failed') ??
    failed('pcr-banks', {
      reason: 'BANKS_UNPROVEN',
      observed: 'no proof since the last reset of the TPM',
      expected: 'a signed audit session over the list of pcr banks',
      message: 'It is not proven which PCR banks of the TPM are active.',
    })
  );
}

function checkPolicy(applicable: ApplicablePolicy): Finding {
  if (applicable.kind === 'none') {
    return unevaluated('policy', {
      reason: 'POLICY_MISSING',
      observed: 'no trust policy selects this host',
      expected: 'exactly one policy of highest precedence',
      message: 'No trust policy says what this host must be, so nothing can be said of it.',
    });
  }
  if (applicable.kind === 'ambiguous') {
    return unevaluated('policy', {
      reason: 'POLICY_AMBIGUOUS',
      observed: applicable.ids.join(', '),
      expected: 'exactly one policy of highest precedence',
      message: 'Several trust policies of equal precedence select this host, so none of them judges it.',
    });
  }
  if (!hasRules(applicable.policy)) {
    return unevaluated('policy', {
      reason: 'POLICY_EMPTY',
      observed: `policy ${applicable.policy.id} has no rules`,
      expected: 'at least one rule',
      message: 'The trust policy has no rules and affirms nothing.',
    });
  }
  return passed('policy', `Policy ${applicable.policy.id} judges the host.`, `version ${applicable.version}`);
}

function checkPcr(rule: PcrRule, pcrs: ProvenPcrValues, banks: ReadonlySet<number>, claims: Claims): Finding {
  const id = `pcr.${rule.bank}.${rule.index}`;
  const claim = CLAIM_OF_PCR[rule.index] ?? 'executables';
  const hash = hashAlgorithmByName(rule.bank);
  const value = hash === undefined ? undefined : pcrs.get(hash.alg)?.get(rule.index)?.toString('hex');
  const expected = rule.allowed.join(' or ');
  if (value === undefined) {
    const inactive = hash === undefined || !banks.has(hash.alg);
    return unevaluated(id, {
      reason: inactive ? 'PCR_BANK_INACTIVE' : 'PCR_NOT_QUOTED',
      observed: inactive ? `the TPM has no active ${rule.bank} bank` : 'not in the quote',
      expected,
      message: `PCR ${rule.index} of the ${rule.bank} bank cannot be judged.`,
    });
  }
  if (rule.allowed.includes(value)) {
    claims.raise(claim, claim === 'executables' ? APPROVED_AT_BOOT : APPROVED);
    return passed(id, `PCR ${rule.index} of the ${rule.bank} bank holds an allowed value.`, value);
  }
  claims.lower(claim, rule.severity === 'warning' ? NOT_APPROVED : CONTRAINDICATED);
  const why = rule.message === '' ? '' : ` ${rule.message}`;
  const message = `PCR ${rule.index} of the ${rule.bank} bank holds a value that the policy does not allow.${why}`;
  return failed(id, { reason: 'PCR_MISMATCH', observed: value, expected, message });
}

/**
 * The values of PCRs that expressions alone look at. They decide nothing; but a verdict tells what it rests on, and one that moves is
 * another verdict.
 */
function tellQuoted(policy: TrustPolicy, pcrs: ProvenPcrValues): readonly Finding[] {
  const told = new Set(policy.pcrRules.map(({ bank, index }) => `${bank}.${index}`));
  return pcrsOfExpressions(policy).flatMap(({ bank, index }) => {
    const hash = hashAlgorithmByName(bank);
    const value = hash === undefined ? undefined : pcrs.get(hash.alg)?.get(index);
    if (value === undefined || told.has(`${bank}.${index}`)) return [];
    told.add(`${bank}.${index}`);
    const message = `PCR ${index} of the ${bank} bank is quoted for an expression.`;
    return [passed(`quoted.${bank}.${index}`, message, value.toString('hex'))];
  });
}

/** Bank and index of the PCR whose quoted value a check tells; null for every other check. */
export function readPcrCheckId(id: string): { readonly bank: string; readonly pcr: number } | null {
  const [, bank, pcr] = /^(?:pcr|quoted)\.([a-z0-9]+)\.(\d{1,2})$/.exec(id) ?? [];
  return bank === undefined ? null : { bank, pcr: Number(pcr) };
}

/** Which claim a PCR speaks for (PC Client Platform Firmware Profile §3.3.4); the rest speak for executables. */
const CLAIM_OF_PCR: { readonly [index: number]: keyof VectorRecord } = {
  0: 'hardware',
  1: 'configuration',
  2: 'hardware',
  3: 'configuration',
  5: 'configuration',
  6: 'configuration',
  7: 'configuration',
  14: 'configuration',
};

/**
 * Never better than the worst claim. What speaks against the host decides first; a check that could not be evaluated leaves
 * nothing to affirm; without any affirming claim there is nothing to say.
 */
function overallStatus(vector: VectorRecord, checks: readonly CheckRecord[]): TrustStatus {
  const tiers = Object.values(vector).map(tierOfClaim);
  if (tiers.includes('contraindicated')) return 'contraindicated';
  if (checks.some(({ outcome }) => outcome === 'error')) return 'none';
  if (tiers.includes('warning')) return 'warning';
  const complete = checks.some(({ id, outcome }) => RULE_ID.test(id) && outcome === 'passed');
  return complete && tiers.includes('affirming') ? 'affirming' : 'none';
}

/** Checks that a policy's rules make: `pcr.sha256.7`, `boot.secure-boot`, `runtime.files`, `expression.firmware`. */
const RULE_ID = /^(?:pcr|boot|runtime|expression)\./;

function rank({ outcome }: CheckRecord): number {
  return outcome === 'failed' ? 0 : outcome === 'error' ? 1 : 2;
}
