import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { TrustAnchorSchema } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type { EndorsementService } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import type { Certificate } from '../../tpm/endorsement/certificate.ts';
import { parseCertificateBundle } from '../../tpm/endorsement/certificate-bundle.ts';
import type { GivenTrustAnchor, InventoryRecord, TrustAnchorRecord } from '../store/records.ts';
import { type Store, StoreError } from '../store/store.ts';
import type { Access } from './access.ts';
import { etagOf, versionOfEtag } from './convert-host.ts';
import { endorsementChangeHandlers } from './endorsement-changes.ts';
import { bytes, idOf, invalid, safeInteger, text } from './invalid.ts';
import { fitPage, nextPageToken, pageOf } from './paging.ts';
import { revocationListHandlers } from './revocation-lists.ts';

const MAX_BUNDLE = 1024 * 1024;
const MAX_CERTIFICATES = 1000;
const MAX_ENTRIES = 1000;
const isDigest = (id: string): boolean => /^[0-9a-f]{64}$/.test(id);

export interface EndorsementHandlersOptions {
  readonly access: Access;
  readonly store: Store;
}

export function endorsementHandlers({
  access,
  store,
}: EndorsementHandlersOptions): Handlers<typeof EndorsementService> {
  return {
    ...revocationListHandlers({ access, store }),
    ...endorsementChangeHandlers(store),

    async importTrustAnchors({ certificates, asAnchors }, context) {
      const bundle = parseCertificateBundle(bytes(certificates, 'certificates', { min: 1, max: MAX_BUNDLE }));
      const [rejected] = bundle.rejected;
      if (rejected !== undefined)
        throw invalid('certificates', `certificate ${rejected.index + 1}: ${rejected.reason}`);
      const records = [
        ...bundle.anchors.map((each) => recordOf(each, true)),
        ...bundle.intermediates.map((each) => recordOf(each, asAnchors)),
      ];
      if (records.length > MAX_CERTIFICATES)
        throw invalid('certificates', `holds more than ${MAX_CERTIFICATES} certificates`);
      const added = await store.addTrustAnchors(records, access.actor(context));
      return { added: added.map(anchorToProto), known: records.length - added.length };
    },

    async listTrustAnchors(request) {
      const list = ['trustAnchors'];
      const found = await store.listTrustAnchors(pageOf(request, list));
      const shape = {
        schema: TrustAnchorSchema,
        toProto: anchorToProto,
        keyOf: ({ fingerprint }: TrustAnchorRecord) => fingerprint,
      };
      const { messages, page } = fitPage(found, shape);
      return { trustAnchors: messages, nextPageToken: nextPageToken(page, list) };
    },

    async getTrustAnchor({ name, version }) {
      const record = await store.getTrustAnchor(
        anchorIdOf(name),
        version === 0n ? null : safeInteger(version, 'version'),
      );
      if (record === null) throw new StoreError('not_found', `${name} is not known, or not kept, in this version`);
      return { trustAnchor: anchorToProto(record) };
    },

    async removeTrustAnchor({ name, etag }, context) {
      const expected = versionOfEtag(etag, 'etag') ?? 'any';
      await store.removeTrustAnchor(anchorIdOf(name), { ...access.actor(context), expected });
      return {};
    },

    async importInventory({ entries }, context) {
      if (entries.length === 0) throw invalid('entries', 'is empty');
      if (entries.length > MAX_ENTRIES) throw invalid('entries', `has more than ${MAX_ENTRIES} entries`);
      const records = entries.map((entry, index) => ({
        fingerprint: idOf(entry.name, { collection: 'inventory', field: `entries[${index}].name`, isId: isDigest }),
        group: text(entry.group, `entries[${index}].group`, 253),
        comment: text(entry.comment, `entries[${index}].comment`, 512),
      }));
      const seen = new Set(records.map(({ fingerprint }) => fingerprint));
      if (seen.size !== records.length) throw invalid('entries', 'names an EK twice');
      return store.putInventory(records, access.actor(context));
    },

    async listInventory(request) {
      const list = ['inventory'];
      const page = await store.listInventory(pageOf(request, list));
      return { entries: page.items.map(entryToProto), nextPageToken: nextPageToken(page, list) };
    },

    async removeInventoryEntry({ name }, context) {
      await store.removeInventory(
        idOf(name, { collection: 'inventory', field: 'name', isId: isDigest }),
        access.actor(context),
      );
      return {};
    },
  };
}

function anchorIdOf(name: string): string {
  return idOf(name, { collection: 'trustAnchors', field: 'name', isId: isDigest });
}

function recordOf(certificate: Certificate, anchor: boolean): GivenTrustAnchor {
  return {
    fingerprint: certificate.fingerprint,
    subject: certificate.subject.text,
    anchor,
    notAfter: certificate.notAfter.getTime(),
    certificate: certificate.raw.toString('hex'),
  };
}

function anchorToProto(record: TrustAnchorRecord) {
  return {
    name: `trustAnchors/${record.fingerprint}`,
    subject: record.subject,
    anchor: record.anchor,
    notAfter: timestampFromMs(record.notAfter),
    certificate: Buffer.from(record.certificate, 'hex'),
    createTime: timestampFromMs(record.createTime),
    version: BigInt(record.version),
    etag: etagOf(record.version),
  };
}

function entryToProto({ fingerprint, group, comment, createTime }: InventoryRecord) {
  return { name: `inventory/${fingerprint}`, group, comment, createTime: timestampFromMs(createTime) };
}
