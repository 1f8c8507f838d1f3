import type { ServerInterceptingCall } from '@grpc/grpc-js';
import { messageTooLarge } from './bridge.ts';
import type { ServerCall } from './server-call.ts';

type NextCall = NonNullable<ConstructorParameters<typeof ServerInterceptingCall>[0]>;

/**
 * grpc-js holds an unfinished message up to the largest one of any method, and has no option against it. So the length that a
 * message announces is held to the limit of its own method here, before its bytes are kept.
 */
export function boundMessages(next: NextCall, call: ServerCall, limit: number): void {
  const decoder: unknown = Reflect.get(next, 'decoder');
  if (!isDecoder(decoder)) throw new TypeError('grpc-js reads otherwise');
  Reflect.set(decoder, 'maxReadMessageLength', limit);
  Reflect.set(next, 'decoder', new BoundedDecoder(decoder, call, limit));
}

interface Decoder {
  /** The messages that are whole with this data. Throws where one announces too much. */
  write(data: Buffer): Buffer[];
}

/** One object for each call: an idle stream keeps it. */
class BoundedDecoder implements Decoder {
  readonly #decoder: Decoder;
  readonly #call: ServerCall;
  readonly #limit: number;

  constructor(decoder: Decoder, call: ServerCall, limit: number) {
    this.#decoder = decoder;
    this.#call = call;
    this.#limit = limit;
  }

  write(data: Buffer): Buffer[] {
    try {
      return this.#decoder.write(data);
    } catch {
      this.#call.fail(messageTooLarge(this.#limit));
      return [];
    }
  }
}

function isDecoder(candidate: unknown): candidate is Decoder {
  return candidate instanceof Object && typeof Reflect.get(candidate, 'write') === 'function';
}
