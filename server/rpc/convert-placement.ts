import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Duration } from '@bufbuild/protobuf/wkt';

import { isHostId } from '../../proto/certificate-profile.ts';
import {
  PlacementHostSchema,
  PlacementOrder as ProtoOrder,
  PlacementTier as ProtoTier,
} from '../../proto/gen/assay/v1/placement_pb.ts';
import type {
  PlacementExclusions,
  PlacementHost,
  PlacementRequirements as ProtoRequirements,
} from '../../proto/gen/assay/v1/placement_pb.ts';
import type { PlacementOrder } from '../placement/placement-index.ts';
import type { PlacementRequirements, PlacementTier } from '../placement/requirements.ts';
import { isPolicyId, labelProblem } from '../policy/policy.ts';
import type { SignedToken } from '../result/issue-token.ts';
import type { PlacementRecord, ResultRecord } from '../store/records.ts';
import { nodeNameProblem } from './convert-host.ts';
import { CONNECTIVITY, labelsFromProto, STATUSES } from './convert-result.ts';
import { tokenToProto } from './convert-token.ts';
import { idOf, invalid, safeInteger } from './invalid.ts';

const MAX_EXCLUDED = 1000;
const MAX_EXCLUDED_LABELS = 64;
const MAX_LABELS = 16;
/** Of the 4 MiB that clients receive by default; the refused hosts, at most 100, take less than one. */
const MAX_HOSTS_BYTES = 3 * 1024 * 1024;

const TIERS: ReadonlyMap<ProtoTier, PlacementTier> = new Map([
  [ProtoTier.UNSPECIFIED, 'affirming'],
  [ProtoTier.AFFIRMING, 'affirming'],
  [ProtoTier.WARNING, 'warning'],
]);

const ORDERS: ReadonlyMap<ProtoOrder, PlacementOrder> = new Map([
  [ProtoOrder.UNSPECIFIED, 'freshest'],
  [ProtoOrder.FRESHEST, 'freshest'],
  [ProtoOrder.LONGEST_VALID, 'longest_valid'],
]);

/** Left out: an affirming host, by whichever policy. What is not understood is refused, never ignored. */
export function requirementsFromProto(given: ProtoRequirements | undefined): PlacementRequirements {
  const field = (name: string): string => `requirements.${name}`;
  const minimumTier = TIERS.get(given?.minimumTier ?? ProtoTier.UNSPECIFIED);
  if (minimumTier === undefined) throw invalid(field('minimum_tier'), 'is no tier that is known here');
  const trustPolicy = given?.trustPolicy ?? '';
  const minimumPolicyVersion = safeInteger(given?.minimumPolicyVersion ?? 0n, field('minimum_policy_version'));
  if (trustPolicy === '' && minimumPolicyVersion > 0)
    throw invalid(field('minimum_policy_version'), 'needs a trust_policy');
  return {
    minimumTier,
    policyId:
      trustPolicy === ''
        ? ''
        : idOf(trustPolicy, { collection: 'trustPolicies', field: field('trust_policy'), isId: isPolicyId }),
    minimumPolicyVersion,
    maximumAge: given?.maximumAge === undefined ? null : ageFromProto(given.maximumAge, field('maximum_age')),
    matchLabels: labelsFromProto(given?.matchLabels ?? {}, field('match_labels'), MAX_LABELS),
    excluded: exclusionsFromProto(given?.exclusions, field('exclusions')),
  };
}

export function orderFromProto(order: ProtoOrder): PlacementOrder {
  const known = ORDERS.get(order);
  if (known === undefined) throw invalid('order', 'is no order that is known here');
  return known;
}

export function spreadFromProto(key: string): string {
  const problem = key === '' ? null : labelProblem(key, '');
  if (problem !== null) throw invalid('spread_by', problem);
  return key;
}

/** A host in a few words: its checks are for GetAttestationResult. */
export function placementHostToProto(result: PlacementRecord, token?: SignedToken): PlacementHost {
  return create(PlacementHostSchema, {
    host: `hosts/${result.hostId}`,
    nodeName: result.nodeName,
    revision: BigInt(result.revision),
    status: STATUSES[result.status],
    trustPolicy: result.policyId === '' ? '' : `trustPolicies/${result.policyId}`,
    trustPolicyVersion: BigInt(result.policyVersion),
    ...(result.challengeTime === 0 ? {} : { challengeTime: timestampFromMs(result.challengeTime) }),
    ...(result.validUntil === null ? {} : { validUntil: timestampFromMs(result.validUntil) }),
    connectivity: CONNECTIVITY[result.connectivity],
    labels: { ...result.labels },
    ...(token === undefined ? {} : { token: tokenToProto(token) }),
  });
}

/** The first hosts, as many as fit into a message that every client takes; a host can have 8 KiB of labels. */
export function fitHosts(hosts: readonly PlacementHost[]): PlacementHost[] {
  let left = MAX_HOSTS_BYTES;
  const tooMany = hosts.findIndex((host) => (left -= toBinary(PlacementHostSchema, host).length) < 0);
  return hosts.slice(0, tooMany === -1 ? hosts.length : tooMany);
}

/** Reason codes of the checks that did not pass, each once. */
export function checkReasons({ checks }: ResultRecord): string[] {
  return [...new Set(checks.filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason))];
}

function ageFromProto({ seconds, nanos }: Duration, field: string): number {
  const millis = safeInteger(seconds < 0n ? 0n : seconds, field) * 1000 + nanos / 1e6;
  if (seconds < 0n || nanos < 0 || millis <= 0) throw invalid(field, 'must be more than zero');
  if (!Number.isSafeInteger(Math.ceil(millis))) throw invalid(field, 'is too large');
  return millis;
}

function exclusionsFromProto(given: PlacementExclusions | undefined, field: string): PlacementRequirements['excluded'] {
  const { hosts = [], nodeNames = [], labels = [] } = given ?? {};
  bound(hosts, `${field}.hosts`, MAX_EXCLUDED);
  bound(nodeNames, `${field}.node_names`, MAX_EXCLUDED);
  bound(labels, `${field}.labels`, MAX_EXCLUDED_LABELS);
  return {
    hostIds: new Set(
      hosts.map((name, index) =>
        idOf(name, { collection: 'hosts', field: `${field}.hosts[${index}]`, isId: isHostId }),
      ),
    ),
    nodeNames: new Set(nodeNames.map((name, index) => nodeNameFromProto(name, `${field}.node_names[${index}]`))),
    labels: labels.map(({ key, value }, index) => {
      const problem = labelProblem(key, value);
      if (problem !== null) throw invalid(`${field}.labels[${index}]`, problem);
      return { key, value };
    }),
  };
}

export function nodeNameFromProto(name: string, field: string): string {
  if (name === '') throw invalid(field, 'is required');
  const problem = nodeNameProblem(name);
  if (problem !== null) throw invalid(field, problem);
  return name;
}

function bound(list: readonly unknown[], field: string, max: number): void {
  if (list.length > max) throw invalid(field, `has more than ${max} entries`);
}
