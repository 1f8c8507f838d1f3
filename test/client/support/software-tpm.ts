import { encode } from '../../../tpm/codec/structure.ts';
import { pcrDigest } from '../../../tpm/crypto/pcr.ts';
import { childQualifiedName, objectName, primaryQualifiedName } from '../../../tpm/crypto/name.ts';
import type { AkBlobs } from '../../../tpm/device/attestation-key.ts';
import type { EndorsementKey } from '../../../tpm/device/endorsement-key.ts';
import { decodeResponseCode } from '../../../tpm/device/response-code.ts';
import { TpmError } from '../../../tpm/device/tpm-error.ts';
import { TPMS_ATTEST } from '../../../tpm/structures/attest.ts';
import {
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P384,
  TPM_GENERATED_VALUE,
  TPM_ST_ATTEST_QUOTE,
} from '../../../tpm/structures/constants.ts';
import { makePcrSelection } from '../../../tpm/structures/pcr-selection.ts';
import type { PcrBankSelection } from '../../../tpm/structures/pcr-selection.ts';
import { encodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import type { HostAk, HostTpm, QuoteRequest } from '../../../client/agent/host-tpm.ts';
import { openCredential } from '../../support/open-credential.ts';
import { makeAk, makeEk, signWithAk } from '../../support/tpm-keys.ts';
import type { SoftwareKey } from '../../support/tpm-keys.ts';

/** TPM_RC_INTEGRITY, format one, first parameter. */
const INTEGRITY = decodeResponseCode(0x1df);

/** A TPM in software that does what the agent asks, with the keys and the bytes of a real one. */
export class SoftwareTpm implements HostTpm {
  readonly eks: readonly SoftwareKey[] = [
    makeEk({ curveID: TPM_ECC_NIST_P256 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 }),
    makeEk({ curveID: TPM_ECC_NIST_P384 }, { nameAlg: TPM_ALG_SHA384, aesBits: 256 }),
  ];
  readonly pcrs = new Map<number, Buffer>(
    Array.from({ length: 24 }, (_, index): [number, Buffer] => [index, Buffer.alloc(32, index)]),
  );
  /** What was asked of the TPM, in order. */
  readonly calls: string[] = [];
  /** Runs after each quote, before its values are read. */
  afterQuote: (count: number) => void = () => undefined;
  /** Thrown by `bootState` and quotes while it is set. */
  failure: TpmError | undefined;
  resetCount = 1;
  #aks = new Map<string, SoftwareKey>();
  #quotes = 0;

  /** TPM2_Clear: AKs under the EK do not load any more. */
  clear(): void {
    this.#aks = new Map();
  }

  endorsementKeys(): Promise<readonly EndorsementKey[]> {
    this.calls.push('endorsementKeys');
    return Promise.resolve(
      this.eks.map(({ publicArea }, index): EndorsementKey => {
        return {
          template: 'L-2',
          publicArea: publicArea.raw,
          chain: [],
          location: { kind: 'persistent', handle: index },
        };
      }),
    );
  }

  createAk(_ek: EndorsementKey): Promise<AkBlobs> {
    this.calls.push('createAk');
    const key = makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA256 });
    const id = `ak ${this.#aks.size} of ${this.calls.length}`;
    this.#aks.set(id, key);
    return Promise.resolve({ publicBlob: encodeSizedPublicArea(key.publicArea), privateBlob: Buffer.from(id) });
  }

  async loadAk(ek: EndorsementKey, blobs: AkBlobs): Promise<HostAk> {
    this.calls.push('loadAk');
    const key = this.#aks.get(blobs.privateBlob.toString());
    if (key === undefined) throw new TpmError('REFUSED', 'the TPM refused a command', { response: INTEGRITY });
    const parent = this.#ek(ek);
    return {
      publicArea: key.publicArea.raw,
      name: objectName(key.publicArea),
      activate: async (under, credential) => {
        this.calls.push('activate');
        return openCredential(this.#ek(under), objectName(key.publicArea), credential);
      },
      quote: async (request) => this.#quote(key, parent, request),
      proveBanks: async () => ({
        capabilityData: Buffer.from('capability data'),
        attest: Buffer.from('audit attest'),
        signature: Buffer.from('audit signature'),
      }),
      flush: async () => undefined,
    };
  }

  activeBanks(): Promise<readonly PcrBankSelection[]> {
    return Promise.resolve([{ hash: TPM_ALG_SHA256, pcrs: [...this.pcrs.keys()] }]);
  }

  readPcrs(selection: readonly PcrBankSelection[]): ReturnType<HostTpm['readPcrs']> {
    this.calls.push('readPcrs');
    return Promise.resolve(
      selection.flatMap(({ hash, pcrs }) =>
        pcrs.flatMap((index) => {
          const value = this.pcrs.get(index);
          return hash === TPM_ALG_SHA256 && value !== undefined ? [{ hash, index, value }] : [];
        }),
      ),
    );
  }

  async bootState(): Promise<{ resetCount: number; restartCount: number }> {
    if (this.failure !== undefined) throw this.failure;
    return { resetCount: this.resetCount, restartCount: 0 };
  }

  close(): Promise<void> {
    this.calls.push('close');
    return Promise.resolve();
  }

  #quote(
    key: SoftwareKey,
    parent: SoftwareKey,
    { qualifyingData, selection }: QuoteRequest,
  ): {
    attest: Buffer;
    signature: Buffer;
  } {
    this.calls.push('quote');
    if (this.failure !== undefined) throw this.failure;
    const pcrSelect = selection.map(({ hash, pcrs }) => makePcrSelection(hash, pcrs));
    const values = new Map([[TPM_ALG_SHA256, this.pcrs]]);
    const attest = encode(TPMS_ATTEST, {
      magic: TPM_GENERATED_VALUE,
      type: TPM_ST_ATTEST_QUOTE,
      qualifiedSigner: childQualifiedName(key.publicArea, primaryQualifiedName(parent.publicArea)),
      extraData: qualifyingData,
      clockInfo: { clock: 1000n, resetCount: this.resetCount, restartCount: 0, safe: true },
      firmwareVersion: 1n,
      attested: { pcrSelect, pcrDigest: pcrDigest(pcrSelect, values, TPM_ALG_SHA256) },
    });
    this.#quotes += 1;
    this.afterQuote(this.#quotes);
    return { attest, signature: signWithAk(key, attest) };
  }

  #ek({ publicArea }: EndorsementKey): SoftwareKey {
    const found = this.eks.find((ek) => ek.publicArea.raw.equals(publicArea));
    if (found === undefined) throw new TypeError('no such ek');
    return found;
  }
}
