import type { Verdict } from '../store/records.ts';
import { appraise, verdictDigest } from './appraise.ts';
import type { AppraisalInput } from './appraise.ts';
import { isSameInput } from './same-input.ts';

/** A verdict, and the digest by which it is known again. */
export interface Judgement {
  readonly verdict: Verdict;
  readonly digest: string;
}

/** Appraises one host round after round. Most rounds bring what the one before has brought, and keep its verdict. */
export class Appraiser {
  #last: { readonly input: AppraisalInput; readonly judgement: Judgement } | null = null;

  judge(input: AppraisalInput): Judgement {
    if (this.#last !== null && isSameInput(this.#last.input, input)) return this.#last.judgement;
    const verdict = appraise(input);
    const judgement = { verdict, digest: verdictDigest(verdict) };
    this.#last = { input, judgement };
    return judgement;
  }
}
