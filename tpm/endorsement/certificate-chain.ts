import { parseCertificateBundle } from './certificate-bundle.ts';
import type { Certificate } from './certificate.ts';
import type { Deviation } from './deviation.ts';
import { EndorsementError } from './endorsement-error.ts';

/** Certificates that came along with an EK certificate. Nothing in them is trusted. */
export interface CertificateChain {
  readonly certificates: readonly Certificate[];
  readonly deviations: readonly Deviation[];
}

/** Most certificates of a chain, and most bytes of them all. */
export const MAX_CHAIN = 8;
export const MAX_CHAIN_BYTES = 64 * 1024;

/** Reads a chain; one entry may hold several certificates, one after another. Throws {@link EndorsementError}. */
export function parseChain(chain: readonly Uint8Array[]): CertificateChain {
  const bytes = chain.reduce((sum, each) => sum + each.length, 0);
  if (chain.length > MAX_CHAIN || bytes > MAX_CHAIN_BYTES) throw new EndorsementError('too_many', 'chain is too long');
  const deviations: Deviation[] = [];
  const certificates = chain.flatMap((each) => {
    const { anchors, intermediates, rejected, padding } = parseCertificateBundle(each);
    if (padding > 0) deviations.push({ code: 'TRAILING_BYTES', detail: `${padding} bytes after the chain` });
    const [bad] = rejected;
    if (bad !== undefined) throw new EndorsementError('malformed', `certificate of the chain: ${bad.reason}`);
    return [...anchors, ...intermediates];
  });
  if (certificates.length > MAX_CHAIN) throw new EndorsementError('too_many', 'chain is too long');
  return { certificates, deviations };
}
