import type { AkRecord, HostRecord } from '../store/records.ts';
import { AttestationError } from './attestation-error.ts';

/** The agent behind a call, as its client certificate and TLS key say. */
export interface AgentCaller {
  readonly hostId: string;
  /** Of the TLS key that the connection was made with; hex. */
  readonly tlsKeySha256: string;
  /** End of the client certificate, milliseconds of the store's clock. */
  readonly expires: number;
}

type CheckedHost = Pick<HostRecord, 'state' | 'tlsKeySha256' | 'nextTlsKeySha256'> & {
  readonly ak: Pick<AkRecord, 'name'>;
};

/** Whether this agent may still speak for this host. Throws {@link AttestationError}. */
export function checkHost<Host extends CheckedHost>(
  host: Host | null,
  caller: AgentCaller & { readonly akName: string; readonly now: number },
): Host {
  if (host === null) throw new AttestationError('HOST_UNKNOWN', 'the host is not enrolled');
  if (host.state === 'revoked') throw new AttestationError('HOST_REVOKED', 'the host is banned');
  if (host.tlsKeySha256 !== caller.tlsKeySha256 && host.nextTlsKeySha256 !== caller.tlsKeySha256) {
    throw new AttestationError('TLS_KEY_SUPERSEDED', 'the host has a newer tls key');
  }
  if (host.ak.name !== caller.akName) throw new AttestationError('AK_UNKNOWN', 'the ak is not the enrolled one');
  if (caller.now >= caller.expires)
    throw new AttestationError('TLS_KEY_SUPERSEDED', 'the client certificate has expired');
  return host;
}
