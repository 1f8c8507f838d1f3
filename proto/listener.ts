import { constants, createHash } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import { createServer } from 'node:net';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Server as TlsServer, TLSSocket } from 'node:tls';
import { addressBlock } from './address-block.ts';
import type { RpcLogger } from './bridge.ts';
import { ConnectionRate } from './connection-rate.ts';
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
  /** Milliseconds, for the rate of new connections. */
  readonly now: () => number;
  /** Connections in all, those in their handshake included; default 50,000. */
  readonly maxConnections?: number;
  /** Connections of one address, or of one /64 of IPv6; default 1,000. */
  readonly maxConnectionsPerAddress?: number;
  /** How often an address may connect; default: by the number before. */
  readonly connectionRate?: ConnectionRate;
  /** How long a handshake may take; default 10 s. */
  readonly handshakeTimeoutMillis?: number;
}

interface Handshake {
  readonly socket: Socket;
  readonly block: string;
}

const MAX_CONNECTIONS_PER_ADDRESS = 1000;

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
  readonly #rate: ConnectionRate;
  /** Sockets whose handshake is not done, by address and port. */
  readonly #handshakes = new Map<string, Handshake>();
  #warned = false;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    const { logger, maxConnectionsPerAddress = MAX_CONNECTIONS_PER_ADDRESS } = options;
    this.#rate = options.connectionRate ?? new ConnectionRate(maxConnectionsPerAddress, options.now);
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
    for (const { socket } of this.#handshakes.values()) socket.destroy();
    await this.#options.server.drain(graceMillis);
  }

  #admit(socket: Socket): void {
    const { logger, maxConnectionsPerAddress = MAX_CONNECTIONS_PER_ADDRESS } = this.#options;
    socket.on('error', (error) => logger.debug({ err: error }, 'connection failed'));
    const block = addressBlock(socket.remoteAddress ?? '');
    const count = this.#perAddress.get(block) ?? 0;
    // Asked for the number first: who is refused by it uses up nothing.
    if (block === '' || count >= maxConnectionsPerAddress || !this.#rate.admit(block)) {
      if (block !== '') this.#warnOfCrowd(block);
      socket.destroy();
      return;
    }
    this.#perAddress.set(block, count + 1);
    const key = endpoint(socket);
    this.#handshakes.set(key, { socket, block });
    socket.on('close', () => {
      if (this.#handshakes.get(key)?.socket === socket) {
        this.#handshakes.delete(key);
        if (this.#rate.failed(block, socket.bytesRead)) this.#dropHandshakes(block);
      }
      const left = (this.#perAddress.get(block) ?? 1) - 1;
      if (left > 0) this.#perAddress.set(block, left);
      else this.#perAddress.delete(block);
    });
    this.#tls.emit('connection', socket);
  }

  /** What waits of an address whose handshakes cost too much: its certificates have not been looked at yet. */
  #dropHandshakes(block: string): void {
    for (const handshake of this.#handshakes.values()) if (handshake.block === block) handshake.socket.destroy();
  }

  /** Once a minute for all addresses: a fleet behind one address must not stop without a word, nor a flood fill the log. */
  #warnOfCrowd(address: string): void {
    if (this.#warned) return;
    this.#warned = true;
    setTimeout(() => (this.#warned = false), 60_000).unref();
    this.#options.logger.warn({ address }, 'connections refused: too many, or too often, from one address');
  }

  #accept(socket: TLSSocket): void {
    const { logger, server } = this.#options;
    socket.on('error', (error: Error) => logger.debug({ err: error }, 'connection failed'));
    this.#handshakes.delete(endpoint(socket));
    try {
      const certificate = socket.getPeerX509Certificate();
      if (isCostly(certificate)) {
        const block = addressBlock(socket.remoteAddress ?? '');
        this.#rate.ban(block);
        this.#dropHandshakes(block);
        socket.destroy();
        return;
      }
      const peer = socket.alpnProtocol === 'h2' ? peerOf(socket, certificate) : undefined;
      if (peer === undefined) socket.destroy();
      else server.accept(socket, peer);
    } catch (error) {
      logger.debug({ err: error, address: socket.remoteAddress }, 'client certificate does not parse');
      socket.destroy();
    }
  }
}

/** Of client certificates' keys: the exponent of an RSA key, which the caller chooses, makes its verification cost what he likes. */
const SIGNATURE_ALGORITHMS = 'ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512';
/** A leaf, the CA of this service, and one more. */
const MAX_CLIENT_CHAIN = 3;
const USUAL_EXPONENT = 65_537n;

function serverContext(identity: TlsIdentity) {
  // No CA list: some clients present no certificate when the list that a server sends names none of theirs.
  const options = { ca: [], secureOptions: constants.SSL_OP_NO_TICKET, sigalgs: SIGNATURE_ALGORITHMS };
  return { ...secureContextOptions(identity), ...options };
}

/** OpenSSL verifies every signature in the chain that a client brings, whether or not anything in it is trusted, and has no bound. */
function isCostly(leaf: X509Certificate | undefined): boolean {
  let certificate = leaf;
  for (let count = 0; certificate !== undefined; count += 1) {
    const { publicExponent = USUAL_EXPONENT } = certificate.publicKey.asymmetricKeyDetails ?? {};
    if (count >= MAX_CLIENT_CHAIN || publicExponent > USUAL_EXPONENT) return true;
    certificate = certificate.issuerCertificate;
  }
  return false;
}

function endpoint(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`;
}

/** Undefined where the connection is gone already. */
function peerOf(socket: TLSSocket, certificate: X509Certificate | undefined): Peer | undefined {
  const { remoteAddress: address, remotePort: port } = socket;
  if (address === undefined || port === undefined) return undefined;
  if (certificate === undefined) return Object.freeze({ address, port });
  return new CertifiedPeer(socket, { address, port, publicKey: certificate.publicKey });
}

/** What the handshake proved: the caller holds the key of this certificate. Nothing is said of who signed it. */
class CertifiedPeer implements Peer {
  readonly address: string;
  readonly port: number;
  readonly tlsKeySha256: Buffer;
  readonly #socket: TLSSocket;

  constructor(
    socket: TLSSocket,
    { address, port, publicKey }: Pick<Peer, 'address' | 'port'> & Pick<X509Certificate, 'publicKey'>,
  ) {
    this.address = address;
    this.port = port;
    this.tlsKeySha256 = createHash('sha256')
      .update(publicKey.export({ type: 'spki', format: 'der' }))
      .digest();
    this.#socket = socket;
  }

  /** TLS keeps it as long as the connection, so that an idle one holds no other. */
  get certificate(): Buffer | undefined {
    return this.#socket.getPeerX509Certificate()?.raw;
  }
}
