import { createHash } from 'node:crypto';

import { CertificateError, verifyLeaf } from '../../proto/certificate-profile.ts';
import type { VerifiedLeaf } from '../../proto/certificate-profile.ts';
import type { Peer, RoleName } from '../../proto/service.ts';
import type { HostRecord, Labels } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** Certificates whose verification is remembered. */
const CACHE_SIZE = 20_000;

/** Who is calling. */
export type Caller =
  | {
      readonly kind: 'anonymous';
      /** Why a certificate of this service gives no identity; '' for no certificate or one of an unknown CA. */
      readonly refusal:
        | ''
        | 'CERTIFICATE_EXPIRED'
        | 'CERTIFICATE_INVALID'
        | 'IDENTITY_REVOKED'
        | 'IDENTITY_UNKNOWN'
        | 'HOST_UNKNOWN'
        | 'HOST_REVOKED'
        | 'TLS_KEY_SUPERSEDED';
    }
  | { readonly kind: 'host'; readonly hostId: string; readonly tlsKeySha256: string; readonly expires: number }
  | {
      readonly kind: 'identity';
      readonly name: string;
      readonly roles: readonly RoleName[];
      /** Labels of the hosts that it sees; empty: every host. */
      readonly scope: Labels;
      readonly expires: number;
    };

/** What of a certificate is asked for again: its key, as an object, is large. */
type KnownLeaf = Pick<VerifiedLeaf, 'identity' | 'notAfter'>;

export interface CallersOptions {
  readonly store: Pick<Store, 'getHost' | 'getIdentity' | 'now' | 'deployment'>;
  /** Certificates of the service's CA, DER; several while a rotation overlaps. */
  readonly authorities: readonly Buffer[];
}

/**
 * Tells who is calling from the certificate of the connection. A certificate carries an identity and no role: roles, bans and
 * revocations are asked of the store at each call, and expiry of the store's clock.
 */
export class Callers {
  readonly #options: CallersOptions;
  readonly #verified = new Map<string, KnownLeaf>();

  constructor(options: CallersOptions) {
    this.#options = options;
  }

  async identify(peer: Peer): Promise<Caller> {
    if (peer.certificate === undefined) return ANONYMOUS;
    const leaf = this.#verify(peer.certificate);
    if (typeof leaf === 'string') return { kind: 'anonymous', refusal: leaf };
    const { identity } = leaf;
    const expires = leaf.notAfter.getTime();
    const keySha256 = peer.tlsKeySha256?.toString('hex') ?? '';
    if (identity.kind === 'host')
      return hostCaller(await this.#options.store.getHost(identity.host), { keySha256, expires });
    if (identity.kind !== 'identity') return { kind: 'anonymous', refusal: 'CERTIFICATE_INVALID' };
    const record = await this.#options.store.getIdentity(identity.name);
    if (record === null) return { kind: 'anonymous', refusal: 'IDENTITY_UNKNOWN' };
    // One identity, one key: a certificate that was issued for a former key ended with it.
    if (record.revoked || record.keySha256 !== keySha256) return { kind: 'anonymous', refusal: 'IDENTITY_REVOKED' };
    return { kind: 'identity', name: record.name, roles: record.roles, scope: record.scope, expires };
  }

  #verify(certificate: Buffer): KnownLeaf | 'CERTIFICATE_EXPIRED' | 'CERTIFICATE_INVALID' | '' {
    const key = createHash('sha256').update(certificate).digest('base64');
    const now = new Date(this.#options.store.now());
    const known = this.#verified.get(key);
    if (known !== undefined) return known.notAfter > now ? known : 'CERTIFICATE_EXPIRED';
    try {
      const { authorities, store } = this.#options;
      const { identity, notAfter } = verifyLeaf(certificate, {
        authority: authorities,
        profile: 'client',
        now,
        deployment: store.deployment,
      });
      if (this.#verified.size >= CACHE_SIZE) this.#verified.clear();
      const leaf = { identity, notAfter };
      this.#verified.set(key, leaf);
      return leaf;
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      if (error.code === 'unknown_authority' || error.code === 'malformed') return '';
      return error.code === 'expired' ? 'CERTIFICATE_EXPIRED' : 'CERTIFICATE_INVALID';
    }
  }
}

const ANONYMOUS: Caller = { kind: 'anonymous', refusal: '' };

function hostCaller(
  host: HostRecord | null,
  { keySha256, expires }: { readonly keySha256: string; readonly expires: number },
): Caller {
  if (host === null) return { kind: 'anonymous', refusal: 'HOST_UNKNOWN' };
  if (host.state === 'revoked') return { kind: 'anonymous', refusal: 'HOST_REVOKED' };
  if (host.tlsKeySha256 !== keySha256 && host.nextTlsKeySha256 !== keySha256)
    return { kind: 'anonymous', refusal: 'TLS_KEY_SUPERSEDED' };
  return { kind: 'host', hostId: host.id, tlsKeySha256: keySha256, expires };
}

/** The roles of a caller, ANONYMOUS always among them. */
export function rolesOf(caller: Caller): readonly RoleName[] {
  if (caller.kind === 'anonymous') return ['anonymous'];
  return caller.kind === 'host' ? ['anonymous', 'agent'] : ['anonymous', ...caller.roles];
}
