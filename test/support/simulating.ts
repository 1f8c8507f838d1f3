/** Simulations in memory, over the rooms of a house. */
import { simulate } from '../../server/attestation/simulate.ts';
import type { SimulationRequest } from '../../server/attestation/simulate.ts';
import type { SimulatedHost, SimulationSummary } from '../../server/attestation/simulation-tally.ts';
import type { TrustPolicy } from '../../server/policy/policy.ts';
import type { House } from './test-service.ts';

export interface Simulated {
  /** Concerned hosts by id. */
  readonly hosts: ReadonlyMap<string, SimulatedHost>;
  readonly summary: SimulationSummary;
}

/** What would come of a change; of applying a policy unless told otherwise. */
export async function simulated(
  { services }: Pick<House, 'services'>,
  change: TrustPolicy | { readonly deleted: string } | null,
  options: Partial<Omit<SimulationRequest, 'change'>> = {},
): Promise<Simulated> {
  const hosts = new Map<string, SimulatedHost>();
  let summary: SimulationSummary | null = null;
  const request = {
    substitutes: [],
    hostIds: [],
    matchLabels: {},
    scope: {},
    signal: new AbortController().signal,
    ...options,
  };
  const wanted: SimulationRequest['change'] =
    change === null
      ? { kind: 'none' }
      : 'deleted' in change
        ? { kind: 'delete', id: change.deleted }
        : { kind: 'apply', policy: change };
  for await (const event of simulate(services, { ...request, change: wanted })) {
    if (event.kind === 'host') hosts.set(event.host.id, event);
    if (event.kind === 'summary') summary = event.summary;
  }
  if (summary === null) throw new Error('the simulation ended without a summary');
  return { hosts, summary };
}
