import { fromJson } from '@bufbuild/protobuf';
import type { JsonValue as ProtoJson } from '@bufbuild/protobuf';

import { REPORT_PROFILE } from '../../proto/token-profile.ts';
import { TrustStatusSchema } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { PlatformReportSchema } from '../../proto/gen/assay/v1/report_pb.ts';
import type {
  PlatformReport as ReportMessage,
  StatusCounts as CountsMessage,
} from '../../proto/gen/assay/v1/report_pb.ts';
import { dateOf, enumWord, jsonOf } from './convert.ts';
import type { JsonObject, TrustStatus } from './resources.ts';
import { claim, objectClaim, textClaim } from './token-claims.ts';
import { TokenRefusal } from './token-refusal.ts';

export interface StatusCounts {
  readonly none: bigint;
  readonly affirming: bigint;
  readonly warning: bigint;
  readonly contraindicated: bigint;
}

export interface PolicyReport {
  /** `trustPolicies/{policy}` */
  readonly trustPolicy: string;
  readonly version: bigint;
  readonly description: string;
  /** A sentence each. */
  readonly requirements: readonly string[];
  /** How many there are; more than are listed where the list was cut. */
  readonly requirementCount: number;
  readonly hosts: StatusCounts;
}

export interface HostException {
  /** `hosts/{host}` */
  readonly host: string;
  readonly nodeName: string;
  readonly status: TrustStatus;
  readonly reasons: readonly { readonly reason: string; readonly check: string; readonly message: string }[];
  readonly reasonCount: number;
  readonly trustPolicy: string;
  readonly sinceTime: Date | undefined;
}

/** The security status of the platform at one time. */
export interface PlatformReport {
  readonly deployment: string;
  readonly reportTime: Date | undefined;
  readonly revision: bigint;
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly hostCount: bigint;
  readonly hosts: StatusCounts;
  readonly policies: readonly PolicyReport[];
  readonly policyCount: number;
  readonly oldestChallengeTime: Date | undefined;
  readonly earliestValidUntil: Date | undefined;
  readonly exceptions: readonly HostException[];
  readonly exceptionCount: bigint;
  readonly json: JsonObject;
}

export function fromProtoReport(message: ReportMessage): PlatformReport {
  return {
    deployment: message.deployment,
    reportTime: dateOf(message.reportTime),
    revision: message.revision,
    matchLabels: message.matchLabels,
    hostCount: message.hostCount,
    hosts: countsOf(message.hosts),
    policies: message.policies.map(({ trustPolicy, version, description, requirements, requirementCount, hosts }) => ({
      ...{ trustPolicy, version, description, requirements, requirementCount },
      hosts: countsOf(hosts),
    })),
    policyCount: message.policyCount,
    oldestChallengeTime: dateOf(message.oldestChallengeTime),
    earliestValidUntil: dateOf(message.earliestValidUntil),
    exceptions: message.exceptions.map(({ host, nodeName, status, reasons, reasonCount, trustPolicy, sinceTime }) => ({
      ...{ host, nodeName, reasonCount, trustPolicy },
      status: enumWord(TrustStatusSchema, status) as TrustStatus,
      reasons: reasons.map(({ reason, check, message: text }) => ({ reason, check, message: text })),
      sinceTime: dateOf(sinceTime),
    })),
    exceptionCount: message.exceptionCount,
    json: jsonOf(PlatformReportSchema, message),
  };
}

/** The report of a token whose signature holds. Fields of later releases are ignored. Throws {@link TokenRefusal}. */
export function fromReportClaims(claims: JsonObject): PlatformReport {
  if (textClaim(claims, 'assay_profile') !== REPORT_PROFILE)
    throw new TokenRefusal('TOKEN_PROFILE', `the token has another profile than ${REPORT_PROFILE}`);
  if (textClaim(claims, 'sub') !== 'platform') throw claim('sub');
  const body = objectClaim(claims, 'assay_report');
  let report: PlatformReport;
  try {
    report = fromProtoReport(fromJson(PlatformReportSchema, body as ProtoJson, { ignoreUnknownFields: true }));
  } catch (cause) {
    throw new TokenRefusal('TOKEN_CLAIM', 'the claim assay_report is no platform report', { cause });
  }
  checkCounts(report);
  if (textClaim(claims, 'iss') !== `assay://${report.deployment}` || report.reportTime === undefined)
    throw claim('assay_report');
  return report;
}

/** A report whose parts contradict each other says nothing. */
function checkCounts({ hosts, hostCount, exceptionCount, exceptions }: PlatformReport): void {
  const { none, affirming, warning, contraindicated } = hosts;
  const fallen = none + warning + contraindicated;
  if (affirming + fallen !== hostCount || exceptionCount !== fallen || BigInt(exceptions.length) > fallen)
    throw new TokenRefusal('TOKEN_STATUS', 'the counts of the report contradict each other');
}

function countsOf(counts: CountsMessage | undefined): StatusCounts {
  const { none = 0n, affirming = 0n, warning = 0n, contraindicated = 0n } = counts ?? {};
  return { none, affirming, warning, contraindicated };
}
