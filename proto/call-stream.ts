import { constants } from 'node:http2';
import type { Readable } from 'node:stream';
import type { ServerInterceptingCall } from '@grpc/grpc-js';

type NextCall = NonNullable<ConstructorParameters<typeof ServerInterceptingCall>[0]>;

/** The HTTP/2 stream of a call, which grpc-js keeps to itself. */
export interface CallStream extends Pick<Readable, 'pause' | 'unshift' | 'once' | 'destroyed'> {
  /** What waits to be sent is lost where the code is an error. Without effect on a stream that is closed. */
  close(code: number): void;
}

export const CANCEL = constants.NGHTTP2_CANCEL;

/** The answer is whole, and what the caller still sends is not wanted: he must not take the answer for lost (RFC 9113 §8.1). */
export const ANSWERED = constants.NGHTTP2_NO_ERROR;

export function streamOf(next: NextCall): CallStream {
  const stream: unknown = Reflect.get(next, 'stream');
  if (!isCallStream(stream)) throw new TypeError('grpc-js is made otherwise');
  return stream;
}

function isCallStream(candidate: unknown): candidate is CallStream {
  return (
    candidate instanceof Object &&
    ['pause', 'unshift', 'once', 'close'].every((name) => typeof Reflect.get(candidate, name) === 'function')
  );
}
