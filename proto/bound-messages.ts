import type { ServerInterceptingCall } from '@grpc/grpc-js';
import { streamOf } from './call-stream.ts';
import type { CallStream } from './call-stream.ts';
import type { Context } from './service.ts';
import { StatusError } from './status.ts';

type NextCall = NonNullable<ConstructorParameters<typeof ServerInterceptingCall>[0]>;

/** Of a message in its frame: whether it is compressed (1 byte), and its length (4 bytes, big-endian). */
const HEAD_BYTES = 5;

/**
 * grpc-js holds an unfinished message up to the largest one of any method, each piece of it as an object of its own, and makes all
 * messages of what has arrived before one is asked for: pieces of a byte, or messages of none, cost a hundred times what was sent. It
 * has no option against either, so its reader is replaced: a call holds one message, and what arrived behind it as it came.
 */
export function boundMessages(next: NextCall, call: Pick<Context, 'fail'>, limit: number): MessageReader {
  if (!isReader(Reflect.get(next, 'decoder'))) throw new TypeError('grpc-js reads otherwise');
  const reader = new MessageReader(streamOf(next), call, limit);
  Reflect.set(next, 'decoder', reader);
  return reader;
}

/** One object for each call: an idle stream keeps it. */
export class MessageReader {
  readonly #stream: CallStream;
  readonly #call: Pick<Context, 'fail'>;
  readonly #limit: number;
  /** The head alone until it is whole, then head and message. */
  #frame: Buffer | null = null;
  #filled = 0;
  #hasMore = false;

  constructor(stream: CallStream, call: Pick<Context, 'fail'>, limit: number) {
    this.#stream = stream;
    this.#call = call;
    this.#limit = limit;
  }

  /** Something came behind the last message, together with it. */
  get hasMore(): boolean {
    return this.#hasMore;
  }

  /** Nobody reads any more, but the stream may last until its caller ends it: what is not whole goes. */
  drop(): void {
    this.#frame = null;
    this.#filled = 0;
  }

  /** The first message that is whole with this data. What stands behind it goes back into the stream, to come again when it is read. */
  write(data: Buffer): Buffer[] {
    this.#hasMore = false;
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
        this.drop();
        this.#putBack(data.subarray(read));
        return [frame];
      }
      this.#frame = Buffer.allocUnsafe(HEAD_BYTES + length);
      frame.copy(this.#frame);
    }
  }

  #putBack(rest: Buffer): void {
    if (rest.length === 0) return;
    this.#hasMore = true;
    // A stream that flows would hand it out at once.
    this.#stream.pause();
    this.#stream.unshift(rest);
  }
}

export function messageTooLarge(limit: number): StatusError {
  return new StatusError({
    code: 'RESOURCE_EXHAUSTED',
    reason: 'MESSAGE_TOO_LARGE',
    message: `message is too large: at most ${limit} bytes are taken`,
    metadata: { limit: String(limit) },
  });
}

function isReader(candidate: unknown): boolean {
  return candidate instanceof Object && typeof Reflect.get(candidate, 'write') === 'function';
}
