import type { ApplicablePolicy } from '../policy/appraise.ts';
import { appraise } from '../policy/appraise.ts';
import { looksAtTpm } from '../policy/expression-rules.ts';
import { bootRulesOf } from '../policy/policy.ts';
import type { Verdict } from '../store/records.ts';
import type { Epochs } from '../store/store.ts';
import type { Finding } from '../verifier/finding.ts';
import { checkKept, keptFindings, KeptPcrs, neededPcrs } from './kept-evidence.ts';
import type { BankPcr, KeptEvidence } from './kept-evidence.ts';
import { explainKept } from './kept-findings.ts';
import type { KeptRuntime } from './kept-runtime.ts';
import type { Known } from './known.ts';
import { bootEvidence } from './round-boot.ts';

/** What the kept evidence of a host comes to under a policy. */
export type Reappraisal =
  | {
      readonly kind: 'verdict';
      readonly verdict: Verdict;
    }
  /** A verdict that holds only if these PCRs have not moved since the first quote of this boot: the last one did not cover them. */
  | { readonly kind: 'assumed'; readonly verdict: Verdict; readonly pcrs: readonly BankPcr[] }
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

/**
 * Judges a host by what is kept of it, with the functions that judge its rounds: what its next round comes to if nothing about it
 * has changed since the last one.
 */
export function reappraise(kept: KeptEvidence, context: ReappraisalContext): Reappraisal {
  const { host, result, boot } = kept;
  const { applicable, epochs, endorsement, runtime } = context;
  const missing = checkKept(kept);
  if (missing !== null) return { kind: 'unknown', finding: missing };
  const pcrs = new KeptPcrs(kept, context.judged).read(neededPcrs(applicable, kept));
  if ('finding' in pcrs) return { kind: 'unknown', finding: pcrs.finding };
  const policy = applicable.kind === 'policy' ? applicable.policy : null;
  if (policy !== null && looksAtTpm(policy)) return { kind: 'unknown', finding: explainKept.unknownTpm() };
  const asksForBoot = policy !== null && bootRulesOf(policy) !== null;
  // As long as the banks are not proven, every round asks for the logs, too.
  if (boot === null && (asksForBoot || !host.banksProven))
    return { kind: 'unknown', finding: explainKept.unknownBoot('no log that was replayed') };
  const round = { host, challenge: { selection: [] }, applicable, boot };
  const booted = bootEvidence(round, { pcrs: pcrs.values }, null);
  if (booted.kind === 'moved') return { kind: 'unknown', finding: explainKept.unknownBoot(booted.finding.message) };
  if ('finding' in runtime) return { kind: 'unknown', finding: runtime.finding };
  const verdict = appraise({
    applicable,
    epochs,
    ...endorsement,
    findings: keptFindings(result),
    pcrs: pcrs.values,
    boot: booted,
    runtime: runtime.evidence,
    banks: new Set(host.banks.map(({ algorithm }) => algorithm)),
    banksProven: host.banksProven,
    standing: host.findings,
    akName: host.ak.name,
    // No expression of this policy asks for it.
    firmwareVersion: 0n,
    resetCount: result.resetCount,
    restartCount: result.restartCount,
  });
  return pcrs.assumed.length === 0 ? { kind: 'verdict', verdict } : { kind: 'assumed', verdict, pcrs: pcrs.assumed };
}
