/** Calls below gRPC: any bytes in any frames, over one HTTP/2 connection with any certificate, from any address of loopback. */
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { connect as connectTls } from 'node:tls';

import { fromBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';

import { ErrorInfoSchema } from '../../proto/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../proto/gen/google/rpc/status_pb.ts';
import { toPem } from '../../proto/tls-identity.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';

export interface RawAnswer {
  /** gRPC status as a number; -1 where the call ended without one. */
  readonly status: number;
  /** Of ErrorInfo; '' where there is none. */
  readonly reason: string;
  readonly message: string;
  /** Bytes of the answer's messages, frames included. */
  readonly received: number;
}

export interface RawCall {
  /** `/package.Service/Method` */
  readonly path: string;
  readonly body: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds; the service ends the call then. */
  readonly timeout?: number;
}

export class RawCaller implements Disposable {
  readonly #session: ClientHttp2Session;

  private constructor(session: ClientHttp2Session) {
    this.#session = session;
    session.on('error', () => undefined);
  }

  static async open(
    port: number,
    options: { readonly identity?: TlsIdentity; readonly localAddress?: string } = {},
  ): Promise<RawCaller> {
    const { identity, localAddress } = options;
    const socket = connectTls({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      ...(localAddress === undefined ? {} : { localAddress }),
      ...(identity === undefined
        ? {}
        : { cert: identity.certificateChain.map(toPem).join(''), key: identity.privateKey }),
    });
    await once(socket, 'secureConnect');
    return new RawCaller(connectHttp2('https://127.0.0.1', { createConnection: () => socket }));
  }

  async call({ path, body, headers = {}, timeout = 60_000 }: RawCall): Promise<RawAnswer> {
    const { stream, answer } = this.open(path, { 'grpc-timeout': `${timeout}m`, ...headers });
    stream.end(body);
    return answer;
  }

  /** A call whose request is still to come. */
  open(
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): { readonly stream: ClientHttp2Stream; readonly answer: Promise<RawAnswer> } {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    return { stream, answer: answerOf(stream) };
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}

async function answerOf(stream: ClientHttp2Stream): Promise<RawAnswer> {
  let received = 0;
  let answer: Omit<RawAnswer, 'received'> = { status: -1, reason: '', message: '' };
  const read = (found: Readonly<Record<string, unknown>>): void => {
    if (found['grpc-status'] !== undefined) answer = readStatus(found);
  };
  stream
    .on('response', read)
    .on('trailers', read)
    .on('error', () => undefined)
    .on('data', (data: Buffer) => (received += data.length));
  // A call that was refused before its request ended stays half open on this side.
  await Promise.race([once(stream, 'close'), once(stream, 'end')]);
  return { ...answer, received };
}

/** A message in its gRPC frame. */
export function frame(message: Uint8Array, compressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function readStatus(found: Readonly<Record<string, unknown>>): Omit<RawAnswer, 'received'> {
  const { 'grpc-status-details-bin': details, 'grpc-message': message } = found;
  const status = typeof details === 'string' ? fromBinary(StatusSchema, Buffer.from(details, 'base64')) : undefined;
  const info = status?.details.map((detail) => anyUnpack(detail, ErrorInfoSchema)).find((each) => each !== undefined);
  return {
    status: Number(found['grpc-status']),
    reason: info?.reason ?? '',
    message: status?.message ?? (typeof message === 'string' ? message : ''),
  };
}
