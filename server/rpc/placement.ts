import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { isHostId } from '../../proto/certificate-profile.ts';
import type { CheckHostRequest, PlacementService } from '../../proto/gen/assay/v1/placement_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import { checkHost } from '../placement/check-host.ts';
import { readBriefly, readWholly } from '../placement/read-chosen.ts';
import { selectHosts } from '../placement/select-hosts.ts';
import type { SelectionRequest, SelectionSources } from '../placement/select-hosts.ts';
import { Turns } from '../placement/turns.ts';
import type { TokenDemand, TokenIssuer } from '../result/issue-token.ts';
import type { HostNamed } from '../store/filters.ts';
import type { Store } from '../store/store.ts';
import type { Access } from './access.ts';
import {
  checkReasons,
  fitHosts,
  nodeNameFromProto,
  orderFromProto,
  placementHostToProto,
  requirementsFromProto,
  spreadFromProto,
} from './convert-placement.ts';
import { tokenDemandFromProto } from './convert-token.ts';
import { idOf, invalid } from './invalid.ts';

const MAX_COUNT = 1000;
const MAX_EXPLAINED = 100;
/** Hosts of one answer that come with tokens: each costs a signature. */
const MAX_SIGNED = 100;

export interface PlacementHandlersOptions {
  readonly access: Access;
  readonly store: Store;
  readonly placements: SelectionSources['placements'];
  readonly tokens: TokenIssuer;
}

export function placementHandlers({
  access,
  store,
  placements,
  tokens,
}: PlacementHandlersOptions): Handlers<typeof PlacementService> {
  const turns = new Turns(() => store.now());
  const brief = async (sources: SelectionSources, asked: SelectionRequest) => {
    const selection = await selectHosts(sources, asked, readBriefly(store));
    return { ...selection, hosts: selection.hosts.map((result) => placementHostToProto(result)) };
  };
  /** Without those whose validity ends before anything can be signed. */
  const signed = async (sources: SelectionSources, asked: SelectionRequest, demand: TokenDemand) => {
    const selection = await selectHosts(sources, asked, readWholly(store));
    const tokensOf = await tokens.issueResults(selection.hosts, demand);
    const hosts = selection.hosts.flatMap((result, index) => {
      const token = tokensOf[index] ?? null;
      return token === null ? [] : [placementHostToProto(result, token)];
    });
    return { ...selection, hosts };
  };
  return {
    async selectHosts(request, context) {
      const demand = request.token === undefined ? undefined : tokenDemandFromProto(request.token);
      const count = numberUpTo(MAX_COUNT, request.count, 'count') || 1;
      if (demand !== undefined && count > MAX_SIGNED)
        throw invalid('count', `must be at most ${MAX_SIGNED} with token`);
      const asked = {
        requirements: requirementsFromProto(request.requirements),
        scope: access.scope(context),
        count,
        spreadBy: spreadFromProto(request.spreadBy),
        order: orderFromProto(request.order),
        explain: numberUpTo(MAX_EXPLAINED, request.explain, 'explain'),
      };
      const sources = { store, placements, turns };
      const { hosts, ...selection } =
        demand === undefined ? await brief(sources, asked) : await signed(sources, asked, demand);
      return {
        hosts: fitHosts(hosts),
        selectableCount: selection.selectable,
        refused: selection.refused.map(({ result, refusals }) => ({
          host: placementHostToProto(result),
          reasons: [...refusals],
          checkReasons: checkReasons(result),
        })),
        refusalCounts: selection.counts.map(({ refusal, count }) => ({ reason: refusal, count })),
        answerTime: timestampFromMs(selection.time),
      };
    },

    async checkHost({ subject, requirements, token }, context) {
      const demand = token === undefined ? undefined : tokenDemandFromProto(token);
      const named = hostNamed(subject);
      const scope = access.scope(context);
      const checked = await checkHost(store, named, { requirements: requirementsFromProto(requirements), scope });
      if (checked === null) {
        const message = `${subject.value ?? ''} is not known`;
        throw new StatusError({ code: 'NOT_FOUND', reason: 'NOT_FOUND', message });
      }
      const { result, refusals, time } = checked;
      const selectable = refusals.length === 0;
      const signed = demand !== undefined && selectable ? await tokens.issueResult(result, demand) : undefined;
      return {
        selectable,
        host: placementHostToProto(result, signed),
        reasons: [...refusals],
        checkReasons: checkReasons(result),
        answerTime: timestampFromMs(time),
      };
    },
  };
}

function numberUpTo(max: number, value: number, field: string): number {
  if (value < 0) throw invalid(field, 'must not be negative');
  if (value > max) throw invalid(field, `must be at most ${max}`);
  return value;
}

function hostNamed(subject: CheckHostRequest['subject']): HostNamed {
  if (subject.case === 'host')
    return { hostId: idOf(subject.value, { collection: 'hosts', field: 'host', isId: isHostId }) };
  if (subject.case === 'nodeName') return { nodeName: nodeNameFromProto(subject.value, 'node_name') };
  throw invalid('subject', 'is not set: host or node_name');
}
