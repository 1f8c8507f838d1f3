import { create, toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { PlatformReportSchema } from '../../proto/gen/assay/v1/report_pb.ts';
import type { PlatformReport as ReportMessage } from '../../proto/gen/assay/v1/report_pb.ts';
import { hostCount } from '../result/platform-report.ts';
import type { HostException, PlatformReport, PolicyReport, StatusCounts } from '../result/platform-report.ts';
import { statusToProto } from './convert-result.ts';

export function reportToProto(report: PlatformReport): ReportMessage {
  const { oldestChallenge, earliestValidUntil } = report;
  return create(PlatformReportSchema, {
    deployment: report.deployment,
    reportTime: timestampFromMs(report.time),
    revision: BigInt(report.revision),
    matchLabels: { ...report.matchLabels },
    hostCount: BigInt(hostCount(report.hosts)),
    hosts: countsToProto(report.hosts),
    policies: report.policies.listed.map(policyToProto),
    policyCount: report.policies.total,
    ...(oldestChallenge === null ? {} : { oldestChallengeTime: timestampFromMs(oldestChallenge) }),
    ...(earliestValidUntil === null ? {} : { earliestValidUntil: timestampFromMs(earliestValidUntil) }),
    exceptions: report.exceptions.listed.map(exceptionToProto),
    exceptionCount: BigInt(report.exceptions.total),
  });
}

/** What a token carries: the message in the JSON form of protobuf. */
export function reportToJson(message: ReportMessage): object {
  return toJson(PlatformReportSchema, message) as object;
}

function policyToProto({ id, version, description, requirements, hosts }: PolicyReport) {
  return {
    trustPolicy: `trustPolicies/${id}`,
    version: BigInt(version),
    description,
    requirements: [...requirements.listed],
    requirementCount: requirements.total,
    hosts: countsToProto(hosts),
  };
}

function exceptionToProto({ result, reasons }: HostException) {
  return {
    host: `hosts/${result.hostId}`,
    nodeName: result.nodeName,
    status: statusToProto(result.status),
    reasons: reasons.listed.map(({ id, reason, message }) => ({ reason, check: id, message })),
    reasonCount: reasons.total,
    trustPolicy: result.policyId === '' ? '' : `trustPolicies/${result.policyId}`,
    sinceTime: timestampFromMs(result.revisionTime),
  };
}

function countsToProto({ none, affirming, warning, contraindicated }: StatusCounts) {
  return {
    none: BigInt(none),
    affirming: BigInt(affirming),
    warning: BigInt(warning),
    contraindicated: BigInt(contraindicated),
  };
}
