/** Measures into a software TPM as a kernel with IMA does, with the list in a file. */
import { hash } from 'node:crypto';
import { appendFile, writeFile } from 'node:fs/promises';

import { digest, digestSize } from '../../tpm/crypto/digest.ts';
import { Tpm } from '../../tpm/device/tpm.ts';
import { TPM_ALG_SHA256 } from '../../tpm/structures/constants.ts';
import { digestField, hashedData, makeRecord, nameField } from '../tpm/ima/list-builder.ts';
import type { EntryPlan } from '../tpm/ima/list-builder.ts';

const IMA_PCR = 10;
const AGGREGATED = Array.from({ length: 10 }, (_, pcr) => pcr);

export class MeasuringSwtpm {
  readonly #tcti: () => string;
  /** The list. */
  readonly path: string;

  constructor(tcti: () => string, path: string) {
    this.#tcti = tcti;
    this.path = path;
  }

  /** Begins a list, with the aggregate of the PCRs as they are. */
  async begin(): Promise<void> {
    await writeFile(this.path, '');
    await using tpm = await Tpm.open({ tcti: this.#tcti() });
    const values = await tpm.pcrRead([{ hash: TPM_ALG_SHA256, pcrs: AGGREGATED }]);
    const aggregate = hash('sha256', Buffer.concat(values.map(({ value }) => value)), 'buffer');
    const fields = [digestField('sha256', aggregate), nameField('boot_aggregate'), Buffer.alloc(0)];
    await this.#measure(tpm, { template: 'ima-sig', fields });
  }

  async measure(...plans: readonly EntryPlan[]): Promise<void> {
    await using tpm = await Tpm.open({ tcti: this.#tcti() });
    for (const plan of plans) await this.#measure(tpm, plan);
  }

  /** The list first, as kernels do: a reader then never sees less than was extended. */
  async #measure(tpm: Tpm, plan: EntryPlan): Promise<void> {
    await appendFile(this.path, makeRecord(plan));
    const active = (await tpm.pcrBanks()).filter(({ pcrs }) => pcrs.length > 0);
    const digests = active.map(({ hash: alg }) => ({
      hash: alg,
      digest: plan.violation === true ? Buffer.alloc(digestSize(alg), 0xff) : digest(alg, hashedData(plan)),
    }));
    await tpm.pcrExtend(IMA_PCR, digests);
  }
}
