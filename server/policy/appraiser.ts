import type { Verdict } from '../store/records.ts';
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
    const appraised = appraise(input);
    const verdict = { ...appraised, checks: this.#parts.checks(appraised.checks) };
    const judgement = { verdict, digest: verdictDigest(verdict) };
    const pcrs = input.pcrs === null ? null : this.#parts.pcrs(input.pcrs);
    this.#last = { input: { ...input, pcrs }, judgement };
    return judgement;
  }
}
