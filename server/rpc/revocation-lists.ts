import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { RevocationListSchema } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type { EndorsementService } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { parseCertificate } from '../../tpm/endorsement/certificate.ts';
import { MAX_REVOCATION_LIST_BYTES } from '../../tpm/endorsement/revocation.ts';
import { readRevocationLists } from '../../tpm/endorsement/revocation-lists.ts';
import type { ImportedRevocationList } from '../../tpm/endorsement/revocation-lists.ts';
import type { GivenRevocationList, RevocationListSummary } from '../store/records.ts';
import { type Store, StoreError } from '../store/store.ts';
import type { Access } from './access.ts';
import { etagOf, versionOfEtag } from './convert-host.ts';
import { bytes, idOf, invalid, safeInteger } from './invalid.ts';
import { fitPage, nextPageToken, pageOf } from './paging.ts';

/** Of a list in one answer: what clients receive by default is a message of 4 MiB. */
const MAX_PART = 1024 * 1024;
const isDigest = (id: string): boolean => /^[0-9a-f]{64}$/.test(id);

type RevocationListHandlers = Pick<
  Handlers<typeof EndorsementService>,
  'importRevocationLists' | 'listRevocationLists' | 'getRevocationList' | 'removeRevocationList'
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
        keyOf: ({ id }: RevocationListSummary) => id,
      };
      const { messages, page } = fitPage(found, shape);
      return { revocationLists: messages, nextPageToken: nextPageToken(page, list) };
    },

    async getRevocationList({ name, version, offset }) {
      const id = listIdOf(name);
      const record = await store.getRevocationList(id, version === 0n ? null : safeInteger(version, 'version'));
      if (record === null) throw new StoreError('not_found', `${name} is not known, or not kept, in this version`);
      const { list, ...summary } = record;
      const size = list.length / 2;
      if (offset < 0 || offset > size) throw invalid('offset', `must be from 0 to ${size}`);
      const data = Buffer.from(list.slice(2 * offset, 2 * (offset + MAX_PART)), 'hex');
      return { revocationList: listToProto(summary), data, size };
    },

    async removeRevocationList({ name, etag }, context) {
      const expected = versionOfEtag(etag, 'etag') ?? 'any';
      await store.removeRevocationList(listIdOf(name), { ...access.actor(context), expected });
      return {};
    },
  };
}

function listIdOf(name: string): string {
  return idOf(name, { collection: 'revocationLists', field: 'name', isId: isDigest });
}

/** A list as the store keeps it. */
export function revocationListRecord(imported: ImportedRevocationList): GivenRevocationList {
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
  const { id, version, issuer, issuerKey, number, thisUpdate, nextUpdate, entries, createTime } = record;
  return {
    name: `revocationLists/${id}`,
    issuer,
    issuerKeySha256: issuerKey,
    number,
    thisUpdateTime: timestampFromMs(thisUpdate),
    ...(nextUpdate === null ? {} : { nextUpdateTime: timestampFromMs(nextUpdate) }),
    entryCount: entries,
    createTime: timestampFromMs(createTime),
    version: BigInt(version),
    etag: etagOf(version),
    listSha256: record.fingerprint,
  };
}
