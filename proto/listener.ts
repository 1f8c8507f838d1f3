import { constants, createHash } from 'node:crypto';
import { createServer } from 'node:net';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Server as TlsServer, TLSSocket } from 'node:tls';
import type { RpcLogger } from './bridge.ts';
import type { RpcServer } from './rpc-server.ts';
import type { Peer } from './service.ts';
import { secureContextOptions } from './tls-identity.ts';
import type { TlsIdentity } from './tls-identity.ts';

export interface ListenerOptions {
  readonly server: RpcServer;
  /** Leaf and CA: an agent that knows only the CA's fingerprint reads the CA from the handshake. */
  readonly identity: TlsIdentity;
  readonly host: string;
  /** 0 lets the system choose; {@link Listener.address} tells. */
  readonly port: number;
  readonly logger: RpcLogger;
  /** Connections in all, those in their handshake included; default 50,000. */
  readonly maxConnections?: number;
  /** Connections of one address, or of one /64 of IPv6; default 1,000. */
  readonly maxConnectionsPerAddress?: number;
  /** How long a handshake may take; default 10 s. */
  readonly handshakeTimeoutMillis?: number;
}

/**
 * The TLS listener of the service. It asks for a client certificate and demands none: anonymous callers, agents and operators
 * share one port, and who is calling is judged per call. TLS 1.3 only, and no session is ever resumed, for a resumed session
 * would vouch for a certificate that has expired since.
 */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #tcp: NetServer;
  readonly #tls: TlsServer;
  readonly #perAddress = new Map<string, number>();
  /** Sockets whose handshake is not done, by address and port. */
  readonly #handshakes = new Map<string, Socket>();
  #warned = false;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    const { logger } = options;
    this.#tls = createTlsServer({
      ...serverContext(options.identity),
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      handshakeTimeout: options.handshakeTimeoutMillis ?? 10_000,
    });
    this.#tls.on('secureConnection', (socket) => this.#accept(socket));
    this.#tls.on('tlsClientError', (error, socket) => {
      logger.debug({ err: error, address: socket.remoteAddress }, 'handshake failed');
      socket.destroy();
    });
    this.#tcp = createServer({ noDelay: true }, (socket) => this.#admit(socket));
    this.#tcp.maxConnections = options.maxConnections ?? 50_000;
    this.#tcp.on('drop', (dropped) => {
      logger.warn({ address: dropped?.remoteAddress }, 'connection refused: too many connections');
    });
  }

  /** Resolves when the port is bound; rejects with the error of the system where it cannot be. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    const tcp = listener.#tcp;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    tcp.once('error', reject);
    tcp.listen({ host: options.host, port: options.port }, resolve);
    await promise;
    tcp.off('error', reject);
    tcp.on('error', (error) => options.logger.error({ err: error }, 'listener failed'));
    return listener;
  }

  address(): { readonly host: string; readonly port: number } {
    const address: AddressInfo | string | null = this.#tcp.address();
    if (address === null || typeof address === 'string') throw new TypeError('listener is closed');
    return { host: address.address, port: address.port };
  }

  /** New connections see this certificate; open ones stay as they are. Throws what node:tls throws of a bad key. */
  updateCredentials(identity: TlsIdentity): void {
    this.#tls.setSecureContext(serverContext(identity));
  }

  /** Stops to accept, then drains the server (see {@link RpcServer.drain}). */
  async drain(graceMillis: number): Promise<void> {
    this.#tcp.close();
    for (const socket of this.#handshakes.values()) socket.destroy();
    await this.#options.server.drain(graceMillis);
  }

  #admit(socket: Socket): void {
    const { logger, maxConnectionsPerAddress = 1000 } = this.#options;
    socket.on('error', (error) => logger.debug({ err: error }, 'connection failed'));
    const block = addressBlock(socket.remoteAddress ?? '');
    const count = this.#perAddress.get(block) ?? 0;
    if (block === '' || count >= maxConnectionsPerAddress) {
      if (block !== '') this.#warnOfCrowd(block);
      socket.destroy();
      return;
    }
    this.#perAddress.set(block, count + 1);
    const key = endpoint(socket);
    this.#handshakes.set(key, socket);
    socket.once('close', () => {
      if (this.#handshakes.get(key) === socket) this.#handshakes.delete(key);
      const left = (this.#perAddress.get(block) ?? 1) - 1;
      if (left > 0) this.#perAddress.set(block, left);
      else this.#perAddress.delete(block);
    });
    this.#tls.emit('connection', socket);
  }

  /** Once a minute for all addresses: a fleet behind one address must not stop without a word, nor a flood fill the log. */
  #warnOfCrowd(address: string): void {
    if (this.#warned) return;
    this.#warned = true;
    setTimeout(() => (this.#warned = false), 60_000).unref();
    this.#options.logger.warn({ address }, 'connections refused: too many from one address');
  }

  #accept(socket: TLSSocket): void {
    const { logger, server } = this.#options;
    socket.on('error', (error: Error) => logger.debug({ err: error }, 'connection failed'));
    this.#handshakes.delete(endpoint(socket));
    try {
      const peer = socket.alpnProtocol === 'h2' ? peerOf(socket) : undefined;
      if (peer === undefined) socket.destroy();
      else server.accept(socket, peer);
    } catch (error) {
      logger.debug({ err: error, address: socket.remoteAddress }, 'client certificate does not parse');
      socket.destroy();
    }
  }
}

function serverContext(identity: TlsIdentity) {
  // No CA list: some clients present no certificate when the list that a server sends names none of theirs.
  return { ...secureContextOptions(identity), ca: [], secureOptions: constants.SSL_OP_NO_TICKET };
}

function endpoint(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`;
}

/** What the handshake proved: the caller holds the key of this certificate. Nothing is said of who signed it. */
function peerOf(socket: TLSSocket): Peer | undefined {
  const { remoteAddress: address, remotePort: port } = socket;
  if (address === undefined || port === undefined) return undefined;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return Object.freeze({ address, port });
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  const tlsKeySha256 = createHash('sha256').update(spki).digest();
  return Object.freeze({ address, port, certificate: certificate.raw, tlsKeySha256 });
}

/** An IPv4 address, also one mapped into IPv6, stands for itself; of IPv6 a site has a /64 and more, which counts as one. */
export function addressBlock(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!address.includes(':')) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').toLowerCase().split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const end = tail === '' ? [] : tail.split(':');
    while (groups.length + end.length < 8) groups.push('0');
    groups.push(...end);
  }
  return `${groups.slice(0, 4).join(':')}::/64`;
}
