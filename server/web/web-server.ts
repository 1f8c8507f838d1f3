import { createHash } from 'node:crypto';
import { createServer } from 'node:https';
import type { Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

import { addressBlock } from '../../proto/address-block.ts';
import { secureContextOptions } from '../../proto/tls-identity.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';

/** A document that is served to anybody who asks. */
export interface WebDocument {
  readonly type: string;
  readonly body: string;
  /** How long caches may keep it, seconds. */
  readonly maxAge: number;
}

export interface WebServerOptions {
  /** Documents by their exact path; nothing else is served. */
  readonly documents: ReadonlyMap<string, () => Promise<WebDocument>>;
  readonly identity: TlsIdentity;
  readonly host: string;
  /** 0 lets the system choose; {@link WebServer.address} tells. */
  readonly port: number;
  readonly logger: {
    readonly debug: (fields: object, message: string) => void;
    readonly error: (fields: object, message: string) => void;
  };
  /** Default 1,000. */
  readonly maxConnections?: number;
  /** Of one address, or of one /64 of IPv6; default 100. */
  readonly maxConnectionsPerAddress?: number;
  /** How long handshake, headers and the rest of a request may take each; default 10 s. */
  readonly timeoutMillis?: number;
}

const MAX_HEADER_BYTES = 8 * 1024;
const MAX_HEADERS = 64;
const MAX_REQUESTS_PER_CONNECTION = 100;
const KEEP_ALIVE = 5_000;

/** On every answer: documents are data, to be neither framed, sniffed nor run. */
const SECURITY_HEADERS = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
  'Strict-Transport-Security': 'max-age=31536000',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
} as const;

/**
 * The HTTPS listener: HTTP/1.1 over TLS 1.3, GET and HEAD of a few public documents. It knows no callers and asks for no
 * certificate.
 */
export class WebServer {
  readonly #options: WebServerOptions;
  readonly #server: Server;
  readonly #perAddress = new Map<string, number>();

  private constructor(options: WebServerOptions) {
    this.#options = options;
    const timeout = options.timeoutMillis ?? 10_000;
    this.#server = createServer(
      {
        ...secureContextOptions(options.identity),
        ALPNProtocols: ['http/1.1'],
        handshakeTimeout: timeout,
        headersTimeout: timeout,
        requestTimeout: timeout,
        keepAliveTimeout: KEEP_ALIVE,
        connectionsCheckingInterval: Math.min(timeout, 5_000),
        maxHeaderSize: MAX_HEADER_BYTES,
        requireHostHeader: true,
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.maxConnections = options.maxConnections ?? 1000;
    this.#server.maxHeadersCount = MAX_HEADERS;
    this.#server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION;
    this.#server.on('connection', (socket: Socket) => this.#admit(socket));
    this.#server.on('tlsClientError', (error, socket) => {
      options.logger.debug({ err: error }, 'web handshake failed');
      socket.destroy();
    });
    this.#server.on('clientError', (_error, socket) => {
      // What came is no request, too large or too slow: nothing that it says is answered in particular.
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      else socket.destroy();
    });
  }

  /** Resolves when the port is bound; rejects with the error of the system where it cannot be. */
  static async open(options: WebServerOptions): Promise<WebServer> {
    const web = new WebServer(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    web.#server.once('error', reject);
    web.#server.listen({ host: options.host, port: options.port }, resolve);
    await promise;
    web.#server.off('error', reject);
    web.#server.on('error', (error) => options.logger.error({ err: error }, 'web listener failed'));
    return web;
  }

  address(): { readonly host: string; readonly port: number } {
    const address: AddressInfo | string | null = this.#server.address();
    if (address === null || typeof address === 'string') throw new TypeError('web listener is closed');
    return { host: address.address, port: address.port };
  }

  /** New connections see this certificate. */
  updateCredentials(identity: TlsIdentity): void {
    this.#server.setSecureContext(secureContextOptions(identity));
  }

  /** Stops to listen, ends what is idle, and after the grace what is not. */
  async close(graceMillis: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => this.#server.closeAllConnections(), graceMillis);
    this.#server.close(() => resolve());
    this.#server.closeIdleConnections();
    await promise;
    clearTimeout(timer);
  }

  #admit(socket: Socket): void {
    socket.on('error', (error) => this.#options.logger.debug({ err: error }, 'web connection failed'));
    const block = addressBlock(socket.remoteAddress ?? '');
    const count = this.#perAddress.get(block) ?? 0;
    if (block === '' || count >= (this.#options.maxConnectionsPerAddress ?? 100)) {
      socket.destroy();
      return;
    }
    this.#perAddress.set(block, count + 1);
    socket.once('close', () => {
      const left = (this.#perAddress.get(block) ?? 1) - 1;
      if (left > 0) this.#perAddress.set(block, left);
      else this.#perAddress.delete(block);
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const document = this.#options.documents.get(url);
    if (method !== 'GET' && method !== 'HEAD') return end(response, 405, { Allow: 'GET, HEAD', Connection: 'close' });
    // Nothing that is served takes a body, so none is read.
    if (request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) !== 0) {
      return end(response, 413, { Connection: 'close' });
    }
    if (document === undefined) return end(response, 404, {});
    try {
      serve(request, response, await document());
    } catch (error) {
      this.#options.logger.error({ err: error, url }, 'a document cannot be served');
      end(response, 503, { 'Retry-After': '5' });
    }
  }
}

function serve(request: IncomingMessage, response: ServerResponse, { type, body, maxAge }: WebDocument): void {
  const tag = `"${createHash('sha256').update(body).digest('base64url')}"`;
  const headers = {
    'Access-Control-Allow-Origin': '*',
    'Cache-Control': `public, max-age=${maxAge}`,
    ETag: tag,
  };
  // Of the weak comparison (RFC 9110 §13.1.2) only the prefix matters: the tags are strong.
  const known = (request.headers['if-none-match'] ?? '').split(',').map((each) => each.trim().replace(/^W\//, ''));
  if (known.includes(tag) || known.includes('*')) return end(response, 304, headers);
  response.writeHead(200, {
    ...SECURITY_HEADERS,
    ...headers,
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function end(response: ServerResponse, status: number, headers: Readonly<Record<string, string>>): void {
  const length = status === 304 ? {} : { 'Content-Length': '0' };
  response.writeHead(status, { ...SECURITY_HEADERS, ...headers, ...length });
  response.end();
}
