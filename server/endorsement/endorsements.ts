import { setImmediate } from 'node:timers/promises';

import type { RevocationListRecord } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { ChainReader } from '../../tpm/endorsement/certificate-chain.ts';
import { parseCertificate } from '../../tpm/endorsement/certificate.ts';
import type { Certificate } from '../../tpm/endorsement/certificate.ts';
import { PathSignatures } from '../../tpm/endorsement/path-signatures.ts';
import { parseRevocationList } from '../../tpm/endorsement/revocation.ts';
import type { ProvenRevocationList } from '../../tpm/endorsement/revocation.ts';
import { verifyEk } from '../../tpm/endorsement/verify-ek.ts';
import type { EkRefusal, VerifiedEk } from '../../tpm/endorsement/verify-ek.ts';

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
  /** What an issuer revoked of the certificates and their chains; null where nothing is. */
  readonly revoked: EkRefusal | null;
  /** When an endorsement ends by itself, milliseconds of the store's clock; null where it rests on no certificate. */
  readonly endsAt: number | null;
  /** Version of anchors, revocation lists and inventory that this was judged from: what is committed on it must be fenced by it. */
  readonly epoch: number;
}

interface Anchors {
  readonly epoch: number;
  readonly trustAnchors: readonly Certificate[];
  readonly intermediates: readonly Certificate[];
  /** By the fingerprint of the list. */
  readonly revocationLists: ReadonlyMap<string, ProvenRevocationList>;
}

type EndorsementSource = Pick<Store, 'epochs' | 'allTrustAnchors' | 'allRevocationLists' | 'findInventory' | 'now'>;

/** Trust anchors, revocation lists and inventory of the store; what is parsed is parsed once per version, a list once. */
export class Endorsements {
  readonly #store: EndorsementSource;
  #anchors: Promise<Anchors> | null = null;

  constructor(store: EndorsementSource) {
    this.#store = store;
  }

  async judge(eks: readonly EndorsableEk[]): Promise<EndorsementVerdict> {
    const anchors = await this.#current();
    const { epoch } = anchors;
    const certificates = await this.#verify(eks, anchors);
    const entries = await this.#store.findInventory(eks.map(({ fingerprint }) => fingerprint));
    const known = new Set(entries.map(({ fingerprint }) => fingerprint));
    const certified = eks.length > 0 && certificates.every((verdict) => verdict?.status === 'verified');
    const registered = eks.length > 0 && eks.every(({ fingerprint }) => known.has(fingerprint));
    return {
      certificates,
      certified,
      registered,
      revoked: certificates.find((verdict): verdict is EkRefusal => isRevoked(verdict)) ?? null,
      endsAt: certified && !registered ? firstEnd(certificates) : null,
      epoch,
    };
  }

  /** One after another, with a turn for everybody else between two; the bounds on work are for all together. */
  async #verify(
    eks: readonly EndorsableEk[],
    { trustAnchors, intermediates, ...current }: Anchors,
  ): Promise<EndorsementVerdict['certificates']> {
    const revocationLists = [...current.revocationLists.values()];
    const shared = { chains: new ChainReader(), signatures: new PathSignatures() };
    const known = { trustAnchors, intermediates, revocationLists, ...shared };
    const now = new Date(this.#store.now());
    const verdicts: (VerifiedEk | EkRefusal | null)[] = [];
    for (const { spki, certificate, chain } of eks) {
      if (verdicts.length > 0 && certificate.length > 0) await setImmediate();
      verdicts.push(certificate.length === 0 ? null : verifyEk({ spki, certificate, chain, now, ...known }));
    }
    return verdicts;
  }

  async #current(): Promise<Anchors> {
    const { endorsement } = await this.#store.epochs();
    const present = await this.#anchors;
    if (present?.epoch === endorsement) return present;
    // The epoch is read before the anchors: should they be newer, whatever is committed on them is fenced and judged again.
    this.#anchors = this.#read(endorsement, present?.revocationLists ?? new Map());
    try {
      return await this.#anchors;
    } catch (error) {
      this.#anchors = null;
      throw error;
    }
  }

  async #read(epoch: number, known: Anchors['revocationLists']): Promise<Anchors> {
    const records = await this.#store.allTrustAnchors();
    const lists = await this.#store.allRevocationLists();
    const parsed = records.map(({ anchor, certificate }) => ({
      anchor,
      certificate: parseCertificate(Buffer.from(certificate, 'hex')),
    }));
    return {
      epoch,
      trustAnchors: parsed.filter(({ anchor }) => anchor).map(({ certificate }) => certificate),
      intermediates: parsed.filter(({ anchor }) => !anchor).map(({ certificate }) => certificate),
      revocationLists: new Map(
        lists.map((record) => [record.fingerprint, known.get(record.fingerprint) ?? readList(record)]),
      ),
    };
  }
}

/** Its signature was verified before it was kept; with it the certificate of the issuer, which may be gone by now. */
function readList({ list, issuerKey }: RevocationListRecord): ProvenRevocationList {
  const { issuer, thisUpdate, nextUpdate, revoked } = parseRevocationList(Buffer.from(list, 'hex'));
  // A view of its name would hold all bytes of the list.
  return { issuer: { ...issuer, raw: Buffer.from(issuer.raw) }, issuerKey, thisUpdate, nextUpdate, revoked };
}

function isRevoked(verdict: VerifiedEk | EkRefusal | null): boolean {
  return verdict?.status === 'refused' && verdict.code === 'EK_CERT_REVOKED';
}

function firstEnd(certificates: EndorsementVerdict['certificates']): number {
  const ends = certificates.map((verdict) => (verdict?.status === 'verified' ? verdict.notAfter.getTime() : Infinity));
  return Math.min(...ends);
}
