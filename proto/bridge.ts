import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, Message } from '@bufbuild/protobuf';
import { messageTooLarge } from './bound-messages.ts';
import { hasMoreFieldsThan } from './count-fields.ts';
import { EncodedMessage } from './encoded-message.ts';
import { Sending } from './sending.ts';
import { StatusError } from './status.ts';
import type { AnyHandler, BoundMethod, Context } from './service.ts';
import type { ServerCall } from './server-call.ts';

export interface MessageLimits {
  readonly maxReceiveBytes: number;
  /** Fields of a message that is received, those of the messages in it included. */
  readonly maxFields: number;
  readonly maxSendBytes: number;
  /** How long the request of a method, or the first one of a stream that leads to one answer, may take to arrive. */
  readonly requestTimeoutMillis: number;
}

/** Makes of a typed handler what serves a raw call: bytes are decoded and encoded here, inside the call's try. */
export function makeServe(
  { descriptor, handler }: BoundMethod,
  limits: MessageLimits,
): (call: ServerCall) => Promise<void> {
  const { input, output } = descriptor;
  const send = (call: ServerCall, response: unknown): Promise<void> =>
    call.send(encode(output, response, limits.maxSendBytes));
  switch (descriptor.methodKind) {
    case 'unary':
      return async (call) => send(call, await handler(await readOne(call, input, limits), call));
    case 'client_streaming':
      return async (call) => send(call, await handler(readPromptly(call, input, limits), call));
    case 'server_streaming':
      return async (call) => pump(call, handler, await readOne(call, input, limits), send);
    case 'bidi_streaming':
      return (call) => pump(call, handler, new Messages(call, input, limits), send);
  }
}

/** Sends what a handler yields, or lets it send. A handler that waits for something while the call ends is left to its signal. */
function pump(
  call: ServerCall,
  handler: AnyHandler,
  request: unknown,
  send: (call: ServerCall, response: unknown) => Promise<void>,
): Promise<void> {
  const responses = handler(request, call);
  if (responses instanceof Sending) return responses.produce((message) => send(call, message));
  if (!isAsyncIterable(responses)) throw new TypeError('handler of a stream answered no stream');
  return pumpEach(responses[Symbol.asyncIterator](), (response) => send(call, response));
}

async function pumpEach(source: AsyncIterator<unknown>, send: (response: unknown) => Promise<void>): Promise<void> {
  // A frame that waits for the next response would hold the last one as long: an idle stream holds none.
  const sendNext = async (): Promise<boolean> => {
    const next = await source.next();
    if (next.done === true) return false;
    await send(next.value);
    return true;
  };
  try {
    // oxlint-disable-next-line no-await-in-loop -- one after another is the point
    while (await sendNext());
  } catch (error) {
    await source.return?.().catch(() => undefined);
    throw error;
  }
}

async function readOne(call: ServerCall, schema: DescMessage, limits: MessageLimits): Promise<Message> {
  const inTime = arrivesInTime(call, limits);
  try {
    const bytes = await call.receive();
    if (bytes === undefined) throw malformed('request is missing');
    const request = decode(schema, bytes, limits);
    if ((await call.receive()) !== undefined) throw malformed('more than one request');
    return request;
  } finally {
    clearTimeout(inTime);
  }
}

/** Ends the call unless it is cleared within the time that a request may take to arrive. */
function arrivesInTime(call: ServerCall, { requestTimeoutMillis }: MessageLimits): NodeJS.Timeout {
  return setTimeout(() => {
    const message = 'request did not arrive in time';
    call.fail(new StatusError({ code: 'DEADLINE_EXCEEDED', reason: 'REQUEST_TIMEOUT', message }));
  }, requestTimeoutMillis);
}

/** A stream of requests that leads to one answer: its first message must arrive in time, the handler sees to the others. */
function readPromptly(call: ServerCall, schema: DescMessage, limits: MessageLimits): AsyncIterableIterator<Message> {
  const inTime = arrivesInTime(call, limits);
  const messages = new Messages(call, schema, limits);
  const prompt: AsyncIterableIterator<Message> = {
    next: async () => {
      try {
        return await messages.next();
      } finally {
        clearTimeout(inTime);
      }
    },
    return: () => {
      clearTimeout(inTime);
      return Promise.resolve({ done: true, value: undefined });
    },
    [Symbol.asyncIterator]: () => prompt,
  };
  call.signal.addEventListener('abort', () => clearTimeout(inTime), { once: true });
  return prompt;
}

/**
 * The messages of the caller, each read when it is asked for. A bad one ends the call even if the handler ignores what it is
 * thrown. A read that nobody waits for any more does not reject into the void.
 */
class Messages implements AsyncIterableIterator<Message, undefined> {
  readonly #call: ServerCall;
  readonly #schema: DescMessage;
  readonly #limits: MessageLimits;
  /** The read that was asked for last, while it goes on. */
  #last: Promise<unknown> | null = null;

  constructor(call: ServerCall, schema: DescMessage, limits: MessageLimits) {
    this.#call = call;
    this.#schema = schema;
    this.#limits = limits;
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    const read = (): Promise<IteratorResult<Message, undefined>> =>
      this.#call.receive().then((bytes) => this.#decoded(bytes));
    const next = this.#last === null ? read() : this.#last.then(read, read);
    this.#last = next;
    const over = (): void => {
      if (this.#last === next) this.#last = null;
    };
    next.then(over, over);
    return next;
  }

  return(): Promise<IteratorResult<Message, undefined>> {
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #decoded(bytes: Buffer | undefined): IteratorResult<Message, undefined> {
    if (bytes === undefined) return { done: true, value: undefined };
    try {
      return { done: false, value: decode(this.#schema, bytes, this.#limits) };
    } catch (error) {
      if (error instanceof StatusError) this.#call.fail(error);
      throw error;
    }
  }
}

function decode(schema: DescMessage, bytes: Buffer, { maxReceiveBytes, maxFields }: MessageLimits): Message {
  if (bytes.length > maxReceiveBytes) throw messageTooLarge(maxReceiveBytes);
  if (hasMoreFieldsThan(maxFields, schema, bytes)) throw tooManyFields(maxFields);
  try {
    // Fields that nobody reads would be kept as objects, a hundred times their size in a message that is made of them.
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch (cause) {
    throw malformed(`message is not a ${schema.typeName}`, cause);
  }
}

function tooManyFields(limit: number): StatusError {
  return new StatusError({
    code: 'RESOURCE_EXHAUSTED',
    reason: 'TOO_MANY_FIELDS',
    message: `message has too many fields: at most ${limit} are read`,
    metadata: { limit: String(limit) },
  });
}

function encode(schema: DescMessage, response: unknown, limit: number): Buffer {
  const bytes = bytesOf(schema, response);
  if (bytes.length > limit) {
    throw new StatusError({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'RESPONSE_TOO_LARGE',
      message: `response has ${bytes.length} bytes, at most ${limit} are sent`,
    });
  }
  return bytes;
}

function bytesOf(schema: DescMessage, response: unknown): Buffer {
  if (response instanceof EncodedMessage) {
    if (response.schema !== schema) throw new TypeError('handler answered the bytes of another message');
    return response.bytes;
  }
  if (!isMessageInit(response)) throw new TypeError('handler answered no message');
  const { buffer, byteOffset, byteLength } = toBinary(schema, create(schema, response));
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** What an error becomes for the caller. What is no StatusError is ours: logged under the request's id, told to nobody. */
export function describeError(
  error: unknown,
  context: Context,
  options: { readonly logger: RpcLogger; readonly translate?: (error: unknown) => StatusError | undefined },
): StatusError {
  const { requestId, method } = context;
  const call = `${method.service}/${method.name}`;
  try {
    const known = error instanceof StatusError ? error : options.translate?.(error);
    if (known !== undefined) {
      const fields = { err: known, requestId, call, reason: known.reason };
      // What a caller can cause at will is no line in the log of a service that runs well.
      if (known.code === 'INTERNAL' || known.code === 'DATA_LOSS') options.logger.error(fields, 'call failed');
      else options.logger.debug(fields, 'call refused');
      return known;
    }
    options.logger.error({ err: error, requestId, call }, 'handler failed');
  } catch {
    // Neither a translation nor a log that fails may cost more than this call.
  }
  return new StatusError({ code: 'INTERNAL', reason: 'INTERNAL', message: 'internal error', cause: error });
}

/** Where the channel reports to; pino's loggers fit. Fields never hold a secret, a nonce or a message's content. */
export interface RpcLogger {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

function malformed(message: string, cause?: unknown): StatusError {
  return new StatusError({
    code: 'INVALID_ARGUMENT',
    reason: 'MALFORMED_MESSAGE',
    message,
    fieldViolations: [{ field: '', description: message }],
    ...(cause === undefined ? {} : { cause }),
  });
}

function isMessageInit(candidate: unknown): candidate is Record<string, unknown> {
  return typeof candidate === 'object' && candidate !== null;
}

function isAsyncIterable(candidate: unknown): candidate is AsyncIterable<unknown> {
  return typeof candidate === 'object' && candidate !== null && Symbol.asyncIterator in candidate;
}
