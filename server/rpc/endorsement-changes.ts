import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { EndorsementChangeSchema } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type { EndorsementService } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import type { EndorsementChange } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { invalid } from './invalid.ts';
import { fitPage, nextPageToken, pageOf } from './paging.ts';

const RESOURCE = /^(?:(?:(?:trustAnchors|revocationLists|inventory)\/[0-9a-f]{64})|inventory)$/;

/** The part of the EndorsementService that tells what changed. */
export function endorsementChangeHandlers(
  store: Pick<Store, 'listEndorsementChanges'>,
): Pick<Handlers<typeof EndorsementService>, 'listEndorsementChanges'> {
  return {
    async listEndorsementChanges(request) {
      const { resource } = request;
      if (resource !== '' && !RESOURCE.test(resource)) {
        throw invalid(
          'resource',
          'must be "trustAnchors/{sha256}", "revocationLists/{id}", "inventory" or an entry of it',
        );
      }
      const list = ['endorsementChanges', resource];
      const { epoch, changes } = await store.listEndorsementChanges(pageOf(request, list), resource);
      const shape = {
        schema: EndorsementChangeSchema,
        toProto: changeToProto,
        keyOf: ({ auditSequence }: EndorsementChange) => String(auditSequence),
      };
      const { messages, page } = fitPage(changes, shape);
      return { changes: messages, endorsementVersion: BigInt(epoch), nextPageToken: nextPageToken(page, list) };
    },
  };
}

function changeToProto(change: EndorsementChange) {
  return {
    endorsementVersion: BigInt(change.epoch),
    resource: change.resource,
    version: BigInt(change.version),
    action: change.action,
    actor: change.actor,
    detail: change.detail,
    createTime: timestampFromMs(change.time),
    auditSequence: BigInt(change.auditSequence),
  };
}
