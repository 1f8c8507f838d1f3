import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { ConnectivitySchema, TrustStatusSchema } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import {
  CheckHostResponseSchema,
  PlacementOrderSchema,
  PlacementService,
  PlacementTierSchema,
  SelectHostsResponseSchema,
} from '../../proto/gen/assay/v1/placement_pb.ts';
import type {
  PlacementHost as HostMessage,
  PlacementRequirementsSchema,
} from '../../proto/gen/assay/v1/placement_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import type { CallSettings, Connection } from './connection.ts';
import { dateOf, enumNumber, enumWord, fromProtoToken, jsonOf, required } from './convert.ts';
import { resourceName } from './page.ts';
import type {
  CheckedHost,
  Connectivity,
  PlacementHost,
  PlacementOrder,
  PlacementRequirements,
  Selection,
  TokenRequest,
  TrustStatus,
} from './resources.ts';

export interface SelectOptions {
  /** Default 1. */
  readonly count?: number;
  /** Label over whose values the hosts are spread. */
  readonly spreadBy?: string;
  /** Default FRESHEST. */
  readonly order?: PlacementOrder;
  /** How many refused hosts are told with their reasons. */
  readonly explain?: number;
  /** Asks for the result of each host as a signed token; at most 100 hosts then. */
  readonly token?: TokenRequest;
}

/** Where a workload may go. */
export class Placement {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof PlacementService>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#client = connection.channel.client(PlacementService);
  }

  /** Hosts that satisfy the requirements now, best first. */
  async select(
    requirements: PlacementRequirements = {},
    options: SelectOptions = {},
    settings?: CallSettings,
  ): Promise<Selection> {
    const request = {
      requirements: toProtoRequirements(requirements),
      count: options.count ?? 1,
      spreadBy: options.spreadBy ?? '',
      order: enumNumber(PlacementOrderSchema, options.order ?? 'FRESHEST'),
      explain: options.explain ?? 0,
      ...tokenOf(options),
    };
    const answer = await this.#client.selectHosts(request, this.#connection.call(settings));
    return {
      hosts: answer.hosts.map(fromProtoHost),
      selectableCount: answer.selectableCount,
      refused: answer.refused.map(({ host, reasons, checkReasons }) => ({
        host: fromProtoHost(required(host, 'host')),
        reasons,
        checkReasons,
      })),
      refusalCounts: answer.refusalCounts.map(({ reason, count }) => ({ reason, count })),
      answerTime: dateOf(answer.answerTime),
      json: jsonOf(SelectHostsResponseSchema, answer),
    };
  }

  /** One host at this moment, by its id, its resource name, or the operator's name for it: for the moment of binding. */
  async check(
    host: { readonly host: string } | { readonly nodeName: string },
    requirements: PlacementRequirements = {},
    settings?: CallSettings & Pick<SelectOptions, 'token'>,
  ): Promise<CheckedHost> {
    const subject =
      'host' in host
        ? ({ case: 'host', value: resourceName('hosts', host.host) } as const)
        : ({ case: 'nodeName', value: host.nodeName } as const);
    const request = { subject, requirements: toProtoRequirements(requirements), ...tokenOf(settings) };
    const answer = await this.#client.checkHost(request, this.#connection.call(settings));
    return {
      selectable: answer.selectable,
      host: fromProtoHost(required(answer.host, 'host')),
      reasons: answer.reasons,
      checkReasons: answer.checkReasons,
      answerTime: dateOf(answer.answerTime),
      json: jsonOf(CheckHostResponseSchema, answer),
    };
  }
}

function tokenOf({ token }: Pick<SelectOptions, 'token'> = {}) {
  return token === undefined ? {} : { token: { ...token } };
}

function toProtoRequirements(given: PlacementRequirements): MessageInitShape<typeof PlacementRequirementsSchema> {
  const { trustPolicy = '', maximumAgeMillis, exclude = {} } = given;
  return {
    minimumTier: enumNumber(PlacementTierSchema, given.minimumTier ?? 'AFFIRMING'),
    trustPolicy: trustPolicy === '' ? '' : resourceName('trustPolicies', trustPolicy),
    minimumPolicyVersion: given.minimumPolicyVersion ?? 0n,
    ...(maximumAgeMillis === undefined ? {} : { maximumAge: durationFromMs(maximumAgeMillis) }),
    matchLabels: { ...given.matchLabels },
    exclusions: {
      hosts: (exclude.hosts ?? []).map((host) => resourceName('hosts', host)),
      nodeNames: [...(exclude.nodeNames ?? [])],
      labels: (exclude.labels ?? []).map(({ key, value }) => ({ key, value })),
    },
  };
}

function fromProtoHost(message: HostMessage): PlacementHost {
  return {
    host: message.host,
    nodeName: message.nodeName,
    revision: message.revision,
    status: enumWord(TrustStatusSchema, message.status) as TrustStatus,
    trustPolicy: message.trustPolicy,
    trustPolicyVersion: message.trustPolicyVersion,
    challengeTime: dateOf(message.challengeTime),
    validUntil: dateOf(message.validUntil),
    connectivity: enumWord(ConnectivitySchema, message.connectivity) as Connectivity,
    labels: message.labels,
    ...(message.token === undefined ? {} : { token: fromProtoToken(message.token) }),
  };
}
