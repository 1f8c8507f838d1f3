import type { PublicArea } from '../structures/public-area.ts';
import type { PcrBankSelection } from '../structures/pcr-selection.ts';
import {
  type AkBlobs,
  type CreatedAk,
  type LoadedAk,
  type SealedCredential,
  activateCredential,
  createAk,
  loadAk,
} from './attestation-key.ts';
import { type BanksProof, type ClockInfo, type SignedAttest, proveBanks, quote, readClock } from './attest.ts';
import { type TpmProperties, readPcrBanks, readProperties } from './capability.ts';
import { type EndorsementKey, findEndorsementKeys } from './endorsement-key.ts';
import { type PcrDigest, type PcrReading, extendPcr, readPcrs } from './pcr.ts';
import type { AkAlgorithm } from './templates.ts';
import { TpmError } from './tpm-error.ts';
import { type EsysHandle, Tss } from './tss.ts';

export { TpmError, type TpmErrorCode } from './tpm-error.ts';
export type { AkBlobs, CreatedAk, SealedCredential } from './attestation-key.ts';
export type { BanksProof, ClockInfo, SignedAttest } from './attest.ts';
export type { TpmProperties } from './capability.ts';
export type { EkLocation, EndorsementKey } from './endorsement-key.ts';
export type { PcrDigest, PcrReading } from './pcr.ts';
export type { AkAlgorithm, EkTemplateName } from './templates.ts';

export interface TpmOptions {
  /** `device:/dev/tpmrm0`, `swtpm:path=/run/tpm.sock`, `swtpm:host=127.0.0.1,port=2321`, `tabrmd:` or `mssim:…`. */
  readonly tcti: string;
}

/** An attestation key that is loaded into the TPM, until `flush` or until the `Tpm` closes. */
export class Ak {
  readonly publicArea: PublicArea;
  /** As the TPM says it; a verifier computes its own. */
  readonly name: Buffer;
  /** Tells the key's ancestry; it is the `qualifiedSigner` of what the key signs. */
  readonly qualifiedName: Buffer;
  readonly #tss: Tss;
  readonly #handle: EsysHandle;
  #flushed = false;

  constructor(tss: Tss, loaded: LoadedAk) {
    this.publicArea = loaded.publicArea;
    this.name = loaded.name;
    this.qualifiedName = loaded.qualifiedName;
    this.#tss = tss;
    this.#handle = loaded.handle;
  }

  /** Frees the slot in the TPM, once what was asked of the key before is done. Idempotent. */
  async flush(): Promise<void> {
    try {
      await this.#tss.exclusively(async () => {
        if (this.#flushed) return;
        this.#flushed = true;
        await this.#tss.flush(this.#handle);
      });
    } catch (error) {
      // A closed TPM has unloaded it.
      if (!(error instanceof TpmError) || error.code !== 'CLOSED') throw error;
    }
  }

  /** The handle on the context that loaded the key. @throws TpmError `CLOSED` for another's key, or a flushed one */
  handleOn(tss: Tss): EsysHandle {
    if (this.#flushed || tss !== this.#tss) throw new TpmError('CLOSED', 'the key is not loaded on this TPM');
    return this.#handle;
  }
}

/**
 * A TPM 2.0 through tpm2-tss.
 *
 * Operations may be asked for at any time and run one after the other, off the event loop. Whatever an operation loads is
 * unloaded when it ends; keys of `loadAk` stay until they are flushed. Every method may throw a `TpmError`; after
 * `UNREACHABLE` and `LIBRARY_FAILURE` the connection is of no more use, and `open` makes a new one.
 */
export class Tpm implements AsyncDisposable {
  readonly #tss: Tss;
  #properties: TpmProperties | undefined;

  private constructor(tss: Tss) {
    this.#tss = tss;
  }

  /** @throws TpmError `INVALID_TCTI`, `LIBRARY_MISSING`, `UNREACHABLE` */
  static async open(options: TpmOptions): Promise<Tpm> {
    return new Tpm(await Tss.open(options.tcti));
  }

  /** Ends the connection once the operations before it are done, and unloads all keys. Idempotent. */
  close(): Promise<void> {
    return this.#tss.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Manufacturer, model and firmware version. */
  properties(): Promise<TpmProperties> {
    return this.#tss.exclusively(() => this.#readProperties());
  }

  /** Every EK of the TPM that can be used, at least one. May make primary keys, which takes seconds on some TPMs. */
  endorsementKeys(): Promise<readonly EndorsementKey[]> {
    return this.#tss.exclusively(async () => {
      const { nvBufferMax } = await this.#readProperties();
      return findEndorsementKeys(this.#tss, nvBufferMax);
    });
  }

  /** Makes an attestation key under an EK: restricted, signing, never to leave the TPM. It is not loaded. */
  createAk(ek: EndorsementKey, options: { readonly algorithm?: AkAlgorithm } = {}): Promise<CreatedAk> {
    return this.#tss.exclusively(() => createAk(this.#tss, ek, options.algorithm ?? 'ecdsa-p256-sha256'));
  }

  /** Loads a key of `createAk`. @throws TpmError `REFUSED` with INTEGRITY where it is no longer or never was this TPM's */
  async loadAk(ek: EndorsementKey, blobs: AkBlobs): Promise<Ak> {
    return new Ak(this.#tss, await this.#tss.exclusively(() => loadAk(this.#tss, ek, blobs)));
  }

  /** Opens a credential that was made for this EK and this AK. @returns the secret */
  activateCredential(ek: EndorsementKey, ak: Ak, credential: SealedCredential): Promise<Buffer> {
    return this.#tss.exclusively(() => activateCredential(this.#tss, ek, ak.handleOn(this.#tss), credential));
  }

  /** A signed statement of PCRs, bound to `qualifyingData` (at most 64 bytes). */
  quote(
    ak: Ak,
    options: { readonly qualifyingData: Buffer; readonly selection: readonly PcrBankSelection[] },
  ): Promise<SignedAttest> {
    return this.#tss.exclusively(() => quote(this.#tss, ak.handleOn(this.#tss), options));
  }

  /** A signed statement of which PCR banks there are and which are active. */
  proveBanks(ak: Ak, qualifyingData: Buffer): Promise<BanksProof> {
    return this.#tss.exclusively(() => proveBanks(this.#tss, ak.handleOn(this.#tss), qualifyingData));
  }

  /** PCR values of one moment; what the TPM does not have is left out. */
  pcrRead(selection: readonly PcrBankSelection[]): Promise<readonly PcrReading[]> {
    return this.#tss.exclusively(() => readPcrs(this.#tss, selection));
  }

  /** Extends one PCR in the banks that digests are given for. */
  pcrExtend(index: number, digests: readonly PcrDigest[]): Promise<void> {
    return this.#tss.exclusively(() => extendPcr(this.#tss, index, digests));
  }

  /** Every implemented bank; one without PCRs is not active. Unproven: see `proveBanks`. */
  pcrBanks(): Promise<readonly PcrBankSelection[]> {
    return this.#tss.exclusively(() => readPcrBanks(this.#tss));
  }

  /** The TPM's clock and its reset and restart counts. */
  clock(): Promise<ClockInfo> {
    return this.#tss.exclusively(() => readClock(this.#tss));
  }

  async #readProperties(): Promise<TpmProperties> {
    this.#properties ??= await readProperties(this.#tss);
    return this.#properties;
  }
}
