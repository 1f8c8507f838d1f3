import { objectName } from '../../tpm/crypto/name.ts';
import type { SignedAttest } from '../../tpm/device/attest.ts';
import type { AkBlobs, SealedCredential } from '../../tpm/device/attestation-key.ts';
import type { EndorsementKey } from '../../tpm/device/endorsement-key.ts';
import type { PcrReading } from '../../tpm/device/pcr.ts';
import { Tpm } from '../../tpm/device/tpm.ts';
import { TpmError } from '../../tpm/device/tpm-error.ts';
import type { PcrBankSelection } from '../../tpm/structures/pcr-selection.ts';
import { decodePublicArea } from '../../tpm/structures/public-area.ts';
import type { BankProofBytes, BootState } from '../sdk/evidence.ts';

/** The TPM as the agent uses it. Operations run one after the other, whoever asks. */

export const AK_ALGORITHMS = ['ecdsa-p256-sha256', 'rsassa-2048-sha256'] as const;
export type AkAlgorithm = (typeof AK_ALGORITHMS)[number];

/** A loaded AK. */
export interface HostAk {
  /** TPMT_PUBLIC, as the TPM says it. */
  readonly publicArea: Buffer;
  /** The Name, computed here. */
  readonly name: Buffer;
  /** TPM2_ActivateCredential under the given EK; answers the secret. */
  activate(ek: EndorsementKey, credential: SealedCredential): Promise<Buffer>;
  quote(request: QuoteRequest): Promise<SignedAttest>;
  proveBanks(qualifyingData: Buffer): Promise<BankProofBytes>;
  /** Unloads the key. */
  flush(): Promise<void>;
}

export interface QuoteRequest {
  readonly qualifyingData: Buffer;
  readonly selection: readonly PcrBankSelection[];
}

export interface HostTpm {
  endorsementKeys(): Promise<readonly EndorsementKey[]>;
  createAk(ek: EndorsementKey, algorithm: AkAlgorithm): Promise<AkBlobs>;
  loadAk(ek: EndorsementKey, blobs: AkBlobs): Promise<HostAk>;
  /** PCRs 0 to 23 of every active bank. */
  activeBanks(): Promise<readonly PcrBankSelection[]>;
  readPcrs(selection: readonly PcrBankSelection[]): Promise<readonly PcrReading[]>;
  bootState(): Promise<BootState>;
  close(): Promise<void>;
}

/** Opens the TPM behind a TCTI. Throws TpmError. */
export async function openHostTpm(tcti: string): Promise<HostTpm> {
  const tpm = await Tpm.open({ tcti });
  return {
    endorsementKeys: () => tpm.endorsementKeys(),
    createAk: (ek, algorithm) => tpm.createAk(ek, { algorithm }),
    loadAk: (ek, blobs) => loadHostAk(tpm, ek, blobs),
    activeBanks: async () => activeBanksOf(await tpm.pcrBanks()),
    readPcrs: (selection) => tpm.pcrRead(selection),
    bootState: async () => {
      const { resetCount, restartCount } = await tpm.clock();
      return { resetCount, restartCount };
    },
    close: () => tpm.close(),
  };
}

async function loadHostAk(tpm: Tpm, ek: EndorsementKey, blobs: AkBlobs): Promise<HostAk> {
  const ak = await tpm.loadAk(ek, blobs);
  return {
    publicArea: ak.publicArea.raw,
    name: objectName(ak.publicArea),
    activate: (under, credential) => tpm.activateCredential(under, ak, credential),
    quote: (request) => tpm.quote(ak, request),
    proveBanks: async (qualifyingData) => {
      const { attest, signature, moreData, capabilityData } = await tpm.proveBanks(ak, qualifyingData);
      return { attest, signature, capabilityData: Buffer.concat([Buffer.of(moreData ? 1 : 0), capabilityData]) };
    },
    flush: () => ak.flush(),
  };
}

/** The Name of an EK, from its public area. */
export function ekName(ek: Pick<EndorsementKey, 'publicArea'>): Buffer {
  return objectName(decodePublicArea(ek.publicArea));
}

/** What TPM2_Load says of a blob that is not, or no longer, this TPM's (Part 3 §12.2). */
const FOREIGN_BLOB: ReadonlySet<string> = new Set(['INTEGRITY', 'BINDING', 'SENSITIVE']);

/** Does the TPM refuse the AK for good, as after TPM2_Clear or on another machine? Any other refusal may pass. */
export function isAkLost(error: unknown): boolean {
  if (!(error instanceof TpmError)) return false;
  return error.code === 'KEY_CHANGED' || (error.code === 'REFUSED' && FOREIGN_BLOB.has(error.response?.name ?? ''));
}

function activeBanksOf(banks: readonly PcrBankSelection[]): readonly PcrBankSelection[] {
  return banks
    .map(({ hash, pcrs }) => ({ hash, pcrs: pcrs.filter((index) => index < 24) }))
    .filter(({ pcrs }) => pcrs.length > 0);
}
