import { X509Certificate } from 'node:crypto';
import type { Renewer } from './attest.ts';
import type { StateDirectory } from './state.ts';
import { makeTlsKey, publicKeyDer, tlsKeySha256 } from './tls-key.ts';
import { checkClientCertificate, checkPin } from './verify-service.ts';
import { AgentError } from './agent-error.ts';

/** A certificate is renewed from the middle of its life on, agents spread over a tenth of it. */
const RENEW_AFTER = 0.5;
const SPREAD = 0.1;
/** Between two renewals a tenth of the life goes by: to a clock that is far ahead every certificate looks old. */
const LEAST_GAP = 0.1;

/**
 * Renews the client certificate: the next TLS key is on disk before its public half is sent, and its certificate before it is
 * used. The present key stays until the new one has worked.
 */
export function makeRenewer(
  state: StateDirectory,
  options: {
    readonly now: () => Date;
    readonly random: () => number;
    /** When the agent renewed last, by the same clock; undefined when it has not since it runs. */
    readonly renewed?: Date | undefined;
  },
): Renewer {
  const spread = SPREAD * options.random();
  return {
    newPublicKey: async () => {
      const { enrolled, renewal } = state.joined;
      if (renewal !== undefined)
        return renewal.certificate === undefined ? publicKeyDer(renewal.privateKey) : Buffer.alloc(0);
      if (enrolled === undefined || !isDue(enrolled.clientCertificate, { ...options, spread })) return Buffer.alloc(0);
      const privateKey = makeTlsKey();
      await state.update({ renewal: { privateKey } });
      return publicKeyDer(privateKey);
    },
    accept: async ({ clientCertificate, authorityCertificate }) => {
      const { pin, enrolled, renewal } = state.joined;
      if (enrolled === undefined || renewal === undefined) {
        throw new AgentError('bad_answer', 'the service renewed a certificate that nobody asked to be renewed');
      }
      checkPin(authorityCertificate, pin);
      checkClientCertificate(clientCertificate, {
        authority: authorityCertificate,
        hostId: enrolled.hostId,
        tlsKeySha256: tlsKeySha256(renewal.privateKey),
        now: options.now(),
      });
      const { privateKey } = renewal;
      await state.update({ renewal: { privateKey, certificate: clientCertificate }, authority: authorityCertificate });
    },
  };
}

/** The new key has worked: it takes the place of the old one. */
export async function promoteRenewal(state: StateDirectory): Promise<void> {
  const { enrolled, renewal } = state.joined;
  if (enrolled === undefined || renewal?.certificate === undefined) return;
  await state.update({
    tlsKey: renewal.privateKey,
    enrolled: { ...enrolled, clientCertificate: renewal.certificate },
    renewal: undefined,
  });
}

/** Is the certificate usable at all? */
export function isValidAt(certificate: Buffer, now: Date): boolean {
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  return now.getTime() >= validFromDate.getTime() && now.getTime() < validToDate.getTime();
}

function isDue(
  certificate: Buffer,
  options: { readonly now: () => Date; readonly renewed?: Date | undefined; readonly spread: number },
): boolean {
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  const life = validToDate.getTime() - validFromDate.getTime();
  const now = options.now().getTime();
  const since = options.renewed === undefined ? Infinity : Math.abs(now - options.renewed.getTime());
  return since >= life * LEAST_GAP && now >= validFromDate.getTime() + life * (RENEW_AFTER + options.spread);
}
