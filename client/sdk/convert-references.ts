import { KeyringSchema } from '../../proto/gen/assay/v1/keyring_pb.ts';
import type { Keyring as KeyringMessage } from '../../proto/gen/assay/v1/keyring_pb.ts';
import { ReferenceEntrySchema, ReferenceSetSchema } from '../../proto/gen/assay/v1/reference_value_pb.ts';
import type {
  ReferenceEntry as EntryMessage,
  ReferenceSet as SetMessage,
} from '../../proto/gen/assay/v1/reference_value_pb.ts';
import { dateOf, jsonOf } from './convert.ts';
import type { JsonObject } from './resources.ts';

/** A version of a reference set, without its entries. */
export interface ReferenceSet {
  /** `referenceSets/{set}` */
  readonly name: string;
  readonly version: bigint;
  readonly entryCount: bigint;
  readonly createTime: Date | undefined;
  readonly etag: string;
  readonly json: JsonObject;
}

/** A file that may be there. */
export interface ReferenceEntry {
  readonly algorithm: string;
  /** Hexadecimal. */
  readonly digest: string;
  readonly path: string;
  readonly json: JsonObject;
}

/** A key that signs files. */
export interface KeyringKey {
  /** SHA-256 of the SubjectPublicKeyInfo, hexadecimal. */
  readonly fingerprint: string;
  /** By which file signatures name it. */
  readonly keyIds: readonly string[];
  readonly algorithm: string;
  /** Empty for a bare key. */
  readonly subject: string;
  readonly notBefore: Date | undefined;
  readonly notAfter: Date | undefined;
  /** Certificate or SubjectPublicKeyInfo. */
  readonly der: Buffer;
}

export interface Keyring {
  /** `keyrings/{keyring}` */
  readonly name: string;
  readonly version: bigint;
  /** Empty in lists. */
  readonly keys: readonly KeyringKey[];
  readonly keyCount: number;
  readonly createTime: Date | undefined;
  readonly etag: string;
  readonly json: JsonObject;
}

export function fromProtoReferenceSet(message: SetMessage): ReferenceSet {
  const { name, version, entryCount, createTime, etag } = message;
  return { name, version, entryCount, createTime: dateOf(createTime), etag, json: jsonOf(ReferenceSetSchema, message) };
}

export function fromProtoReferenceEntry(message: EntryMessage): ReferenceEntry {
  const { algorithm, digest, path } = message;
  return { algorithm, digest, path, json: jsonOf(ReferenceEntrySchema, message) };
}

export function fromProtoKeyring(message: KeyringMessage): Keyring {
  const { name, version, keyCount, createTime, etag } = message;
  return {
    name,
    version,
    keys: message.keys.map(({ fingerprint, keyIds, algorithm, subject, notBefore, notAfter, der }) => ({
      fingerprint,
      keyIds,
      algorithm,
      subject,
      notBefore: dateOf(notBefore),
      notAfter: dateOf(notAfter),
      der: Buffer.from(der),
    })),
    keyCount,
    createTime: dateOf(createTime),
    etag,
    json: jsonOf(KeyringSchema, message),
  };
}
