import type { SecureContextOptions } from 'node:tls';

/** What one side of the channel proves itself by. */
export interface TlsIdentity {
  /** X.509 DER: the leaf, then what the other side may lack, as the CA that an agent has pinned. */
  readonly certificateChain: readonly Uint8Array[];
  /** PKCS#8 PEM. */
  readonly privateKey: string;
}

/** Certificate and key as node:tls takes them, TLS 1.3 only. */
export function secureContextOptions(identity: TlsIdentity | undefined): SecureContextOptions {
  const version = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
  if (identity === undefined) return version;
  return { ...version, cert: identity.certificateChain.map(toPem).join(''), key: identity.privateKey };
}

/** A certificate as PEM (RFC 7468 §5). */
export function toPem(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
