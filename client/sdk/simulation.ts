import { TrustStatusSchema } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { SimulatedVerdictSchema, SimulationSummarySchema } from '../../proto/gen/assay/v1/simulation_pb.ts';
import type {
  SimulatedVerdict as VerdictMessage,
  SimulationSummary as SummaryMessage,
} from '../../proto/gen/assay/v1/simulation_pb.ts';
import type { SimulateTrustPolicyResponse } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import { enumWord, fromProtoCheck, jsonOf } from './convert.ts';
import type { AttestationResult, JsonObject, TrustStatus } from './resources.ts';

type Check = AttestationResult['checks'][number];

/** A host whose verdict would be another, or of which that cannot be said. */
export interface SimulatedVerdict {
  readonly host: string;
  readonly nodeName: string;
  readonly fromStatus: TrustStatus;
  readonly fromTrustPolicy: string;
  readonly toTrustPolicy: string;
  readonly outcome:
    | { readonly kind: 'status'; readonly status: TrustStatus }
    /** It holds only if `pcrs` have not moved since the first quote of this boot. */
    | { readonly kind: 'assumed'; readonly status: TrustStatus; readonly pcrs: readonly string[] }
    | { readonly kind: 'unknown'; readonly reason: string; readonly observed: string; readonly message: string };
  /** Checks that would not pass. */
  readonly checks: readonly Check[];
  /** Checks of the present verdict that did not pass. */
  readonly formerChecks: readonly Check[];
  readonly json: JsonObject;
}

export interface SimulationSummary {
  readonly hostCount: bigint;
  readonly concernedCount: bigint;
  readonly worseCount: bigint;
  readonly betterCount: bigint;
  readonly unknownCount: bigint;
  readonly unknownTrustedCount: bigint;
  readonly assumedCount: bigint;
  readonly unlistedCount: bigint;
  readonly transitions: readonly {
    readonly from: TrustStatus;
    /** Undefined where it cannot be said. */
    readonly to: TrustStatus | undefined;
    readonly assumed: boolean;
    readonly hostCount: bigint;
  }[];
  readonly judges: readonly {
    readonly from: string;
    readonly to: string;
    readonly ambiguous: boolean;
    readonly hostCount: bigint;
  }[];
  readonly json: JsonObject;
}

export type SimulationEvent =
  | { readonly kind: 'verdict'; readonly verdict: SimulatedVerdict }
  | { readonly kind: 'progress'; readonly hostCount: bigint }
  | { readonly kind: 'summary'; readonly summary: SimulationSummary };

/** Undefined for an event that this release does not know. */
export function fromProtoSimulationEvent({ event }: SimulateTrustPolicyResponse): SimulationEvent | undefined {
  switch (event.case) {
    case 'verdict':
      return { kind: 'verdict', verdict: fromProtoVerdict(event.value) };
    case 'progress':
      return { kind: 'progress', hostCount: event.value.hostCount };
    case 'summary':
      return { kind: 'summary', summary: fromProtoSummary(event.value) };
    case undefined:
      return undefined;
  }
}

function fromProtoVerdict(message: VerdictMessage): SimulatedVerdict {
  return {
    host: message.host,
    nodeName: message.nodeName,
    fromStatus: statusOf(message.fromStatus),
    fromTrustPolicy: message.fromTrustPolicy,
    toTrustPolicy: message.toTrustPolicy,
    outcome: outcomeOf(message),
    checks: message.checks.map(fromProtoCheck),
    formerChecks: message.formerChecks.map(fromProtoCheck),
    json: jsonOf(SimulatedVerdictSchema, message),
  };
}

/** What this release does not know cannot be said. */
function outcomeOf({ outcome, assumedPcrs }: VerdictMessage): SimulatedVerdict['outcome'] {
  switch (outcome.case) {
    case 'toStatus':
      return { kind: 'status', status: statusOf(outcome.value) };
    case 'assumedStatus': {
      const pcrs = assumedPcrs.map(({ bank, index }) => `${bank}:${index}`);
      return { kind: 'assumed', status: statusOf(outcome.value), pcrs };
    }
    case 'unknown': {
      const { reason, observed, message } = outcome.value;
      return { kind: 'unknown', reason, observed, message };
    }
    case undefined:
      return { kind: 'unknown', reason: '', observed: '', message: 'the service says what this release does not know' };
  }
}

function fromProtoSummary(message: SummaryMessage): SimulationSummary {
  return {
    hostCount: message.hostCount,
    concernedCount: message.concernedCount,
    worseCount: message.worseCount,
    betterCount: message.betterCount,
    unknownCount: message.unknownCount,
    unknownTrustedCount: message.unknownTrustedCount,
    assumedCount: message.assumedCount,
    unlistedCount: message.unlistedCount,
    transitions: message.transitions.map(({ fromStatus, toStatus, assumed, hostCount }) => ({
      from: statusOf(fromStatus),
      to: toStatus === undefined ? undefined : statusOf(toStatus),
      assumed,
      hostCount,
    })),
    judges: message.judges.map(({ fromTrustPolicy, toTrustPolicy, ambiguous, hostCount }) => ({
      from: fromTrustPolicy,
      to: toTrustPolicy,
      ambiguous,
      hostCount,
    })),
    json: jsonOf(SimulationSummarySchema, message),
  };
}

function statusOf(value: number): TrustStatus {
  return enumWord(TrustStatusSchema, value) as TrustStatus;
}
