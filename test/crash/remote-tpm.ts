/** The agent's TPM, behind a channel to the process that has it. */
import { objectName } from '../../tpm/crypto/name.ts';
import type { AkBlobs } from '../../tpm/device/attestation-key.ts';
import type { EndorsementKey } from '../../tpm/device/endorsement-key.ts';
import { decodeResponseCode } from '../../tpm/device/response-code.ts';
import { TpmError } from '../../tpm/device/tpm-error.ts';
import { decodePublicArea } from '../../tpm/structures/public-area.ts';
import type { HostAk, HostTpm } from '../../client/agent/host-tpm.ts';
import type { ToAgents, TpmAnswers, TpmCall } from './tpm-calls.ts';

/** TPM_RC_INTEGRITY, format one, first parameter: what TPM2_Load says after TPM2_Clear. */
const INTEGRITY = decodeResponseCode(0x1df);

export class RemoteTpm implements HostTpm {
  readonly #ask: (call: TpmCall) => Promise<ToAgents>;

  constructor(ask: (call: TpmCall) => Promise<ToAgents>) {
    this.#ask = ask;
  }

  async endorsementKeys(): Promise<readonly EndorsementKey[]> {
    const { publicArea, certificate } = await this.#call('endorsementKey', { name: 'endorsementKey' });
    return [
      {
        template: 'L-2',
        publicArea: Buffer.from(publicArea),
        ...(certificate === null ? {} : { certificate: Buffer.from(certificate) }),
        chain: [],
        location: { kind: 'persistent', handle: 0x8101_0001 },
      },
    ];
  }

  async createAk(): Promise<AkBlobs> {
    const { publicBlob, privateBlob } = await this.#call('createAk', { name: 'createAk' });
    return { publicBlob: Buffer.from(publicBlob), privateBlob: Buffer.from(privateBlob) };
  }

  async loadAk(_ek: EndorsementKey, { privateBlob }: AkBlobs): Promise<HostAk> {
    const ak = Buffer.from(privateBlob);
    const publicArea = Buffer.from((await this.#call('loadAk', { name: 'loadAk', ak })).publicArea);
    return {
      publicArea,
      name: objectName(decodePublicArea(publicArea)),
      activate: async (_under, credential) =>
        Buffer.from(await this.#call('activate', { name: 'activate', ak, credential })),
      quote: async ({ qualifyingData, selection }) => {
        const call = { name: 'quote', ak, qualifyingData, selection } as const;
        return buffers(await this.#call('quote', call));
      },
      proveBanks: async (qualifyingData) => {
        const proof = await this.#call('proveBanks', { name: 'proveBanks', ak, qualifyingData });
        return { ...buffers(proof), capabilityData: Buffer.from(proof.capabilityData) };
      },
      flush: () => Promise.resolve(),
    };
  }

  activeBanks(): ReturnType<HostTpm['activeBanks']> {
    return this.#call('activeBanks', { name: 'activeBanks' });
  }

  async readPcrs(selection: Parameters<HostTpm['readPcrs']>[0]): ReturnType<HostTpm['readPcrs']> {
    const readings = await this.#call('readPcrs', { name: 'readPcrs', selection });
    return readings.map(({ value, ...reading }) => ({ ...reading, value: Buffer.from(value) }));
  }

  bootState(): ReturnType<HostTpm['bootState']> {
    return this.#call('bootState', { name: 'bootState' });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #call<Name extends keyof TpmAnswers>(
    _name: Name,
    call: Extract<TpmCall, { readonly name: Name }>,
  ): Promise<TpmAnswers[Name]> {
    const { value, lost = false } = await this.#ask(call);
    if (lost) throw new TpmError('REFUSED', 'the TPM refused a command', { response: INTEGRITY });
    return value as TpmAnswers[Name];
  }
}

function buffers({ attest, signature }: { readonly attest: Uint8Array; readonly signature: Uint8Array }) {
  return { attest: Buffer.from(attest), signature: Buffer.from(signature) };
}
