import { setImmediate, setTimeout } from 'node:timers/promises';

import { verdictDigest } from '../policy/appraise.ts';
import { PolicyResolver } from '../policy/policy-resolver.ts';
import { inputChangedVerdict } from '../store/own-verdicts.ts';
import type { DueReappraisal, ReappraisalInput } from '../store/reappraisal-store.ts';
import type { ResultRecord, Verdict } from '../store/records.ts';
import { StoreError } from '../store/store.ts';
import type { Finding } from '../verifier/finding.ts';
import { CHALLENGE_LIFETIME } from './challenge.ts';
import { judgedBy } from './kept-evidence.ts';
import { explainKept } from './kept-findings.ts';
import { judgeKeptRuntime } from './kept-runtime.ts';
import { endorsementOf } from './known.ts';
import { reappraise } from './reappraise.ts';
import { loadBoot } from './round-boot.ts';
import { quoteRequirementsOf } from './round.ts';
import type { AttestationServices } from './services.ts';

/** Hosts that are judged together, and written in one transaction. */
const PAGE = 25;
/** Milliseconds between two pages: so many hosts a second, whatever an operator changes. */
const TICK = 100;
/** Milliseconds between two looks where nothing is due. */
const LOOK = 500;
/** The same after a fault, such as a full disk. */
const AFTER_FAULT = 5_000;
/**
 * What a stream has to bring new evidence before its host is judged by what is kept, milliseconds. One that leaves its challenge
 * unanswered so long has ended; what is left are streams of a service that was killed, and the end of a very long line.
 */
const HEAD_START = CHALLENGE_LIFETIME;

export type ReappraiserServices = Pick<AttestationServices, 'store' | 'feed' | 'endorsements' | 'boots' | 'runtimes'>;

/** What the kept evidence of a host comes to, or why it does not say. */
type KeptVerdict = { readonly verdict: Verdict } | { readonly finding: Finding };

export interface ReappraiserOptions {
  readonly services: ReappraiserServices;
  readonly onError: (error: unknown) => void;
}

/**
 * Judges hosts anew from what is kept of them, after a change of what they are judged by: those that no stream asks for evidence, and
 * those whose stream has brought none for long. What is due stands in the store, so that an end of the service loses none of it, and
 * several replicas may do the same work: the fences let one of them write it.
 */
export class Reappraiser {
  readonly #services: ReappraiserServices;
  readonly #onError: (error: unknown) => void;
  /** Of its own: streams go on with the policies that they have. */
  readonly #policies: PolicyResolver;
  readonly #stop = new AbortController();
  #policyEpoch = 0;
  #running: Promise<void> | null = null;

  constructor({ services, onError }: ReappraiserOptions) {
    this.#services = services;
    this.#onError = onError;
    this.#policies = new PolicyResolver(services.store);
  }

  start(): void {
    this.#running ??= this.#run(this.#stop.signal);
  }

  /** Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let pause = AFTER_FAULT;
      try {
        pause = (await this.judgePage()) === 0 ? LOOK : TICK;
      } catch (error) {
        this.#onError(error);
      }
      await setTimeout(pause, null, { signal }).catch(() => undefined);
    }
  }

  /** Judges and writes the hosts that are due first. Returns how many were looked at. */
  async judgePage(): Promise<number> {
    const { store, feed } = this.#services;
    const due = await store.dueReappraisals(PAGE, store.now() - HEAD_START);
    if (due.length === 0) return 0;
    const { policy } = await store.epochs();
    if (policy !== this.#policyEpoch) this.#policies.refresh();
    this.#policyEpoch = policy;
    const inputs: ReappraisalInput[] = [];
    for (const each of due) {
      if (this.#stop.signal.aborted) break;
      inputs.push(await this.#judge(each));
      await setImmediate();
    }
    const written = await store.commitReappraisals(inputs);
    if (written.includes(true)) feed.hint();
    return due.length;
  }

  async #judge(due: DueReappraisal): Promise<ReappraisalInput> {
    const { host, basis } = due;
    const { applicable, epoch } = await this.#policies.resolve(host);
    const { epoch: endorsement, endorsementEnds, ...endorsed } = await endorsementOf(this.#services.endorsements, host);
    const epochs = { policy: epoch, endorsement };
    const { version, round, akGeneration } = host;
    const input = { hostId: host.id, fence: { version, round, akGeneration, epochs, basis: basis.revision } };
    const ends = [
      due.validUntil,
      basis.challengeTime + quoteRequirementsOf(applicable).validity,
      ...(endorsed.endorsed && endorsementEnds !== null ? [endorsementEnds] : []),
    ];
    const endsAt = Math.min(...ends);
    const outcome =
      endsAt <= this.#services.store.now()
        ? { finding: explainKept.stale(basis) }
        : await this.#judgeKept(due, { applicable, epochs, endorsement: endorsed });
    if ('finding' in outcome) {
      return { ...input, verdict: waitingVerdict(basis, outcome.finding), verdictDigest: '', endsAt: null };
    }
    return { ...input, verdict: outcome.verdict, verdictDigest: verdictDigest(outcome.verdict), endsAt };
  }

  /** What the kept evidence comes to, or why it does not say. A defect concerns one host, and no other waits for it. */
  async #judgeKept(
    { host, basis, validUntil }: DueReappraisal,
    by: Omit<Parameters<typeof reappraise>[1], 'judged' | 'runtime'>,
  ): Promise<KeptVerdict> {
    const { store, boots } = this.#services;
    try {
      const kept = { host, result: { ...basis, validUntil }, boot: await loadBoot(store, boots, host.id) };
      const runtime = await judgeKeptRuntime(this.#services, kept, by.applicable);
      const outcome = reappraise(kept, { ...by, judged: await judgedBy(store, basis), runtime });
      if (outcome.kind !== 'assumed') return outcome;
      // What holds only on a condition is no verdict: a result has no conditions.
      return outcome.against === null ? { finding: explainKept.assumed(outcome.pcrs) } : { verdict: outcome.against };
    } catch (error) {
      if (error instanceof StoreError) throw error;
      this.#onError(error);
      return { finding: explainKept.fault() };
    }
  }
}

/** As when the verdict fell, and why what is kept does not give another. */
function waitingVerdict(basis: ResultRecord, finding: Finding): Verdict {
  const fallen = inputChangedVerdict(basis);
  return { ...fallen, checks: [...fallen.checks, finding] };
}
