import type { Readable } from 'node:stream';
import type { ServerInterceptingCall } from '@grpc/grpc-js';
import { messageTooLarge } from './bridge.ts';
import type { ServerCall } from './server-call.ts';

type NextCall = NonNullable<ConstructorParameters<typeof ServerInterceptingCall>[0]>;

/** Of a message in its frame: whether it is compressed (1 byte), and its length (4 bytes, big-endian). */
const HEAD_BYTES = 5;

/**
 * grpc-js holds an unfinished message up to the largest one of any method, each piece of it as an object of its own, and makes all
 * messages of what has arrived before one is asked for: pieces of a byte, or messages of none, cost a hundred times what was sent. It
 * has no option against either, so its reader is replaced: a call holds one message, and what arrived behind it as it came.
 */
export function boundMessages(next: NextCall, call: ServerCall, limit: number): void {
  const stream: unknown = Reflect.get(next, 'stream');
  if (!isReadable(stream) || !isReader(Reflect.get(next, 'decoder'))) throw new TypeError('grpc-js reads otherwise');
  Reflect.set(next, 'decoder', new MessageReader(stream, call, limit));
}

type Source = Pick<Readable, 'pause' | 'unshift'>;

/** One object for each call: an idle stream keeps it. */
class MessageReader {
  readonly #stream: Source;
  readonly #call: ServerCall;
  readonly #limit: number;
  /** The head alone until it is whole, then head and message. */
  #frame: Buffer | null = null;
  #filled = 0;

  constructor(stream: Source, call: ServerCall, limit: number) {
    this.#stream = stream;
    this.#call = call;
    this.#limit = limit;
  }

  /** The first message that is whole with this data. What stands behind it goes back into the stream, to come again when it is read. */
  write(data: Buffer): Buffer[] {
    for (let read = 0; ;) {
      const frame = (this.#frame ??= Buffer.allocUnsafe(HEAD_BYTES));
      const copied = data.copy(frame, this.#filled, read);
      read += copied;
      this.#filled += copied;
      if (this.#filled < frame.length) return [];
      const length = frame.readUInt32BE(1);
      if (length > this.#limit) {
        this.#call.fail(messageTooLarge(this.#limit));
        return [];
      }
      if (frame.length === HEAD_BYTES + length) {
        this.#frame = null;
        this.#filled = 0;
        this.#putBack(data.subarray(read));
        return [frame];
      }
      this.#frame = Buffer.allocUnsafe(HEAD_BYTES + length);
      frame.copy(this.#frame);
    }
  }

  #putBack(rest: Buffer): void {
    if (rest.length === 0) return;
    // A stream that flows would hand it out at once.
    this.#stream.pause();
    this.#stream.unshift(rest);
  }
}

function isReadable(candidate: unknown): candidate is Source {
  return (
    candidate instanceof Object &&
    ['pause', 'unshift'].every((name) => typeof Reflect.get(candidate, name) === 'function')
  );
}

function isReader(candidate: unknown): boolean {
  return candidate instanceof Object && typeof Reflect.get(candidate, 'write') === 'function';
}
