import type { MessageInitShape } from '@bufbuild/protobuf';

import type {
  SimulateTrustPolicyRequest,
  SimulateTrustPolicyResponseSchema,
  TrustPolicy as ProtoPolicy,
} from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { Context } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import { simulate } from '../attestation/simulate.ts';
import type { SimulationEvent, SimulationRequest, SimulationServices } from '../attestation/simulate.ts';
import { differs } from '../attestation/simulation-tally.ts';
import { referencesOf } from '../policy/policy.ts';
import type { TrustPolicy } from '../policy/policy.ts';
import type { ReferenceSubstitute } from '../policy/substitute-references.ts';
import type { Store } from '../store/store.ts';
import type { Access } from './access.ts';
import { simulatedToProto, simulationFromProto, simulationSummaryToProto } from './convert-simulation.ts';
import { CutOff } from './cut-off.ts';

/** Simulations of all callers at once. */
const MAX_AT_ONCE = 4;

export interface SimulationsOptions {
  readonly access: Access;
  readonly store: Store;
  /** What rounds are judged with. */
  readonly services: Omit<SimulationServices, 'store'>;
  /** Makes a policy of what was written; throws with every problem. */
  readonly resolve: (policy: ProtoPolicy) => TrustPolicy;
  /** Throws where it names a set or keyring that is not there. */
  readonly checkReferences: (policy: TrustPolicy) => Promise<void>;
}

/** Runs simulations: one for each caller, a few in all. */
export class Simulations {
  readonly #options: SimulationsOptions;
  readonly #callers = new Set<string>();

  constructor(options: SimulationsOptions) {
    this.#options = options;
  }

  async *run(
    request: SimulateTrustPolicyRequest,
    context: Context,
  ): AsyncGenerator<MessageInitShape<typeof SimulateTrustPolicyResponseSchema>> {
    const { access, store, services, resolve } = this.#options;
    const { maxVerdicts, ...wanted } = simulationFromProto(request, resolve);
    const scope = access.scope(context);
    using _turn = this.#begin(access.actor(context).actor);
    using _checking = access.keepChecking(context);
    await this.#checkNames({ ...wanted, scope });
    const signal = AbortSignal.any([context.signal, context.draining]);
    // The turn of a caller who does not read is another's.
    using cutOff = new CutOff(context, tooSlow);
    for await (const event of tell(simulate({ ...services, store }, { ...wanted, scope, signal }), maxVerdicts)) {
      cutOff.begin();
      yield { event };
      cutOff.end();
    }
    if (context.draining.aborted) {
      throw new StatusError({
        code: 'UNAVAILABLE',
        reason: 'SHUTTING_DOWN',
        message: 'the service is stopping; simulate again elsewhere',
        retryAfterMillis: 1_000,
      });
    }
  }

  #begin(caller: string): Disposable {
    if (this.#callers.has(caller) || this.#callers.size >= MAX_AT_ONCE) {
      throw new StatusError({
        code: 'RESOURCE_EXHAUSTED',
        reason: 'SIMULATION_BUSY',
        message: this.#callers.has(caller)
          ? 'a simulation of this identity is running already'
          : 'enough simulations are running already',
        retryAfterMillis: 2_000,
      });
    }
    this.#callers.add(caller);
    return { [Symbol.dispose]: () => void this.#callers.delete(caller) };
  }

  /** What is named must be there: nothing would be said of it, and that looks like nothing to say. */
  async #checkNames({
    change,
    substitutes,
    hostIds,
    scope,
  }: Pick<SimulationRequest, 'change' | 'substitutes' | 'hostIds' | 'scope'>): Promise<void> {
    const { store, checkReferences } = this.#options;
    if (change.kind === 'apply') await checkReferences(change.policy);
    if (change.kind === 'delete' && (await store.getPolicy(change.id, null)) === null)
      throw notFound(`trustPolicies/${change.id}`);
    const named = substitutes.flatMap(({ name, candidate }) => [name, candidate]);
    const references = await Promise.all(named.map((name) => findReference(store, name)));
    const unknown = named[references.indexOf(null)];
    if (unknown !== undefined) throw notFound(unknown);
    const policies = substitutes.length === 0 ? [] : (await store.allPolicies()).policies;
    const judging = [
      ...policies.filter(({ id }) => id !== changedId(change)).flatMap(({ references }) => references),
      ...(change.kind === 'apply' ? referencesOf(change.policy) : []),
    ];
    const unnamed = substitutes.find(({ name }) => !judging.includes(name));
    if (unnamed !== undefined) throw nothingJudgedBy(unnamed);
    const hosts = await Promise.all(hostIds.map((id) => store.findHost(id, scope)));
    const missing = hosts.indexOf(null);
    if (missing >= 0) throw notFound(`hosts/${hostIds[missing]}`);
  }
}

function changedId(change: SimulationRequest['change']): string | null {
  switch (change.kind) {
    case 'apply':
      return change.policy.id;
    case 'delete':
      return change.id;
    case 'none':
      return null;
  }
}

/** Often the two were taken for each other: the candidate is the one that no policy names. */
function nothingJudgedBy({ name, candidate }: ReferenceSubstitute): StatusError {
  return new StatusError({
    code: 'FAILED_PRECONDITION',
    reason: 'REFERENCE_UNNAMED',
    message: `no policy names ${name}, so that no host would be judged by ${candidate} in its place`,
  });
}

function findReference(store: Pick<Store, 'getReferenceSet' | 'getKeyring'>, name: string): Promise<object | null> {
  const id = name.slice(name.indexOf('/') + 1);
  return name.startsWith('keyrings/') ? store.getKeyring(id, null) : store.getReferenceSet(id, null);
}

type ResponseEvent = NonNullable<MessageInitShape<typeof SimulateTrustPolicyResponseSchema>['event']>;

/** What the caller is told: verdicts that differ, so many, and the rest counted. */
async function* tell(
  events: AsyncIterable<SimulationEvent>,
  maxVerdicts: number,
): AsyncGenerator<ResponseEvent, void, undefined> {
  let listed = 0;
  let unlisted = 0;
  for await (const event of events) {
    if (event.kind === 'summary') yield { case: 'summary', value: simulationSummaryToProto(event.summary, unlisted) };
    else if (event.kind === 'progress') yield { case: 'progress', value: { hostCount: BigInt(event.hosts) } };
    else if (!differs(event)) continue;
    else if (listed < maxVerdicts) {
      listed += 1;
      yield { case: 'verdict', value: simulatedToProto(event) };
    } else unlisted += 1;
  }
}

function tooSlow(): StatusError {
  return new StatusError({
    code: 'RESOURCE_EXHAUSTED',
    reason: 'CALLER_TOO_SLOW',
    message: 'the caller does not read what the simulation tells',
  });
}

function notFound(name: string): StatusError {
  return new StatusError({ code: 'NOT_FOUND', reason: 'NOT_FOUND', message: `${name} is not known` });
}
