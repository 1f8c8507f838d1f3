import { describePolicy } from '../policy/describe-policy.ts';
import type { TrustPolicy } from '../policy/policy.ts';
import type { CheckRecord, PlatformRecord, ResultRecord, TrustStatus } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { ReportTurns } from './report-turns.ts';

/** Bounds of a report, so that it fits a message and a token whatever policies and hosts say. */
const MAX_POLICIES = 32;
const MAX_REQUIREMENTS = 32;
const MAX_REASONS = 4;
/** Of a sentence, bytes of UTF-8: what a policy requires, and what a check found. */
const MAX_REQUIREMENT = 512;
const MAX_MESSAGE = 256;

export type StatusCounts = Readonly<Record<TrustStatus, number>>;

/** A list that may have been cut, with the length that it had. */
export interface Cut<T> {
  readonly listed: readonly T[];
  readonly total: number;
}

export interface PolicyReport {
  readonly id: string;
  readonly version: number;
  readonly description: string;
  readonly requirements: Cut<string>;
  readonly hosts: StatusCounts;
}

export interface HostException {
  readonly result: ResultRecord;
  readonly reasons: Cut<Pick<CheckRecord, 'id' | 'reason' | 'message'>>;
}

/** The security status of the platform at one time. */
export interface PlatformReport {
  readonly deployment: string;
  readonly time: number;
  readonly revision: number;
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly hosts: StatusCounts;
  readonly policies: Cut<PolicyReport>;
  readonly oldestChallenge: number | null;
  readonly earliestValidUntil: number | null;
  readonly exceptions: Cut<HostException>;
}

export type ReportDemand = Parameters<typeof reportPlatform>[1];

/** Reads of the whole platform are heavy: they take turns, and who asks for the same while one is under way gets that one. */
export class PlatformReporter {
  readonly #store: Parameters<typeof reportPlatform>[0];
  readonly #turns: ReportTurns;
  readonly #underWay = new Map<string, Promise<PlatformReport>>();

  constructor(store: Parameters<typeof reportPlatform>[0] & Pick<Store, 'now'>) {
    this.#store = store;
    this.#turns = new ReportTurns(() => store.now());
  }

  report(demand: ReportDemand): Promise<PlatformReport> {
    const key = JSON.stringify(demand);
    const present = this.#underWay.get(key);
    if (present !== undefined) return present;
    const made = this.#turns.take(() => reportPlatform(this.#store, demand)).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, made);
    return made;
  }
}

/** Reads and words the report: every number in it is of one state of the store. */
export async function reportPlatform(
  store: Pick<Store, 'platform' | 'deployment'>,
  demand: {
    /** Labels that every host of the report has, for each reason for which it must. */
    readonly selectors: readonly Readonly<Record<string, string>>[];
    readonly maxExceptions: number;
  },
): Promise<PlatformReport> {
  const { selectors, maxExceptions } = demand;
  const record = await store.platform(selectors, { exceptions: maxExceptions, policies: MAX_POLICIES });
  const hosts = countStatuses(record.groups);
  const judging = new Set(record.groups.flatMap((group) => (group.policyId === '' ? [] : [keyOf(group)])));
  return {
    deployment: store.deployment,
    time: record.time,
    revision: record.revision,
    matchLabels: Object.fromEntries(selectors.flatMap((labels) => Object.entries(labels))),
    hosts,
    policies: { listed: record.policies.map((policy) => reportPolicy(policy, record)), total: judging.size },
    oldestChallenge: record.oldestChallenge,
    earliestValidUntil: record.earliestValidUntil,
    exceptions: { listed: record.exceptions.map(reportException), total: hostCount(hosts) - hosts.affirming },
  };
}

export function hostCount(counts: StatusCounts): number {
  return counts.none + counts.affirming + counts.warning + counts.contraindicated;
}

function reportPolicy(policy: PlatformRecord['policies'][number], { groups }: PlatformRecord): PolicyReport {
  const { id, version } = policy;
  // The body was written from this very shape; the store gives back what it was given.
  const body = JSON.parse(policy.body) as TrustPolicy;
  const requirements = describePolicy(body);
  return {
    id,
    version,
    description: cutText(body.description, MAX_REQUIREMENT),
    requirements: {
      listed: requirements.slice(0, MAX_REQUIREMENTS).map((sentence) => cutText(sentence, MAX_REQUIREMENT)),
      total: requirements.length,
    },
    hosts: countStatuses(groups.filter((group) => group.policyId === id && group.policyVersion === version)),
  };
}

function reportException(result: ResultRecord): HostException {
  const open = result.checks.filter(({ outcome }) => outcome !== 'passed');
  const listed = open
    .slice(0, MAX_REASONS)
    .map(({ id, reason, message }) => ({ id, reason, message: cutText(message, MAX_MESSAGE) }));
  return { result, reasons: { listed, total: open.length } };
}

function countStatuses(groups: PlatformRecord['groups']): StatusCounts {
  const counts = { none: 0, affirming: 0, warning: 0, contraindicated: 0 };
  for (const { status, hosts } of groups) counts[status] += hosts;
  return counts;
}

function keyOf({ policyId, policyVersion }: PlatformRecord['groups'][number]): string {
  return `${policyId}@${policyVersion}`;
}

/** Whole characters; what is cut off shows as an ellipsis. */
function cutText(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  // Bytes of a character that was cut through decode to one replacement character, or several.
  return `${Buffer.from(text)
    .subarray(0, maxBytes)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')}…`;
}
