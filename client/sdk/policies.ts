import { fromJson } from '@bufbuild/protobuf';
import type { JsonValue, MessageShape } from '@bufbuild/protobuf';
import { RpcError } from '../../proto/rpc-error.ts';
import { TrustPolicySchema, TrustPolicyService } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import type { CallSettings, Connection } from './connection.ts';
import { fromProtoPolicy, required } from './convert.ts';
import { fromProtoExplanation } from './host-explanation.ts';
import type { HostExplanation } from './host-explanation.ts';
import { allPages, PAGE_SIZE, resourceName } from './page.ts';
import type { JsonObject, Page, PolicyProblem, TrustPolicy } from './resources.ts';
import { findPolicyProblems, formatPath } from './policy-problems.ts';
import { SdkError } from './sdk-error.ts';
import { fromProtoSimulationEvent } from './simulation.ts';
import type { SimulationEvent } from './simulation.ts';

/** Which hosts a simulation looks at, and how many of them it tells of. */
export interface SimulationOptions {
  readonly hosts?: readonly string[];
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly maxVerdicts?: number;
  /** Sets and keyrings that would stand in the place of those that policies name; resource names. */
  readonly substitutes?: readonly { readonly name: string; readonly candidate: string }[];
}

/** A large fleet takes a while. */
const SIMULATION_TIMEOUT_MS = 600_000;

/** Trust policies. They go in as protobuf JSON (both `pcrRules` and `pcr_rules` are read). */
export class Policies {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof TrustPolicyService>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#client = connection.channel.client(TrustPolicyService);
  }

  /** @param version 0 means the newest */
  async get(
    policy: string,
    options: { readonly version?: bigint } = {},
    settings?: CallSettings,
  ): Promise<TrustPolicy> {
    const request = { name: policyName(policy), version: options.version ?? 0n };
    const answer = await this.#client.getTrustPolicy(request, this.#connection.call(settings));
    return fromProtoPolicy(required(answer.trustPolicy, 'trust policy'));
  }

  async page(pageToken: string, settings?: CallSettings): Promise<Page<TrustPolicy>> {
    const request = { pageSize: PAGE_SIZE, pageToken };
    const answer = await this.#client.listTrustPolicies(request, this.#connection.call(settings));
    return { items: answer.trustPolicies.map(fromProtoPolicy), nextPageToken: answer.nextPageToken };
  }

  /** The newest version of every policy, in the order of their names. */
  list(settings?: CallSettings): AsyncGenerator<TrustPolicy> {
    return allPages((token) => this.page(token, settings));
  }

  /** Makes the policy, or a new version of it where it exists. With an etag, only if nothing changed since. */
  async apply(
    policy: JsonObject,
    settings?: CallSettings,
  ): Promise<{ readonly created: boolean; readonly policy: TrustPolicy }> {
    const trustPolicy = parsePolicyJson(policy);
    const call = (): ReturnType<Connection['call']> => this.#connection.call(settings);
    const update = async (): Promise<TrustPolicy> => {
      const answer = await this.#client.updateTrustPolicy({ trustPolicy }, call());
      return fromProtoPolicy(required(answer.trustPolicy, 'trust policy'));
    };
    try {
      return { created: false, policy: await update() };
    } catch (error) {
      // An etag says that a version was read, which must not come back to life.
      if (!(error instanceof RpcError) || error.code !== 'NOT_FOUND' || trustPolicy.etag !== '') throw error;
    }
    try {
      const answer = await this.#client.createTrustPolicy({ trustPolicy }, call());
      return { created: true, policy: fromProtoPolicy(required(answer.trustPolicy, 'trust policy')) };
    } catch (error) {
      // Somebody else made it in between.
      if (!(error instanceof RpcError) || error.code !== 'ALREADY_EXISTS') throw error;
      return { created: false, policy: await update() };
    }
  }

  /** Every problem that the service sees; none for a good policy. Changes nothing. */
  async validate(policy: JsonObject, settings?: CallSettings): Promise<readonly PolicyProblem[]> {
    const request = { trustPolicy: parsePolicyJson(policy) };
    const { problems } = await this.#client.validateTrustPolicy(request, this.#connection.call(settings));
    return problems.map(({ field, message }) => ({ field, message }));
  }

  /**
   * What would come of applying a policy, or of deleting the one that is named, or, with null, of the substitutes alone; nothing is
   * stored. Ends with the summary: without it, it is not complete.
   */
  async *simulate(
    change: { readonly policy: JsonObject } | { readonly deleted: string } | null,
    options: SimulationOptions = {},
    settings?: CallSettings,
  ): AsyncGenerator<SimulationEvent> {
    const request = {
      ...(change === null ? {} : { change: changeOf(change) }),
      substitutes: (options.substitutes ?? []).map((each) => ({ ...each })),
      hosts: (options.hosts ?? []).map((host) => resourceName('hosts', host)),
      matchLabels: { ...options.matchLabels },
      maxVerdicts: options.maxVerdicts ?? 0,
    };
    const call = this.#connection.call({ timeoutMillis: SIMULATION_TIMEOUT_MS, ...settings });
    for await (const message of this.#client.simulateTrustPolicy(request, call)) {
      const event = fromProtoSimulationEvent(message);
      if (event !== undefined) yield event;
    }
  }

  /** Which policy judges a host and why, and what of it holds. */
  async explain(host: string, settings?: CallSettings): Promise<HostExplanation> {
    const request = { host: resourceName('hosts', host) };
    const answer = await this.#client.explainHost(request, this.#connection.call(settings));
    return fromProtoExplanation(required(answer.explanation, 'explanation'));
  }

  /** @param options.etag of the version that was read; without it whatever is there is deleted */
  async delete(policy: string, options: { readonly etag?: string } = {}, settings?: CallSettings): Promise<void> {
    const request = { name: policyName(policy), etag: options.etag ?? '' };
    await this.#client.deleteTrustPolicy(request, this.#connection.call(settings));
  }
}

function changeOf(change: { readonly policy: JsonObject } | { readonly deleted: string }) {
  return 'policy' in change
    ? ({ case: 'trustPolicy', value: parsePolicyJson(change.policy) } as const)
    : ({ case: 'deletedTrustPolicy', value: policyName(change.deleted) } as const);
}

/** The message of a policy's JSON. Throws {@link SdkError} `bad_policy` with every field that is wrong. */
function parsePolicyJson(policy: JsonObject): MessageShape<typeof TrustPolicySchema> {
  const problems = findPolicyProblems(policy).map(({ path, message }) => `${formatPath(path)}: ${message}`);
  if (problems.length > 0) throw new SdkError('bad_policy', 'not a trust policy', { problems });
  try {
    const message = fromJson(TrustPolicySchema, policy as JsonValue);
    return { ...message, name: message.name === '' ? '' : policyName(message.name) };
  } catch (cause) {
    throw new SdkError('bad_policy', `not a trust policy: ${cause instanceof Error ? cause.message : 'unknown'}`, {
      cause,
    });
  }
}

function policyName(policy: string): string {
  return resourceName('trustPolicies', policy);
}
