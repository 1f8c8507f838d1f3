import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { RevocationListSchema } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type { EndorsementService } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { parseCertificate } from '../../tpm/endorsement/certificate.ts';
import { MAX_REVOCATION_LIST_BYTES } from '../../tpm/endorsement/revocation.ts';
import { readRevocationLists } from '../../tpm/endorsement/revocation-lists.ts';
import type { ImportedRevocationList } from '../../tpm/endorsement/revocation-lists.ts';
import type { RevocationListRecord, RevocationListSummary } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { Access } from './access.ts';
import { bytes, idOf } from './invalid.ts';
import { fitPage, nextPageToken, pageOf } from './paging.ts';

const isDigest = (id: string): boolean => /^[0-9a-f]{64}$/.test(id);

type RevocationListHandlers = Pick<
  Handlers<typeof EndorsementService>,
  'importRevocationLists' | 'listRevocationLists' | 'removeRevocationList'
>;

/** The part of the EndorsementService that is about revocation lists. */
export function revocationListHandlers({
  access,
  store,
}: {
  readonly access: Access;
  readonly store: Store;
}): RevocationListHandlers {
  return {
    async importRevocationLists({ revocationLists }, context) {
      const file = bytes(revocationLists, 'revocation_lists', { min: 1, max: MAX_REVOCATION_LIST_BYTES });
      const stored = await store.allTrustAnchors();
      const issuers = stored.map(({ certificate }) => parseCertificate(Buffer.from(certificate, 'hex')));
      const lists = readRevocationLists(file, { issuers, now: new Date(store.now()) });
      const added = await store.addRevocationLists(lists.map(revocationListRecord), access.actor(context));
      return { added: added.map(listToProto), known: lists.length - added.length };
    },

    async listRevocationLists(request) {
      const list = ['revocationLists'];
      const found = await store.listRevocationLists(pageOf(request, list));
      const shape = {
        schema: RevocationListSchema,
        toProto: listToProto,
        keyOf: ({ fingerprint }: RevocationListSummary) => fingerprint,
      };
      const { messages, page } = fitPage(found, shape);
      return { revocationLists: messages, nextPageToken: nextPageToken(page, list) };
    },

    async removeRevocationList({ name }, context) {
      const fingerprint = idOf(name, { collection: 'revocationLists', field: 'name', isId: isDigest });
      await store.removeRevocationList(fingerprint, access.actor(context));
      return {};
    },
  };
}

/** A list as the store keeps it. */
export function revocationListRecord(imported: ImportedRevocationList): Omit<RevocationListRecord, 'createTime'> {
  const { raw, fingerprint, list, issuerKey } = imported;
  return {
    fingerprint,
    issuer: list.issuer.text,
    issuerKey,
    number: list.number ?? '',
    thisUpdate: list.thisUpdate.getTime(),
    nextUpdate: list.nextUpdate?.getTime() ?? null,
    entries: list.revoked.size,
    list: raw.toString('hex'),
  };
}

function listToProto(record: RevocationListSummary) {
  const { fingerprint, issuer, issuerKey, number, thisUpdate, nextUpdate, entries, createTime } = record;
  return {
    name: `revocationLists/${fingerprint}`,
    issuer,
    issuerKeySha256: issuerKey,
    number,
    thisUpdateTime: timestampFromMs(thisUpdate),
    ...(nextUpdate === null ? {} : { nextUpdateTime: timestampFromMs(nextUpdate) }),
    entryCount: entries,
    createTime: timestampFromMs(createTime),
  };
}
