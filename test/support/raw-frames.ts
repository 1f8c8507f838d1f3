/** HTTP/2 below any library: frames of the caller's own making over one TLS connection (RFC 9113 §4, RFC 7541 §6.2.2). */
import { once } from 'node:events';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';

export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;
const END_HEADERS = 4;
const ACK = 1;
const INITIAL_WINDOW_SIZE = 4;
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const HEAD_BYTES = 9;

export interface FrameFields {
  readonly flags?: number;
  readonly stream?: number;
  readonly payload?: Buffer;
}

export function makeFrame(
  type: number,
  { flags = 0, stream = 0, payload = Buffer.alloc(0) }: FrameFields = {},
): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Headers, each a literal that no table keeps; names and values are shorter than 127 bytes. */
export function encodeHeaders(headers: Readonly<Record<string, string>>): Buffer {
  const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  return Buffer.concat(
    Object.entries(headers).map(([name, value]) => Buffer.concat([Buffer.alloc(1), text(name), text(value)])),
  );
}

export class RawFrames implements Disposable {
  readonly #socket: TLSSocket;
  /** What came, by the type of its frames. */
  readonly received = new Map<number, number>();

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    let rest = Buffer.alloc(0);
    socket
      .on('error', () => undefined)
      .on('data', (data: Buffer) => {
        rest = Buffer.concat([rest, data]);
        while (rest.length >= HEAD_BYTES && rest.length >= HEAD_BYTES + rest.readUIntBE(0, 3)) {
          const type = rest.readUInt8(3);
          this.received.set(type, (this.received.get(type) ?? 0) + 1);
          rest = rest.subarray(HEAD_BYTES + rest.readUIntBE(0, 3));
        }
      });
  }

  /** @param options `window`: bytes that the service may send on each stream before it is given more; 0: none at all */
  static async open(port: number, { window = 65_535 }: { readonly window?: number } = {}): Promise<RawFrames> {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    await once(socket, 'secureConnect');
    const frames = new RawFrames(socket);
    const payload = Buffer.alloc(6);
    payload.writeUInt16BE(INITIAL_WINDOW_SIZE, 0);
    payload.writeUInt32BE(window, 2);
    const settings = makeFrame(FRAME.settings, { payload });
    await frames.send(PREFACE, settings, makeFrame(FRAME.settings, { flags: ACK }));
    return frames;
  }

  get closed(): boolean {
    return this.#socket.destroyed;
  }

  /** Resolves when the connection has taken them, or is gone. */
  async send(...frames: readonly Buffer[]): Promise<void> {
    if (this.#socket.destroyed) return;
    await new Promise<void>((resolve) => this.#socket.write(Buffer.concat(frames), () => resolve()));
  }

  /** Begins a call of gRPC; `stream` is odd and grows. */
  call(stream: number, path: string): Promise<void> {
    const payload = encodeHeaders({
      ':method': 'POST',
      ':scheme': 'https',
      ':path': path,
      ':authority': 'localhost',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    return this.send(makeFrame(FRAME.headers, { flags: END_HEADERS, stream, payload }));
  }

  data(stream: number, payload: Buffer): Promise<void> {
    return this.send(makeFrame(FRAME.data, { stream, payload }));
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
