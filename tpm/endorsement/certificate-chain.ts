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
/** Most certificates of all chains that are read together, each counted once. */
const MAX_TOGETHER = 16;

/** Reads the chains of EKs that are judged together: what several of them bring is read once, and so much in all. */
export class ChainReader {
  readonly #limit: number;
  /** By the bytes of an entry. */
  readonly #entries = new Map<string, CertificateChain>();
  #count = 0;

  constructor(limit = MAX_TOGETHER) {
    this.#limit = limit;
  }

  /** One entry may hold several certificates, one after another. Throws {@link EndorsementError}. */
  read(chain: readonly Uint8Array[]): CertificateChain {
    const bytes = chain.reduce((sum, each) => sum + each.length, 0);
    if (chain.length > MAX_CHAIN || bytes > MAX_CHAIN_BYTES)
      throw new EndorsementError('too_many', 'chain is too long');
    const entries = chain.map((each) => this.#entry(each));
    const certificates = entries.flatMap((entry) => entry.certificates);
    if (certificates.length > MAX_CHAIN) throw new EndorsementError('too_many', 'chain is too long');
    return { certificates, deviations: entries.flatMap((entry) => entry.deviations) };
  }

  #entry(bytes: Uint8Array): CertificateChain {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    // Before it is read, for reading is the work.
    if (this.#count >= this.#limit) throw new EndorsementError('too_many', 'the chains are too long together');
    const { anchors, intermediates, rejected, padding } = parseCertificateBundle(bytes);
    const certificates = [...anchors, ...intermediates];
    this.#count += Math.max(1, certificates.length + rejected.length);
    const [bad] = rejected;
    if (bad !== undefined) throw new EndorsementError('malformed', `certificate of the chain: ${bad.reason}`);
    const deviations: Deviation[] =
      padding > 0 ? [{ code: 'TRAILING_BYTES', detail: `${padding} bytes after the chain` }] : [];
    const entry = { certificates, deviations };
    this.#entries.set(key, entry);
    return entry;
  }
}

/** Reads one chain alone. Throws {@link EndorsementError}. */
export function parseChain(chain: readonly Uint8Array[]): CertificateChain {
  return new ChainReader().read(chain);
}
