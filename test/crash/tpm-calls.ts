/** What agents ask of their TPM, which is in another process: it must not die with them. */
import type { SealedCredential } from '../../tpm/device/attestation-key.ts';
import type { PcrReading } from '../../tpm/device/pcr.ts';
import type { PcrBankSelection } from '../../tpm/structures/pcr-selection.ts';

interface Signature {
  readonly attest: Uint8Array;
  readonly signature: Uint8Array;
}

/** `ak` is the private blob of a key. */
export type TpmCall =
  | { readonly name: 'endorsementKey' }
  | { readonly name: 'createAk' }
  | { readonly name: 'activeBanks' }
  | { readonly name: 'bootState' }
  | { readonly name: 'loadAk'; readonly ak: Uint8Array }
  | { readonly name: 'activate'; readonly ak: Uint8Array; readonly credential: SealedCredential }
  | {
      readonly name: 'quote';
      readonly ak: Uint8Array;
      readonly qualifyingData: Uint8Array;
      readonly selection: readonly PcrBankSelection[];
    }
  | { readonly name: 'proveBanks'; readonly ak: Uint8Array; readonly qualifyingData: Uint8Array }
  | { readonly name: 'readPcrs'; readonly selection: readonly PcrBankSelection[] };

export interface TpmAnswers {
  readonly endorsementKey: { readonly publicArea: Uint8Array; readonly certificate: Uint8Array | null };
  readonly createAk: { readonly publicBlob: Uint8Array; readonly privateBlob: Uint8Array };
  readonly loadAk: { readonly publicArea: Uint8Array };
  readonly activate: Uint8Array;
  readonly quote: Signature;
  readonly proveBanks: Signature & { readonly capabilityData: Uint8Array };
  readonly activeBanks: readonly PcrBankSelection[];
  readonly readPcrs: readonly (Omit<PcrReading, 'value'> & { readonly value: Uint8Array })[];
  readonly bootState: { readonly resetCount: number; readonly restartCount: number };
}

/** From the agents' process. */
export type FromAgents =
  | { readonly kind: 'tpm'; readonly id: number; readonly machine: string; readonly call: TpmCall }
  | { readonly kind: 'result'; readonly machine: string; readonly result: unknown }
  | { readonly kind: 'enrolled'; readonly machine: string; readonly enrollment: unknown }
  | { readonly kind: 'renewed'; readonly machine: string };

/** To it. */
export interface ToAgents {
  readonly id: number;
  readonly value?: unknown;
  /** The TPM refuses the key. */
  readonly lost?: boolean;
}
