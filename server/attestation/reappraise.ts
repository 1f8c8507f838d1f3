import { hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import type { ApplicablePolicy, AppraisalInput } from '../policy/appraise.ts';
import { appraise } from '../policy/appraise.ts';
import { knownRules, looksAtTpm } from '../policy/expression-rules.ts';
import { bootRulesOf } from '../policy/policy.ts';
import type { Verdict } from '../store/records.ts';
import type { Epochs } from '../store/store.ts';
import type { Finding } from '../verifier/finding.ts';
import { checkKept, keptFindings, KeptPcrs, neededPcrs } from './kept-evidence.ts';
import type { BankPcr, KeptEvidence, ReadPcrs } from './kept-evidence.ts';
import { explainKept } from './kept-findings.ts';
import type { KeptRuntime } from './kept-runtime.ts';
import type { Known } from './known.ts';
import { bootEvidence, standsAgainst } from './round-boot.ts';

/** What the kept evidence of a host comes to under a policy. */
export type Reappraisal =
  | {
      readonly kind: 'verdict';
      readonly verdict: Verdict;
    }
  /**
   * A verdict that holds only if these PCRs have not moved since the first quote of this boot: the last one did not cover them.
   * `against`: what holds in any case, where that contraindicates the host.
   */
  | {
      readonly kind: 'assumed';
      readonly verdict: Verdict;
      readonly pcrs: readonly BankPcr[];
      readonly against: Verdict | null;
    }
  /** The kept evidence does not say; nothing is guessed. */
  | { readonly kind: 'unknown'; readonly finding: Finding };

export interface ReappraisalContext {
  /** The policy that the present result is of; null where that is not known any more. */
  readonly judged: ApplicablePolicy | null;
  /** The policy to judge by. */
  readonly applicable: ApplicablePolicy;
  readonly epochs: Epochs;
  readonly endorsement: Pick<Known, 'endorsed' | 'facts' | 'revoked'>;
  /** What its kept list comes to under that policy. */
  readonly runtime: KeptRuntime;
}

/** What of an appraisal is evidence of the last round. */
type Evidence = Pick<AppraisalInput, 'findings' | 'pcrs' | 'boot' | 'runtime'>;

/**
 * Judges a host by what is kept of it, with the functions that judge its rounds: what its next round comes to if nothing about it
 * has changed since the last one. Where what is kept does not say, what it proves against the host stands all the same.
 */
export function reappraise(kept: KeptEvidence, context: ReappraisalContext): Reappraisal {
  const missing = checkKept(kept);
  if (missing?.reason === 'KEPT_EVIDENCE_STALE') return { kind: 'unknown', finding: missing };
  if (missing !== null) {
    // What earlier rounds left.
    const boot = standsAgainst(kept.boot) ? kept.boot.outcome : ({ kind: 'none' } as const);
    const evidence: Evidence = { findings: [], pcrs: null, boot, runtime: context.runtime.evidence };
    return orAgainst(missing, verdictAgainst(kept, context, { evidence, doubt: missing }));
  }
  const needed = neededPcrs(context.applicable, kept);
  const pcrs = new KeptPcrs(kept, context.judged).read(needed);
  const doubt = findDoubt(kept, context, pcrs);
  const of = (values: ReadPcrs['values']): Evidence => ({
    findings: keptFindings(kept.result),
    pcrs: values,
    boot: bootOf(kept, context, values),
    runtime: context.runtime.evidence,
  });
  if (doubt !== null) return orAgainst(doubt, verdictAgainst(kept, context, { evidence: of(pcrs.quoted), doubt }));
  const verdict = judge(kept, context, of(pcrs.values));
  const { assumed } = pcrs;
  if (assumed.length === 0) return { kind: 'verdict', verdict };
  const against = { evidence: of(pcrs.quoted), doubt: explainKept.assumed(assumed) };
  return { kind: 'assumed', verdict, pcrs: assumed, against: verdictAgainst(kept, context, against) };
}

function orAgainst(finding: Finding, against: Verdict | null): Reappraisal {
  return against === null ? { kind: 'unknown', finding } : { kind: 'verdict', verdict: against };
}

/** What the policy looks at and what is kept does not say; null where there is nothing of that kind. */
function findDoubt(kept: KeptEvidence, context: ReappraisalContext, pcrs: ReadPcrs): Finding | null {
  const { host, boot } = kept;
  const { applicable, runtime } = context;
  if (pcrs.finding !== null) return pcrs.finding;
  const policy = applicable.kind === 'policy' ? applicable.policy : null;
  if (policy !== null && looksAtTpm(policy)) return explainKept.unknownTpm();
  const asksForBoot = policy !== null && bootRulesOf(policy) !== null;
  // As long as the banks are not proven, every round asks for the logs, too.
  if (boot === null && (asksForBoot || !host.banksProven)) return explainKept.unknownBoot('no log that was replayed');
  const booted = bootOf(kept, context, pcrs.values);
  return booted.kind === 'moved' ? explainKept.unknownBoot(booted.finding.message) : runtime.finding;
}

function bootOf(
  { host, boot }: KeptEvidence,
  { applicable }: Pick<ReappraisalContext, 'applicable'>,
  pcrs: ReadPcrs['values'],
): AppraisalInput['boot'] {
  return bootEvidence({ host, challenge: { selection: [] }, applicable, boot }, { pcrs }, null);
}

/** What is proven contraindicates the host, whatever the rest is; null where it does not. */
function verdictAgainst(
  kept: KeptEvidence,
  context: ReappraisalContext,
  { evidence, doubt }: { readonly evidence: Evidence; readonly doubt: Finding },
): Verdict | null {
  const applicable = withKnownRules(kept, context.applicable, evidence);
  const verdict = judge(kept, { ...context, applicable }, evidence);
  return verdict.status === 'contraindicated' ? { ...verdict, checks: [...verdict.checks, doubt] } : null;
}

/** An expression over what is not known says nothing; the other rules find out by themselves. */
function withKnownRules(kept: KeptEvidence, applicable: ApplicablePolicy, { pcrs }: Evidence): ApplicablePolicy {
  if (applicable.kind !== 'policy') return applicable;
  const needed = neededPcrs(applicable, kept);
  const expressions = knownRules(applicable.policy, ({ bank, index }) => {
    const hash = hashAlgorithmByName(bank)?.alg;
    return needed.some((each) => each.hash === hash && each.pcr === index && pcrs?.get(hash)?.has(index) !== true);
  });
  return { ...applicable, policy: { ...applicable.policy, expressions } };
}

function judge(
  { host, result }: KeptEvidence,
  { applicable, epochs, endorsement }: ReappraisalContext,
  evidence: Evidence,
): Verdict {
  return appraise({
    applicable,
    epochs,
    ...endorsement,
    ...evidence,
    banks: new Set(host.banks.map(({ algorithm }) => algorithm)),
    banksProven: host.banksProven,
    standing: host.findings,
    akName: host.ak.name,
    // No expression that is judged here asks for it.
    firmwareVersion: 0n,
    resetCount: result.resetCount,
    restartCount: result.restartCount,
  });
}
