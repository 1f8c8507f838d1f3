/**
 * One bidirectional gRPC stream on a TLS connection of its own, on node:http2 alone: a load generator on grpc-js would be the
 * bottleneck of the service that it loads.
 */
import { connect as connectHttp2 } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { SecureContext } from 'node:tls';

/** Length of the prefix of a gRPC message: a flag and the message's length. */
export const PREFIX_BYTES = 5;
/** Connections from one address; the service takes at most 1,000 of one. */
const PER_ADDRESS = 900;

export interface GrpcStreamOptions {
  readonly port: number;
  /** Which connection of this process it is: they spread over the addresses of the loopback network. */
  readonly index: number;
  readonly path: string;
  readonly secureContext: SecureContext;
  readonly onMessage: (message: Buffer) => void;
  /** Once, when stream or connection end, with what is known of why. */
  readonly onClose: (reason: string) => void;
}

export class GrpcStream {
  readonly #options: GrpcStreamOptions;
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  #rest: Buffer = Buffer.alloc(0);
  #closed = false;
  #status = '';

  constructor(options: GrpcStreamOptions) {
    this.#options = options;
    const { port, index, path, secureContext } = options;
    const localAddress = `127.0.${1 + Math.floor(index / PER_ADDRESS)}.1`;
    const tcp = connectTcp({ host: '127.0.0.1', port, localAddress, noDelay: true });
    const socket = connectTls({
      socket: tcp,
      servername: 'localhost',
      secureContext,
      ALPNProtocols: ['h2'],
      // Who is loaded here is known; to verify it would cost the generator what it needs for its load.
      rejectUnauthorized: false,
    });
    const failed = (error: Error): void => this.#end(error.message);
    tcp.on('error', failed);
    socket.on('error', failed);
    this.#session = connectHttp2('https://localhost', { createConnection: () => socket });
    this.#session.on('error', failed);
    this.#session.on('close', () => this.#end('connection closed'));
    this.#stream = this.#session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    this.#stream.on('data', (chunk: Buffer) => this.#read(chunk));
    const status = (headers: IncomingHttpHeaders): void => {
      if (typeof headers['grpc-status'] === 'string') this.#status = `gRPC status ${headers['grpc-status']}`;
    };
    this.#stream.on('response', status);
    this.#stream.on('trailers', status);
    this.#stream.on('error', failed);
    this.#stream.on('close', () => this.#end(this.#status));
  }

  /** Sends what {@link frame} made. The bytes must not change until they are sent. */
  send(framed: Buffer): void {
    this.#stream.write(framed);
  }

  /** Nothing more is sent: what a method with a single request waits for. */
  finish(): void {
    this.#stream.end();
  }

  close(): void {
    this.#session.destroy();
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= PREFIX_BYTES) {
      const end = PREFIX_BYTES + bytes.readUInt32BE(1);
      if (bytes.length < end) break;
      this.#options.onMessage(bytes.subarray(PREFIX_BYTES, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }

  #end(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session.destroy();
    this.#options.onClose(reason);
  }
}

/** A message with its gRPC prefix. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(PREFIX_BYTES + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}
