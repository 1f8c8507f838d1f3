import type { CheckRecord, Verdict } from '../store/records.ts';
import { appraise, verdictDigest } from './appraise.ts';
import type { AppraisalInput } from './appraise.ts';
import { isSameInput } from './same-input.ts';
import type { SharedParts } from './shared-parts.ts';

/** A verdict, and the digest by which it is known again. */
export interface Judgement {
  readonly verdict: Verdict;
  readonly digest: string;
}

/** Appraises one host round after round. Most rounds bring what the one before has brought, and keep its verdict. */
export class Appraiser {
  readonly #parts: SharedParts;
  #last: { readonly input: AppraisalInput; readonly judgement: Judgement } | null = null;

  constructor(parts: SharedParts) {
    this.#parts = parts;
  }

  judge(input: AppraisalInput): Judgement {
    if (this.#last !== null && isSameInput(this.#last.input, input)) return this.#last.judgement;
    const verdict = appraise(input);
    const digest = verdictDigest(verdict);
    const judgement = { verdict: { ...verdict, checks: this.#held(verdict, digest) }, digest };
    this.#last = { input: this.#kept(input), judgement };
    return judgement;
  }

  /** An input with what many hosts have as it is held; its findings are checks of the verdict as well. */
  #kept(input: AppraisalInput): AppraisalInput {
    const parts = this.#parts;
    return {
      ...input,
      findings: parts.checks(input.findings),
      pcrs: input.pcrs === null ? null : parts.pcrs(input.pcrs),
      banks: parts.algorithms(input.banks),
    };
  }

  /** The checks of a verdict as they are held already: a list of run-time measurements is judged anew in each round, mostly alike. */
  #held({ checks }: Verdict, digest: string): readonly CheckRecord[] {
    const last = this.#last?.judgement;
    if (last?.digest !== digest) return this.#parts.checks(checks);
    // The digest is over all of the others, in their order.
    return checks.map((check, at) => (check.id === 'clock' ? check : (last.verdict.checks[at] ?? check)));
  }
}
