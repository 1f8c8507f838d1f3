import { isHostId } from '../../proto/certificate-profile.ts';
import { AttestationResultSchema } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { AttestationResultService } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { Context, Handlers } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import type { SealingMaster } from '../identity/seal.ts';
import type { ChangeFeed } from '../result/feed.ts';
import type { TokenIssuer } from '../result/issue-token.ts';
import { OpenWatches } from '../result/open-watches.ts';
import { watchResults } from '../result/watch.ts';
import type { HostNamed } from '../store/filters.ts';
import type { ResultRecord } from '../store/records.ts';
import type { Page, Store } from '../store/store.ts';
import type { BootCache } from '../verifier/boot-cache.ts';
import type { Access } from './access.ts';
import { bootReport } from './boot-report.ts';
import type { BootReporter } from './boot-reporter.ts';
import { nodeNameFromProto } from './convert-placement.ts';
import { filterFromProto, resultToProto } from './convert-result.ts';
import { tokenDemandFromProto, tokenToProto } from './convert-token.ts';
import { CutOff } from './cut-off.ts';
import { encodeWatchEvent } from './encode-watch-event.ts';
import { idOf, invalid } from './invalid.ts';
import { fitPage, nextPageToken, pageOf } from './paging.ts';
import { runtimeReport } from './runtime-report.ts';

const MAX_RESUME_TOKEN = 512;

export interface ResultHandlersOptions {
  readonly access: Access;
  readonly store: Store;
  readonly feed: ChangeFeed;
  readonly tokens: TokenIssuer;
  readonly bootReporter: BootReporter;
  /** What rounds are judged with. */
  readonly services: { readonly boots: BootCache };
  /** The service's present keys: a rotation replaces `current`. */
  readonly keys: { readonly current: { readonly tokenMasters: readonly SealingMaster[] } };
}

export function resultHandlers({
  access,
  store,
  feed,
  tokens,
  bootReporter,
  services,
  keys,
}: ResultHandlersOptions): Handlers<typeof AttestationResultService> {
  const watches = new OpenWatches();
  return {
    async getAttestationResult({ host, nodeName, token }, context) {
      const demand = token === undefined ? undefined : tokenDemandFromProto(token);
      const result = await store.findResult(hostNamed(host, nodeName), access.scope(context));
      if (result === null) {
        const message = host === '' ? `no host of the node name ${nodeName} is known` : `${host} is not known`;
        throw new StatusError({ code: 'NOT_FOUND', reason: 'NOT_FOUND', message });
      }
      if (demand === undefined) return { result: resultToProto(result) };
      return { result: resultToProto(result), token: tokenToProto(await tokens.issueResult(result, demand)) };
    },

    async listAttestationResults(request, context) {
      const filter = filterFromProto(request.filter, access.scope(context));
      const list = ['results', filter, request.history];
      const page = pageOf(request, list);
      if (!request.history) {
        return resultPage(await store.listResults(page, filter), list, ({ hostId }) => hostId);
      }
      const [hostId, ...others] = filter.hostIds;
      if (
        hostId === undefined ||
        others.length > 0 ||
        filter.statuses.length > 0 ||
        filter.policyIds.length > 0 ||
        Object.keys(filter.matchLabels).length > 0
      ) {
        throw invalid('filter', 'must name exactly one host, and nothing else, to list its history');
      }
      return resultPage(await store.listHistory(hostId, page, filter.scope), list, ({ revision }) => String(revision));
    },

    async getBootReport({ host, ...request }, context) {
      const hostId = idOf(host, { collection: 'hosts', field: 'host', isId: isHostId });
      if ((await store.findResult({ hostId }, access.scope(context))) === null)
        throw new StatusError({ code: 'NOT_FOUND', reason: 'NOT_FOUND', message: `${host} is not known` });
      const caller = access.actor(context).actor;
      return bootReport({ store, boots: services.boots, reporter: bootReporter }, { hostId, caller, ...request });
    },

    async getRuntimeReport({ host }, context) {
      const hostId = idOf(host, { collection: 'hosts', field: 'host', isId: isHostId });
      if ((await store.findResult({ hostId }, access.scope(context))) === null)
        throw new StatusError({ code: 'NOT_FOUND', reason: 'NOT_FOUND', message: `${host} is not known` });
      return { report: await runtimeReport(store, hostId) };
    },

    async *watchAttestationResults(request, context) {
      using _checking = access.keepChecking(context);
      const filter = filterFromProto(request.filter, access.scope(context));
      if (request.resumeToken.length > MAX_RESUME_TOKEN) throw invalid('resume_token', 'is too long');
      using _place = takePlace(watches, { access, context });
      const signal = AbortSignal.any([context.signal, context.draining]);
      using cutOff = new CutOff(context, tooSlow);
      const signing = { holder: access.actor(context).actor, masters: keys.current.tokenMasters };
      const { resumeToken } = request;
      for await (const event of watchResults({ store, feed, filter, signing, resumeToken, signal })) {
        cutOff.begin();
        yield encodeWatchEvent(event);
        cutOff.end();
      }
      if (context.draining.aborted) {
        throw new StatusError({
          code: 'UNAVAILABLE',
          reason: 'SHUTTING_DOWN',
          message: 'the service is stopping; resume elsewhere',
          retryAfterMillis: 1_000,
        });
      }
    },
  };
}

function hostNamed(host: string, nodeName: string): HostNamed {
  if (nodeName === '') return { hostId: idOf(host, { collection: 'hosts', field: 'host', isId: isHostId }) };
  if (host !== '') throw invalid('node_name', 'must not be set beside host');
  return { nodeName: nodeNameFromProto(nodeName, 'node_name') };
}

function resultPage(results: Page<ResultRecord>, list: readonly unknown[], keyOf: (result: ResultRecord) => string) {
  const { messages, page } = fitPage(results, { schema: AttestationResultSchema, toProto: resultToProto, keyOf });
  return { results: messages, nextPageToken: nextPageToken(page, list) };
}

/** The place of a watch is free again when its call holds nothing: what waits for a caller who was cut off is still there. */
function takePlace(
  watches: OpenWatches,
  { access, context }: { readonly access: Access; readonly context: Context },
): Disposable {
  const leave = watches.enter(access.actor(context).actor);
  return { [Symbol.dispose]: () => context.onReleased(leave) };
}

function tooSlow(): StatusError {
  return new StatusError({
    code: 'RESOURCE_EXHAUSTED',
    reason: 'WATCHER_TOO_SLOW',
    message: 'the watcher does not read; resume from its last token',
  });
}
