import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { checkServerIdentity, connect, createSecureContext } from 'node:tls';
import type { DetailedPeerCertificate, PeerCertificate, TLSSocket } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { checkAuthorityFingerprint, EXTENDED_KEY_USAGE, parseFingerprint, verifyLeaf } from './certificate-profile.ts';
import { formatEndpoint } from './endpoint.ts';
import type { Endpoint } from './endpoint.ts';
import { RpcError } from './rpc-error.ts';
import { secureContextOptions, toPem } from './tls-identity.ts';
import type { TlsIdentity } from './tls-identity.ts';

/** By what a caller knows the service. */
export type ServerTrust =
  /** The service's own CA: the leaf must be one of its server certificates, as the certificate profile has them. */
  | { readonly kind: 'service'; readonly authorities: readonly Uint8Array[]; readonly now: () => Date }
  /** Another PKI (`--tls-ca`): a chain to one of its CAs, and serverAuth. */
  | { readonly kind: 'other'; readonly authorities: readonly Uint8Array[] };

export interface CredentialOptions {
  readonly trust: ServerTrust;
  /** Absent for an anonymous caller. */
  readonly identity?: TlsIdentity;
  /** The name that the server's certificate must carry; default the host, be it a name or an address. */
  readonly serverName?: string;
}

/** Credentials of a channel: TLS 1.3 only, the server's name, chain and extended key usage checked. */
export function makeCredentials(options: CredentialOptions, host: string): ChannelCredentials {
  const { trust, identity, serverName = host } = options;
  const context = createSecureContext({ ...secureContextOptions(identity), ca: trust.authorities.map(toPem) });
  return credentials.createFromSecureContext(context, {
    // The callback stands in place of node:tls' own check of the name, which must therefore be called here.
    checkServerIdentity: (_name, leaf) => checkServerIdentity(serverName, leaf) ?? checkLeaf(leaf, trust),
  });
}

export interface AuthorityQuery extends Endpoint {
  /** `sha256:` and 64 hexadecimal digits: the pin of the CA. */
  readonly fingerprint: string;
  readonly now: () => Date;
  /** Default 10 s. */
  readonly timeoutMillis?: number;
  readonly signal?: AbortSignal;
}

/**
 * Asks a service of which only the CA's fingerprint is known for that CA: a handshake and no more. The certificate (DER) that
 * comes back is the pinned one, and the server that showed it holds a server certificate that it signed. Whoever then connects
 * with it as authority checks everything once more, the name too. Throws {@link RpcError} UNAVAILABLE where nothing answers and
 * {@link CertificateError} for every other chain.
 */
export async function fetchAuthority(query: AuthorityQuery): Promise<Buffer> {
  parseFingerprint(query.fingerprint);
  const chain = await fetchChain(query);
  const authority = chain.find((der) => isPinned(der, query.fingerprint)) ?? chain.at(-1) ?? Buffer.alloc(0);
  checkAuthorityFingerprint(authority, query.fingerprint);
  verifyLeaf(chain[0] ?? Buffer.alloc(0), { authority, profile: 'server', now: query.now() });
  return authority;
}

const MAX_CHAIN = 8;
/** Milliseconds. */
const LEAVE_WITHIN = 2_000;

async function fetchChain(query: AuthorityQuery): Promise<readonly Buffer[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly Buffer[]>();
  const socket = connect({
    host: query.host,
    port: query.port,
    ...(isIP(query.host) === 0 ? { servername: query.host } : {}),
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
    // Nothing can be verified by a CA that is not known yet; the chain is judged by the pin below, before it is used.
    rejectUnauthorized: false,
  });
  const fail = (cause: unknown): void => {
    const reason = cause instanceof Error ? `: ${cause.message}` : '';
    const server = formatEndpoint(query);
    reject(RpcError.local('UNAVAILABLE', `the service at ${server} cannot be reached${reason}`, cause));
  };
  const abort = (): void => fail(query.signal?.reason);
  socket.once('secureConnect', () => resolve(chainOf(socket)));
  socket.once('error', fail);
  socket.once('close', () => fail(undefined));
  socket.setTimeout(query.timeoutMillis ?? 10_000, () => fail(new Error('no answer in time')));
  query.signal?.addEventListener('abort', abort, { once: true });
  if (query.signal?.aborted) abort();
  try {
    const chain = await promise;
    leave(socket);
    return chain;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    query.signal?.removeEventListener('abort', abort);
  }
}

/**
 * Ends a connection in order. One that is destroyed is reset where the server has sent more, and what it has not read by then, the end
 * of the handshake, is lost with it: to the service that is a handshake that failed, and many of them from one address are a flood.
 */
function leave(socket: TLSSocket): void {
  const timer = setTimeout(() => socket.destroy(), LEAVE_WITHIN).unref();
  socket.once('close', () => clearTimeout(timer));
  socket.setTimeout(0);
  socket.resume();
  socket.end();
}

/** The certificates that the server sent, leaf first. */
function chainOf(socket: TLSSocket): readonly Buffer[] {
  const chain: Buffer[] = [];
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (certificate !== undefined && Buffer.isBuffer(certificate.raw) && chain.length < MAX_CHAIN) {
    const { raw } = certificate;
    if (chain.some((der) => der.equals(raw))) break;
    chain.push(raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

function isPinned(der: Buffer, fingerprint: string): boolean {
  try {
    checkAuthorityFingerprint(der, fingerprint);
    return true;
  } catch {
    return false;
  }
}

function checkLeaf(leaf: PeerCertificate, trust: ServerTrust): Error | undefined {
  try {
    if (trust.kind === 'service') {
      verifyLeaf(leaf.raw, { authority: trust.authorities, profile: 'server', now: trust.now() });
    } else if (!new X509Certificate(leaf.raw).keyUsage?.includes(EXTENDED_KEY_USAGE.server)) {
      return new Error('certificate is not for servers');
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error('certificate cannot be judged', { cause: error });
  }
}
