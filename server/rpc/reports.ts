import type { ReportService } from '../../proto/gen/assay/v1/report_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import type { TokenIssuer } from '../result/issue-token.ts';
import { PlatformReporter } from '../result/platform-report.ts';
import type { Labels } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { reportToJson, reportToProto } from './convert-report.ts';
import type { Access } from './access.ts';
import { labelsFromProto } from './convert-result.ts';
import { tokenDemandFromProto, tokenToProto } from './convert-token.ts';
import { invalid } from './invalid.ts';

const DEFAULT_EXCEPTIONS = 100;
const MAX_EXCEPTIONS = 500;
const MAX_LABELS = 16;
/** Reports of all callers that are made or wait at once. */
const MAX_AT_ONCE = 16;

export interface ReportHandlersOptions {
  readonly access: Access;
  readonly store: Store;
  readonly tokens: TokenIssuer;
}

export function reportHandlers({ access, store, tokens }: ReportHandlersOptions): Handlers<typeof ReportService> {
  const reporter = new PlatformReporter(store);
  const callers = new Set<string>();
  return {
    async getPlatformReport({ matchLabels, maxExceptions, token }, context) {
      const demand = token === undefined ? undefined : tokenDemandFromProto(token);
      if (maxExceptions < 0) throw invalid('max_exceptions', 'must not be negative');
      const wanted = Math.min(maxExceptions === 0 ? DEFAULT_EXCEPTIONS : maxExceptions, MAX_EXCEPTIONS);
      const scope = access.scope(context);
      const labels = labelsFromProto(matchLabels, 'match_labels', MAX_LABELS);
      checkWithin(labels, scope);
      using _turn = begin(callers, access.actor(context).actor);
      const made = await reporter.report({ selectors: [scope, labels], maxExceptions: wanted });
      const report = reportToProto(made);
      if (demand === undefined) return { report };
      const { earliestValidUntil } = made;
      const signed = await tokens.issueReport({ body: reportToJson(report), earliestValidUntil }, demand);
      return { report, token: tokenToProto(signed) };
    },
  };
}

/** One for each caller: a call that was given up counts until its report is made. */
function begin(callers: Set<string>, caller: string): Disposable {
  if (callers.has(caller) || callers.size >= MAX_AT_ONCE) {
    throw new StatusError({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'REPORT_BUSY',
      message: callers.has(caller)
        ? 'a report for this identity is being made already'
        : 'enough reports are being made already',
      retryAfterMillis: 2_000,
    });
  }
  callers.add(caller);
  return { [Symbol.dispose]: () => void callers.delete(caller) };
}

/** A signed report names its labels: about hosts that the caller does not see it would say that there are none. */
function checkWithin(labels: Labels, scope: Labels): void {
  for (const [key, value] of Object.entries(labels)) {
    if (Object.hasOwn(scope, key) && scope[key] !== value)
      throw invalid(`match_labels[${JSON.stringify(key)}]`, 'has another value in the scope of this identity');
  }
}
