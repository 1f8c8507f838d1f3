import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, durationMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Duration } from '@bufbuild/protobuf/wkt';

import type { TrustPolicy as ProtoPolicy, TrustPolicySchema } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { PolicyDraft, TrustPolicy } from '../policy/policy.ts';
import type { PolicyRecord } from '../store/records.ts';
import { bootRulesFromProto, bootRulesToProto } from './convert-boot-rules.ts';
import { etagOf } from './convert-host.ts';
import { expressionsFromProto, expressionsToProto } from './convert-expressions.ts';
import { runtimeRulesFromProto, runtimeRulesToProto } from './convert-runtime-rules.ts';
import { severityFromProto, severityToProto } from './convert-severity.ts';

/** What is wrong with a name is found with everything else: a name of another collection gives an id that no policy has. */
export function policyDraftFromProto(policy: ProtoPolicy): PolicyDraft {
  const { name, selector, quote } = policy;
  return {
    id: name.startsWith('trustPolicies/') ? name.slice('trustPolicies/'.length) : '',
    description: policy.description,
    selector:
      selector === undefined ? undefined : { matchLabels: { ...selector.matchLabels }, allHosts: selector.allHosts },
    precedence: policy.precedence,
    quote: {
      interval: milliseconds(quote?.interval),
      validity: milliseconds(quote?.validity),
      disconnectGrace: milliseconds(quote?.disconnectGrace),
      allowUnprovenBanks: quote?.allowUnprovenBanks ?? false,
      allowUnendorsed: quote?.allowUnendorsed ?? false,
    },
    pcrRules: policy.pcrRules.map(({ bank, index, allowed, severity, message }) => ({
      bank,
      index,
      allowed: [...allowed],
      severity: severityFromProto(severity),
      message,
    })),
    boot: bootRulesFromProto(policy.boot),
    runtime: runtimeRulesFromProto(policy.runtime),
    expressions: expressionsFromProto(policy.expressions),
  };
}

export function policyToProto(record: PolicyRecord): MessageInitShape<typeof TrustPolicySchema> {
  const policy = JSON.parse(record.body) as TrustPolicy;
  return {
    name: `trustPolicies/${record.id}`,
    version: BigInt(record.version),
    description: policy.description,
    ...(policy.selector === null
      ? {}
      : { selector: { ...policy.selector, matchLabels: { ...policy.selector.matchLabels } } }),
    precedence: policy.precedence,
    quote: {
      interval: durationFromMs(policy.quote.interval),
      validity: durationFromMs(policy.quote.validity),
      disconnectGrace: durationFromMs(policy.quote.disconnectGrace),
      allowUnprovenBanks: policy.quote.allowUnprovenBanks,
      allowUnendorsed: policy.quote.allowUnendorsed,
    },
    pcrRules: policy.pcrRules.map((rule) => ({
      ...rule,
      allowed: [...rule.allowed],
      severity: severityToProto(rule.severity),
    })),
    ...bootOf(policy),
    ...runtimeOf(policy),
    expressions: expressionsToProto(policy.expressions ?? []),
    createTime: timestampFromMs(record.createTime),
    etag: etagOf(record.version),
  };
}

function bootOf({ boot }: TrustPolicy): Pick<MessageInitShape<typeof TrustPolicySchema>, 'boot'> {
  return boot === undefined || boot === null ? {} : { boot: bootRulesToProto(boot) };
}

function runtimeOf({ runtime }: TrustPolicy): Pick<MessageInitShape<typeof TrustPolicySchema>, 'runtime'> {
  return runtime === undefined || runtime === null ? {} : { runtime: runtimeRulesToProto(runtime) };
}

function milliseconds(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : durationMs(duration);
}
