import type { Store } from '../store/store.ts';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { verifyEk } from './verify-ek.ts';
import type { EkRefusal, VerifiedEk } from './verify-ek.ts';

/** An EK with what its TPM brought along to vouch for it. */
export interface EndorsableEk {
  /** SubjectPublicKeyInfo, DER, made from the public area. */
  readonly spki: Buffer;
  /** SHA-256 (hex) of `spki`. */
  readonly fingerprint: string;
  /** DER; empty when none. */
  readonly certificate: Buffer;
  readonly chain: readonly Buffer[];
}

/** Who vouches for a host's EKs. */
export interface EndorsementVerdict {
  /** In the order of the EKs; null for an EK without a certificate. */
  readonly certificates: readonly (VerifiedEk | EkRefusal | null)[];
  /** Every EK is certified by a trust anchor. */
  readonly certified: boolean;
  /** Every EK is in the inventory. */
  readonly registered: boolean;
  /** When an endorsement ends by itself, milliseconds of the store's clock; null where it rests on no certificate. */
  readonly endsAt: number | null;
  /** Version of anchors and inventory that this was judged from: what is committed on it must be fenced by it. */
  readonly epoch: number;
}

interface Anchors {
  readonly epoch: number;
  readonly trustAnchors: readonly Certificate[];
  readonly intermediates: readonly Certificate[];
}

/** Trust anchors and inventory of the store; the anchors are parsed once per version. */
export class Endorsements {
  readonly #store: Pick<Store, 'epochs' | 'allTrustAnchors' | 'findInventory' | 'now'>;
  #anchors: Promise<Anchors> | null = null;

  constructor(store: Pick<Store, 'epochs' | 'allTrustAnchors' | 'findInventory' | 'now'>) {
    this.#store = store;
  }

  async judge(eks: readonly EndorsableEk[]): Promise<EndorsementVerdict> {
    const { epoch, trustAnchors, intermediates } = await this.#current();
    const now = new Date(this.#store.now());
    const certificates = eks.map(({ spki, certificate, chain }) =>
      certificate.length === 0 ? null : verifyEk({ spki, certificate, chain, trustAnchors, intermediates, now }),
    );
    const entries = await this.#store.findInventory(eks.map(({ fingerprint }) => fingerprint));
    const known = new Set(entries.map(({ fingerprint }) => fingerprint));
    const certified = eks.length > 0 && certificates.every((verdict) => verdict?.status === 'verified');
    const registered = eks.length > 0 && eks.every(({ fingerprint }) => known.has(fingerprint));
    return {
      certificates,
      certified,
      registered,
      endsAt: certified && !registered ? firstEnd(certificates) : null,
      epoch,
    };
  }

  async #current(): Promise<Anchors> {
    const { endorsement } = await this.#store.epochs();
    const present = await this.#anchors;
    if (present?.epoch === endorsement) return present;
    // The epoch is read before the anchors: should they be newer, whatever is committed on them is fenced and judged again.
    this.#anchors = this.#read(endorsement);
    try {
      return await this.#anchors;
    } catch (error) {
      this.#anchors = null;
      throw error;
    }
  }

  async #read(epoch: number): Promise<Anchors> {
    const records = await this.#store.allTrustAnchors();
    const parsed = records.map(({ anchor, certificate }) => ({
      anchor,
      certificate: parseCertificate(Buffer.from(certificate, 'hex')),
    }));
    return {
      epoch,
      trustAnchors: parsed.filter(({ anchor }) => anchor).map(({ certificate }) => certificate),
      intermediates: parsed.filter(({ anchor }) => !anchor).map(({ certificate }) => certificate),
    };
  }
}

function firstEnd(certificates: EndorsementVerdict['certificates']): number {
  const ends = certificates.map((verdict) => (verdict?.status === 'verified' ? verdict.notAfter.getTime() : Infinity));
  return Math.min(...ends);
}
