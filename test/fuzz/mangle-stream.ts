/** Messages of a stream on their way through a network that does as it likes. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, Message, MessageShape } from '@bufbuild/protobuf';

import { StatusError } from '../../proto/status.ts';
import { MessageMaker } from '../support/message-maker.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { mutant } from './mutate.ts';

const DICTIONARY = { texts: ['a', 'sha256'], bytes: [Buffer.alloc(32, 1), Buffer.alloc(34, 1)] };

/** What becomes of a stream's messages: they are dropped, repeated, put off, damaged, or others come in their place. */
export class Mangler {
  readonly #random: SeededRandom;
  readonly #schema: DescMessage;
  #heldBack: Buffer | null = null;

  constructor(random: SeededRandom, schema: DescMessage) {
    this.#random = random;
    this.#schema = schema;
  }

  mangle(message: Message): readonly Buffer[] {
    const bytes = Buffer.from(toBinary(this.#schema, message));
    const held = this.#heldBack;
    this.#heldBack = null;
    const out = this.#one(bytes);
    return held === null ? out : [...out, held];
  }

  #one(bytes: Buffer): readonly Buffer[] {
    const random = this.#random;
    switch (random.below(32)) {
      case 0:
        return [];
      case 1:
        return [bytes, bytes];
      case 2:
        this.#heldBack = bytes;
        return [];
      case 3:
      case 4:
        return [mutant([bytes], random)];
      case 5:
        return [Buffer.from(toBinary(this.#schema, new MessageMaker(random, DICTIONARY).make(this.#schema))), bytes];
      default:
        return [bytes];
    }
  }
}

/** Messages of a stream as the bridge hands them on. */
export async function* decodedBy<S extends DescMessage>(
  schema: S,
  bodies: AsyncIterable<Buffer> | Iterable<Buffer>,
): AsyncGenerator<MessageShape<S>, void, undefined> {
  for await (const body of bodies) {
    let message: MessageShape<S>;
    try {
      message = fromBinary(schema, body, { readUnknownFields: false });
    } catch (cause) {
      throw new StatusError({ code: 'INVALID_ARGUMENT', reason: 'MALFORMED_MESSAGE', message: 'malformed', cause });
    }
    yield message;
  }
}

/** Bodies that an agent sends, until it ends its stream. */
export class Outgoing implements AsyncIterable<Buffer> {
  readonly #bodies: Buffer[] = [];
  #closed = false;
  #closing = false;
  #arrived: () => void = () => undefined;

  get empty(): boolean {
    return this.#bodies.length === 0;
  }

  push(body: Buffer): void {
    this.#bodies.push(body);
    this.#closing = false;
    this.#arrived();
  }

  close(): void {
    this.#closed = true;
    this.#arrived();
  }

  /** Ends the stream when it is read empty and nothing follows soon: whoever waits for more shall not. */
  closeWhenRead(): void {
    this.#closing = true;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const body = this.#bodies.shift();
      if (body !== undefined) {
        yield body;
        continue;
      }
      if (this.#closed) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#arrived = resolve;
      const timer = setTimeout(resolve, this.#closing ? 40 : 400);
      await promise;
      clearTimeout(timer);
      if (this.#bodies.length === 0) return;
    }
  }
}
