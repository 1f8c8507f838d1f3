import { setImmediate, setTimeout } from 'node:timers/promises';

import type { Endorsements } from '../endorsement/endorsements.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import { changedPolicies, judgeOf, readPolicies } from '../policy/policy-snapshot.ts';
import type { PolicyChange, PolicySnapshot } from '../policy/policy-snapshot.ts';
import { substituteReferences } from '../policy/substitute-references.ts';
import type { ReferenceSubstitute } from '../policy/substitute-references.ts';
import { matchesLabels } from '../store/attachment.ts';
import { presentResult } from '../store/own-verdicts.ts';
import type { HostRecord, Labels, ResultRecord } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { BootCache } from '../verifier/boot-cache.ts';
import { judgedBy } from './kept-evidence.ts';
import { judgeKeptRuntime } from './kept-runtime.ts';
import { endorsementOf } from './known.ts';
import { reappraise } from './reappraise.ts';
import type { Reappraisal } from './reappraise.ts';
import { loadBoot } from './round-boot.ts';
import type { RuntimeServices } from './runtime-services.ts';
import { SimulationTally } from './simulation-tally.ts';
import type { SimulatedHost, SimulationSummary } from './simulation-tally.ts';

/** Hosts that are read together. */
const PAGE = 50;
/** What rounds get for themselves after each page, milliseconds. */
const REST = 10;

export interface SimulationServices {
  readonly store: Pick<
    Store,
    | 'allPolicies'
    | 'listHosts'
    | 'findHost'
    | 'listResults'
    | 'reappraisalBases'
    | 'getPolicy'
    | 'getBoot'
    | 'getRuntime'
    | 'readLog'
    | 'getReferenceSet'
    | 'getKeyring'
    | 'now'
  >;
  readonly endorsements: Pick<Endorsements, 'judge'>;
  readonly boots: BootCache;
  readonly runtimes: RuntimeServices;
}

export interface SimulationRequest {
  readonly change: PolicyChange;
  /** Each for another name. */
  readonly substitutes: readonly ReferenceSubstitute[];
  /** Only these hosts; empty: every one. */
  readonly hostIds: readonly string[];
  readonly matchLabels: Labels;
  readonly scope: Labels;
  /** Ends the simulation between two hosts. */
  readonly signal: AbortSignal;
}

export type SimulationEvent =
  /** A concerned host, whether its status would change or not. */
  | ({ readonly kind: 'host' } & SimulatedHost)
  | { readonly kind: 'progress'; readonly hosts: number }
  | { readonly kind: 'summary'; readonly summary: SimulationSummary };

/** Policies before and after. */
interface Policies {
  readonly before: PolicySnapshot;
  readonly after: PolicySnapshot;
}

/**
 * Judges the kept evidence of every active host that another policy, or another version, would judge. Hosts are read page by page,
 * and rounds go on between any two of them. Nothing is written.
 */
export async function* simulate(
  services: SimulationServices,
  request: SimulationRequest,
): AsyncGenerator<SimulationEvent, void, undefined> {
  const before = await readPolicies(services.store);
  const changed = await changedPolicies(services.store, before, request.change);
  const after = await substituteReferences(services.store, { before, changed }, request.substitutes);
  const policies = { before, after };
  const tally = new SimulationTally();
  for await (const hosts of hostPages(services.store, request)) {
    const results = await resultsOf(services.store, hosts);
    const bases = await basesOf(services.store, hosts);
    for (const host of hosts) {
      if (request.signal.aborted) return;
      tally.look();
      const simulated = await simulateHost(services, policies, {
        host,
        result: results.get(host.id),
        basis: bases.get(host.id),
      });
      if (simulated !== null) {
        tally.add(simulated);
        yield { kind: 'host', ...simulated };
      }
      await setImmediate();
    }
    yield { kind: 'progress', hosts: tally.hosts };
    await setTimeout(REST);
  }
  if (!request.signal.aborted) yield { kind: 'summary', summary: tally.summary() };
}

interface SimulationSubject {
  readonly host: HostRecord;
  readonly result: ResultRecord | undefined;
  /** The last one that rests on evidence, where the verdict has fallen since. */
  readonly basis: ResultRecord | undefined;
}

/** Null where the same version of the same policy judges the host as before. */
async function simulateHost(
  services: SimulationServices,
  { before, after }: Policies,
  { host, result, basis }: SimulationSubject,
): Promise<SimulatedHost | null> {
  const present = judgeOf(before, host);
  const applicable = judgeOf(after, host);
  // A host that was deleted since its page was read has no result.
  if (result === undefined || isSame(present, applicable)) return null;
  const last = basis ?? result;
  const kept = { host, result: last, boot: await loadBoot(services.store, services.boots, host.id) };
  const runtime = await judgeKeptRuntime(services, kept, applicable);
  const { epoch, ...endorsement } = await endorsementOf(services.endorsements, host);
  const outcome: Reappraisal = reappraise(kept, {
    judged: isOf(last, present) ? present : await judgedBy(services.store, last),
    applicable,
    epochs: { policy: after.epochs.policy, endorsement: epoch },
    endorsement,
    runtime,
  });
  return { host, result, before: present, after: applicable, outcome };
}

async function* hostPages(
  store: SimulationServices['store'],
  { hostIds, matchLabels, scope }: SimulationRequest,
): AsyncGenerator<readonly HostRecord[]> {
  if (hostIds.length > 0) {
    const found = await Promise.all([...new Set(hostIds)].map((id) => store.findHost(id, scope)));
    yield found.flatMap((host) => (host?.state === 'active' && matchesLabels(host.labels, matchLabels) ? [host] : []));
    return;
  }
  let after: string | null = '';
  while (after !== null) {
    const page = await store.listHosts({ limit: PAGE, after }, { states: ['active'], matchLabels, scope });
    yield page.items;
    after = page.next;
  }
}

async function resultsOf(
  store: SimulationServices['store'],
  hosts: readonly HostRecord[],
): Promise<ReadonlyMap<string, ResultRecord>> {
  if (hosts.length === 0) return new Map();
  const filter = { hostIds: hosts.map(({ id }) => id), statuses: [], policyIds: [], matchLabels: {}, scope: {} };
  const { items } = await store.listResults({ limit: hosts.length, after: '' }, filter);
  return new Map(items.map((result) => [result.hostId, result]));
}

/** Of the hosts whose verdict has fallen since their last evidence, the result that rests on it. */
async function basesOf(
  store: SimulationServices['store'],
  hosts: readonly HostRecord[],
): Promise<ReadonlyMap<string, ResultRecord>> {
  const bases = await store.reappraisalBases(hosts.map(({ id }) => id));
  const now = store.now();
  return new Map(
    bases.map(({ basis, validUntil }) => [basis.hostId, presentResult({ ...basis, validUntil }, now)] as const),
  );
}

function isSame(left: ApplicablePolicy, right: ApplicablePolicy): boolean {
  if (left.kind === 'policy' && right.kind === 'policy') {
    return left.policy.id === right.policy.id && left.version === right.version;
  }
  if (left.kind === 'ambiguous' && right.kind === 'ambiguous') return left.ids.join('\n') === right.ids.join('\n');
  return left.kind === right.kind;
}

/** Whether a result was made by this policy. */
function isOf({ policyId, policyVersion }: ResultRecord, applicable: ApplicablePolicy): boolean {
  return applicable.kind === 'policy' && applicable.policy.id === policyId && applicable.version === policyVersion;
}
