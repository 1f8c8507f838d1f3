import type { ApplicablePolicy } from '../policy/appraise.ts';
import type { HostRecord, ResultRecord, TrustStatus } from '../store/records.ts';
import type { Reappraisal } from './reappraise.ts';

/** A concerned host, as it is and as it would be. */
export interface SimulatedHost {
  readonly host: HostRecord;
  readonly result: ResultRecord;
  readonly before: ApplicablePolicy;
  readonly after: ApplicablePolicy;
  readonly outcome: Reappraisal;
}

export interface Transition {
  readonly from: TrustStatus;
  /** Null where it cannot be said. */
  readonly to: TrustStatus | null;
  /** It rests on PCRs that the last quote did not cover. */
  readonly assumed: boolean;
  readonly hosts: number;
}

export interface JudgeChange {
  /** Id of the policy; '' where none judges. */
  readonly from: string;
  readonly to: string;
  /** None would judge, because several select the hosts. */
  readonly ambiguous: boolean;
  readonly hosts: number;
}

export interface SimulationSummary {
  /** Active hosts that were looked at. */
  readonly hosts: number;
  readonly concerned: number;
  readonly worse: number;
  readonly better: number;
  readonly unknown: number;
  /** Of the unknown, those that a relying party may trust now. */
  readonly unknownTrusted: number;
  readonly assumed: number;
  readonly transitions: readonly Transition[];
  readonly judges: readonly JudgeChange[];
}

/** Best first: what a relying party would sooner have. */
const RANK: Readonly<Record<TrustStatus, number>> = { affirming: 0, warning: 1, none: 2, contraindicated: 3 };
const MAX_JUDGES = 1_000;

/** Counts what a simulation finds. */
export class SimulationTally {
  readonly #transitions = new Map<string, Transition>();
  readonly #judges = new Map<string, JudgeChange>();
  #hosts = 0;
  #concerned = 0;

  get hosts(): number {
    return this.#hosts;
  }

  /** A host that was looked at, whether it is concerned or not. */
  look(): void {
    this.#hosts += 1;
  }

  add({ result, before, after, outcome }: SimulatedHost): void {
    this.#concerned += 1;
    const transition = { from: result.status, to: statusOf(outcome), assumed: outcome.kind === 'assumed' };
    count(this.#transitions, `${transition.from} ${transition.to} ${transition.assumed}`, transition);
    const judge = { from: policyIdOf(before), to: policyIdOf(after), ambiguous: after.kind === 'ambiguous' };
    const key = `${judge.from} ${judge.to} ${judge.ambiguous}`;
    if (this.#judges.has(key) || this.#judges.size < MAX_JUDGES) count(this.#judges, key, judge);
  }

  summary(): SimulationSummary {
    const transitions = [...this.#transitions.values()];
    const sum = (holds: (transition: Transition) => boolean): number =>
      transitions.filter(holds).reduce((total, { hosts }) => total + hosts, 0);
    return {
      hosts: this.#hosts,
      concerned: this.#concerned,
      worse: sum(({ from, to }) => to !== null && RANK[to] > RANK[from]),
      better: sum(({ from, to }) => to !== null && RANK[to] < RANK[from]),
      unknown: sum(({ to }) => to === null),
      unknownTrusted: sum(({ from, to }) => to === null && RANK[from] <= RANK.warning),
      assumed: sum(({ assumed }) => assumed),
      transitions: mostFirst(this.#transitions),
      judges: mostFirst(this.#judges),
    };
  }
}

/** The status that a host would have; null where it cannot be said. */
function statusOf(outcome: Reappraisal): TrustStatus | null {
  return outcome.kind === 'unknown' ? null : outcome.verdict.status;
}

/** Whether the status of a host would be another, or that cannot be said. */
export function differs({ result, outcome }: SimulatedHost): boolean {
  return statusOf(outcome) !== result.status;
}

export function policyIdOf(applicable: ApplicablePolicy): string {
  return applicable.kind === 'policy' ? applicable.policy.id : '';
}

/** Equal counts in the order of their keys, whatever the order of the hosts. */
function mostFirst<T extends { readonly hosts: number }>(counts: ReadonlyMap<string, T>): readonly T[] {
  return [...counts]
    .toSorted(([left, a], [right, b]) => b.hosts - a.hosts || (left < right ? -1 : 1))
    .map(([, value]) => value);
}

function count<T extends { readonly hosts: number }>(
  counts: Map<string, T>,
  key: string,
  what: Omit<T, 'hosts'>,
): void {
  counts.set(key, { ...what, hosts: (counts.get(key)?.hosts ?? 0) + 1 } as T);
}
