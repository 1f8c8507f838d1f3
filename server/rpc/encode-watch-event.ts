import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

import { EncodedMessage } from '../../proto/encoded-message.ts';
import { WatchAttestationResultsResponseSchema } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { WatchEvent } from '../result/watch.ts';
import type { Confirmation, ResultRecord } from '../store/records.ts';
import { resultToProto } from './convert-result.ts';

type Response = typeof WatchAttestationResultsResponseSchema;
type Told = NonNullable<MessageInitShape<Response>['event']>;

/**
 * Messages without their resume token, by what they tell: many watchers hear of the same change, each with a token of its own. They
 * go with what they tell.
 */
const shared = new WeakMap<ResultRecord | Confirmation, Buffer>();

/**
 * The message of an event. Fields of a message may come in any order and from anywhere: what watchers share comes first, the token
 * behind it.
 */
export function encodeWatchEvent(event: WatchEvent): EncodedMessage<Response> {
  const told = sharedBytes(event);
  const token = Buffer.from(event.resumeToken, 'latin1');
  if (token.length === 0) return new EncodedMessage(WatchAttestationResultsResponseSchema, told);
  const bytes = Buffer.concat([told, tokenPrefix(token.length), token]);
  return new EncodedMessage(WatchAttestationResultsResponseSchema, bytes);
}

function sharedBytes(event: WatchEvent): Buffer {
  switch (event.kind) {
    case 'change': {
      const { result, initial } = event;
      const tell = (): Told => ({ case: 'change', value: { result: resultToProto(result), initial } });
      // A present result was read for one watcher.
      return initial ? encoded(tell()) : once(result, tell);
    }
    case 'removal':
      return encoded({ case: 'removal', value: { host: `hosts/${event.hostId}`, reason: event.reason } });
    case 'validity':
      return once(event.confirmation, () => ({ case: 'validity', value: validityToProto(event.confirmation) }));
    case 'bookmark':
      return encoded({ case: 'bookmark', value: { synced: event.synced } });
  }
}

function validityToProto({ hostId, revision, validUntil, confirmations }: Confirmation) {
  return {
    host: `hosts/${hostId}`,
    revision: BigInt(revision),
    validUntil: timestampFromMs(validUntil),
    confirmations: BigInt(confirmations),
  };
}

function once(told: ResultRecord | Confirmation, tell: () => Told): Buffer {
  let bytes = shared.get(told);
  if (bytes === undefined) shared.set(told, (bytes = encoded(tell())));
  return bytes;
}

function encoded(event: Told): Buffer {
  const { buffer, byteOffset, byteLength } = toBinary(
    WatchAttestationResultsResponseSchema,
    create(WatchAttestationResultsResponseSchema, { event }),
  );
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** What stands before a token of so many bytes. Tokens of one watch have few lengths. */
function tokenPrefix(length: number): Uint8Array {
  let prefix = prefixes.get(length);
  if (prefix === undefined) {
    const { number } = WatchAttestationResultsResponseSchema.field.resumeToken;
    prefix = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(length).finish();
    prefixes.set(length, prefix);
  }
  return prefix;
}

const prefixes = new Map<number, Uint8Array>();
