import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { isHostId } from '../../proto/certificate-profile.ts';
import type { CheckHostRequest, PlacementService } from '../../proto/gen/assay/v1/placement_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import { checkHost } from '../placement/check-host.ts';
import { selectHosts } from '../placement/select-hosts.ts';
import type { SelectionSources } from '../placement/select-hosts.ts';
import type { HostNamed } from '../store/filters.ts';
import type { Store } from '../store/store.ts';
import type { Access } from './access.ts';
import {
  checkReasons,
  nodeNameFromProto,
  orderFromProto,
  placementHostToProto,
  requirementsFromProto,
  spreadFromProto,
} from './convert-placement.ts';
import { idOf, invalid } from './invalid.ts';

const MAX_COUNT = 1000;
const MAX_EXPLAINED = 100;

export interface PlacementHandlersOptions {
  readonly access: Access;
  readonly store: Store;
  readonly placements: SelectionSources['placements'];
}

export function placementHandlers({
  access,
  store,
  placements,
}: PlacementHandlersOptions): Handlers<typeof PlacementService> {
  return {
    async selectHosts(request, context) {
      const selection = await selectHosts(
        { store, placements },
        {
          requirements: requirementsFromProto(request.requirements),
          scope: access.scope(context),
          count: numberUpTo(MAX_COUNT, request.count, 'count') || 1,
          spreadBy: spreadFromProto(request.spreadBy),
          order: orderFromProto(request.order),
          explain: numberUpTo(MAX_EXPLAINED, request.explain, 'explain'),
        },
      );
      return {
        hosts: selection.hosts.map(placementHostToProto),
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

    async checkHost({ subject, requirements }, context) {
      const named = hostNamed(subject);
      const scope = access.scope(context);
      const checked = await checkHost(store, named, { requirements: requirementsFromProto(requirements), scope });
      if (checked === null) {
        const message = `${subject.value ?? ''} is not known`;
        throw new StatusError({ code: 'NOT_FOUND', reason: 'NOT_FOUND', message });
      }
      const { result, refusals, time } = checked;
      return {
        selectable: refusals.length === 0,
        host: placementHostToProto(result),
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
