/** A machine with a TPM that outlives its agents, and remembers all that it ever signed. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';

import { hostIdOf } from '../../server/endorsement/host-id.ts';
import { encodeSizedPublicArea } from '../../tpm/structures/public-area.ts';
import { TPM_ALG_SHA256 } from '../../tpm/structures/constants.ts';
import { filePlan, MeasuringKernel } from '../support/measuring-kernel.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import type { SoftwareAk } from '../support/software-tpm.ts';
import { ekCertificate } from '../support/test-service.ts';
import type { Signed } from './model/history.ts';
import type { TpmAnswers, TpmCall } from './tpm-calls.ts';

/** The PCR that policies speak of: zero from a reset on, until somebody tampers. */
const WATCHED_PCR = 16;
/** The PCR of IMA. */
const MEASURED_PCR = 10;

export class Machine {
  readonly name: string;
  readonly tpm = new SoftwareTpm();
  /** `h-…` */
  readonly hostId: string;
  /** Hex, by the digest that results name: everything that was ever quoted. */
  readonly signed = new Map<string, Signed>();
  readonly #certified: boolean;
  /** Where its agent reads the list of what it runs; '' for a machine that measures nothing. */
  readonly #list: string;
  #kernel: MeasuringKernel | null = null;
  #files = 0;
  readonly #aks: SoftwareAk[] = [];
  #cleared = 0;

  /** @param options.certified whether the EK has a certificate that the service trusts */
  constructor(name: string, { certified, list = '' }: { readonly certified: boolean; readonly list?: string }) {
    this.name = name;
    this.#certified = certified;
    this.#list = list;
    this.hostId = hostIdOf(this.tpm.ekSpki());
    this.#startKernel();
  }

  /** PCR 10 of the sha256 bank, hex: what the list leads to. */
  get measured(): string {
    return this.tpm.pcrs.get(TPM_ALG_SHA256)?.get(MEASURED_PCR)?.toString('hex') ?? '';
  }

  /** Another file runs. */
  measure(): void {
    if (this.#kernel === null) return;
    this.#files += 1;
    this.#kernel.measure(filePlan(`/usr/bin/tool-${this.#files}`, `${this.name} ${this.#files}`));
    writeFileSync(this.#list, this.#kernel.list);
  }

  #startKernel(): void {
    if (this.#list === '') return;
    this.#kernel = new MeasuringKernel(this.tpm);
    writeFileSync(this.#list, this.#kernel.list);
  }

  get tampered(): boolean {
    const value = this.tpm.pcrs.get(TPM_ALG_SHA256)?.get(WATCHED_PCR);
    return value === undefined || value.some((byte) => byte !== 0);
  }

  tamper(): void {
    this.tpm.extend(WATCHED_PCR);
  }

  reboot(): void {
    this.tpm.reset();
    this.#startKernel();
  }

  /** TPM2_Clear: the AKs of before do not load any more. */
  clear(): void {
    this.#cleared = this.#aks.length;
  }

  /** Answers what an agent asks of its TPM. `key_lost` where the TPM refuses the blob of an AK. */
  answer<Name extends keyof TpmAnswers>(call: Extract<TpmCall, { readonly name: Name }>): TpmAnswers[Name];
  answer(call: TpmCall): TpmAnswers[keyof TpmAnswers] {
    switch (call.name) {
      case 'endorsementKey':
        return {
          publicArea: this.tpm.ek(0).publicArea.raw,
          certificate: this.#certified ? ekCertificate(this.tpm) : null,
        };
      case 'createAk': {
        const ak = this.tpm.createAk();
        this.#aks.push(ak);
        return { publicBlob: encodeSizedPublicArea(ak.publicArea), privateBlob: Buffer.from([this.#aks.length - 1]) };
      }
      case 'loadAk':
        return { publicArea: this.#ak(call.ak).publicArea.raw };
      case 'activate':
        return this.tpm.activate(this.#ak(call.ak), 0, call.credential);
      case 'quote':
        return this.#quote(this.#ak(call.ak), call);
      case 'proveBanks':
        return this.tpm.proveBanks(this.#ak(call.ak), { extraData: Buffer.from(call.qualifyingData) });
      case 'activeBanks':
        return this.tpm.activeBanks;
      case 'readPcrs':
        return [...this.tpm.read(call.selection)].flatMap(([hash, bank]) =>
          [...bank].map(([index, value]) => ({ hash, index, value })),
        );
      case 'bootState': {
        const { resetCount, restartCount } = this.tpm.clockInfo;
        return { resetCount, restartCount };
      }
    }
  }

  #quote(ak: SoftwareAk, call: Extract<TpmCall, { readonly name: 'quote' }>): TpmAnswers['quote'] {
    const { resetCount } = this.tpm.clockInfo;
    const quote = this.tpm.quote(ak, { extraData: Buffer.from(call.qualifyingData), selection: call.selection });
    const digest = createHash('sha256').update(quote.attest).update(quote.signature).digest('hex');
    const akName = ak.name.toString('hex');
    this.signed.set(digest, {
      good: !this.tampered,
      resetCount,
      akName,
      order: this.signed.size,
      time: Date.now(),
    });
    return quote;
  }

  #ak(blob: Uint8Array): SoftwareAk {
    const index = blob[0] ?? -1;
    const ak = this.#aks[index];
    if (ak === undefined || index < this.#cleared) throw new KeyLost('the blob does not load');
    return ak;
  }
}

export class KeyLost extends Error {}
