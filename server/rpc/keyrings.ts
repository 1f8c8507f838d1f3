import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { KeyringSchema } from '../../proto/gen/assay/v1/keyring_pb.ts';
import type { ReferenceValueService } from '../../proto/gen/assay/v1/reference_value_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import { isPolicyId } from '../policy/policy.ts';
import { MAX_KEYRING_BYTES, readKeyring } from '../reference/keyring.ts';
import type { KeyProblem } from '../reference/keyring.ts';
import type { KeyringKeyRecord, KeyringRecord, KeyringSummary } from '../store/reference-store.ts';
import { type Store, StoreError } from '../store/store.ts';
import type { Access } from './access.ts';
import { etagOf, versionOfEtag } from './convert-host.ts';
import { bytes, idOf, invalid, safeInteger } from './invalid.ts';
import { fitPage, nextPageToken, pageOf } from './paging.ts';

type KeyringHandlers = Pick<
  Handlers<typeof ReferenceValueService>,
  'importKeyring' | 'getKeyring' | 'listKeyrings' | 'removeKeyringKey' | 'deleteKeyring'
>;

/** The part of the ReferenceValueService that is about keyrings. */
export function keyringHandlers({
  access,
  store,
}: {
  readonly access: Access;
  readonly store: Store;
}): KeyringHandlers {
  return {
    async importKeyring({ name, keys, add, etag }, context) {
      const id = keyringIdOf(name);
      const expected = versionOfEtag(etag, 'etag') ?? 'any';
      const read = readKeyring(bytes(keys, 'keys', { min: 1, max: MAX_KEYRING_BYTES }));
      if ('problems' in read) throw keysInvalid(read.problems);
      const options = { ...access.actor(context), expected, add } as const;
      const { keyring, changed } = await store.putKeyring(id, read.keys, options);
      return { keyring: keyringToProto(keyring), changed };
    },

    async getKeyring({ name, version }) {
      const record = await store.getKeyring(keyringIdOf(name), version === 0n ? null : safeInteger(version, 'version'));
      if (record === null) throw new StoreError('not_found', `${name} is not known, or not kept, in this version`);
      return { keyring: keyringToProto(record) };
    },

    async listKeyrings(request) {
      const list = ['keyrings'];
      const found = await store.listKeyrings(pageOf(request, list));
      const shape = { schema: KeyringSchema, toProto: summaryToProto, keyOf: ({ id }: KeyringSummary) => id };
      const { messages, page } = fitPage(found, shape);
      return { keyrings: messages, nextPageToken: nextPageToken(page, list) };
    },

    async removeKeyringKey({ name, fingerprint, etag }, context) {
      const id = keyringIdOf(name);
      if (!/^[0-9a-f]{64}$/.test(fingerprint)) throw invalid('fingerprint', 'must be 64 hex digits in lower case');
      const options = { ...access.actor(context), expected: versionOfEtag(etag, 'etag') ?? 'any' } as const;
      return { keyring: keyringToProto(await store.removeKeyringKey(id, fingerprint, options)) };
    },

    async deleteKeyring({ name, etag }, context) {
      const expected = versionOfEtag(etag, 'etag') ?? 'any';
      await store.deleteKeyring(keyringIdOf(name), { ...access.actor(context), expected });
      return {};
    },
  };
}

function keyringIdOf(name: string): string {
  return idOf(name, { collection: 'keyrings', field: 'name', isId: isPolicyId });
}

/** Of many bad keys so many are told. */
const MAX_TOLD = 20;

function keysInvalid(problems: readonly KeyProblem[]): StatusError {
  const [first] = problems;
  const more = problems.length > 1 ? `, and ${problems.length - 1} more` : '';
  return new StatusError({
    code: 'INVALID_ARGUMENT',
    reason: 'KEY_INVALID',
    message: `key ${first?.key}: ${first?.message}${more}`,
    fieldViolations: problems
      .slice(0, MAX_TOLD)
      .map(({ key, message }) => ({ field: 'keys', description: `key ${key}: ${message}` })),
  });
}

function summaryToProto(record: KeyringSummary) {
  return {
    name: `keyrings/${record.id}`,
    version: BigInt(record.version),
    keyCount: record.keyCount,
    createTime: timestampFromMs(record.createTime),
    etag: etagOf(record.version),
  };
}

function keyringToProto(record: KeyringRecord) {
  return { ...summaryToProto(record), keys: record.keys.map(keyToProto) };
}

function keyToProto({ fingerprint, keyIds, algorithm, subject, notBefore, notAfter, der }: KeyringKeyRecord) {
  return {
    fingerprint,
    keyIds: [...keyIds],
    algorithm,
    subject,
    ...(notBefore === null ? {} : { notBefore: timestampFromMs(notBefore) }),
    ...(notAfter === null ? {} : { notAfter: timestampFromMs(notAfter) }),
    der: Buffer.from(der, 'hex'),
  };
}
