import type { DescMessage } from '@bufbuild/protobuf';

/** A message whose bytes a handler has made already, of parts that other calls send, too: the bridge sends them as they are. */
export class EncodedMessage<S extends DescMessage> {
  readonly schema: S;
  readonly bytes: Buffer;

  /** `bytes` must be a message of the schema, and must not change any more. */
  constructor(schema: S, bytes: Buffer) {
    this.schema = schema;
    this.bytes = bytes;
  }
}
