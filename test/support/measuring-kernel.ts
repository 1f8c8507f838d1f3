/** A kernel that measures into a TPM in software as IMA does: it writes the list and extends the PCRs. */
import { hash } from 'node:crypto';

import { digest, digestSize } from '../../tpm/crypto/digest.ts';
import { TPM_ALG_SHA256 } from '../../tpm/structures/constants.ts';
import { digestField, hashedData, makeRecord, nameField, number } from '../tpm/ima/list-builder.ts';
import type { EntryPlan } from '../tpm/ima/list-builder.ts';
import type { Log } from './evidence-builder.ts';
import type { SoftwareTpm } from './software-tpm.ts';

export const sha256 = (content: string): Buffer => hash('sha256', content, 'buffer');

/** A file as `ima-sig` lists it. */
export function filePlan(path: string, content: string, signature: Buffer = Buffer.alloc(0)): EntryPlan {
  return { template: 'ima-sig', fields: [digestField('sha256', sha256(content)), nameField(path), signature] };
}

/** A buffer as `ima-buf` lists it. */
export function bufferPlan(name: string, buffer: Buffer): EntryPlan {
  const fields = [digestField('sha256', hash('sha256', buffer, 'buffer')), nameField(name), buffer];
  return { template: 'ima-buf', fields };
}

export function violationPlan(path: string): EntryPlan {
  const fields = [digestField('sha256', Buffer.alloc(32)), nameField(path), Buffer.alloc(0)];
  return { template: 'ima-sig', fields, violation: true };
}

export class MeasuringKernel {
  readonly #tpm: SoftwareTpm;
  #list: Buffer = Buffer.alloc(0);

  readonly #plans: EntryPlan[] = [];

  /** Begins with the aggregate of the PCRs as they are and, as by a policy for IMA, its own version, unless told otherwise. */
  constructor(tpm: SoftwareTpm, first?: readonly EntryPlan[]) {
    this.#tpm = tpm;
    this.measure(...(first ?? [this.aggregatePlan(), bufferPlan('kernel_version', Buffer.from('6.12.0'))]));
  }

  get list(): Buffer {
    return this.#list;
  }

  aggregatePlan(): EntryPlan {
    const bank = this.#tpm.read().get(TPM_ALG_SHA256);
    const values = Array.from({ length: 10 }, (_, pcr) => bank?.get(pcr) ?? Buffer.alloc(32));
    const fields = [
      digestField('sha256', hash('sha256', Buffer.concat(values), 'buffer')),
      nameField('boot_aggregate'),
      Buffer.alloc(0),
    ];
    return { template: 'ima-sig', fields };
  }

  measure(...plans: readonly EntryPlan[]): this {
    for (const plan of plans) {
      this.extend(plan);
      this.#plans.push(plan);
      this.#list = Buffer.concat([this.#list, makeRecord(plan)]);
    }
    return this;
  }

  /** Extends the PCR alone, as if the list did not tell. */
  extend(plan: EntryPlan): void {
    for (const alg of this.#tpm.pcrs.keys()) {
      const value = plan.violation === true ? Buffer.alloc(digestSize(alg), 0xff) : digest(alg, hashedData(plan));
      this.#tpm.extend(plan.pcr ?? 10, Buffer.from(value), alg);
    }
  }

  /** Measures an entry of a list that is there already: the fields as they stand. */
  measureData(template: string, data: Buffer): void {
    for (const alg of this.#tpm.pcrs.keys()) this.#tpm.extend(10, Buffer.from(digest(alg, data)), alg);
    const parts = [number(10, 4), hash('sha1', data, 'buffer'), number(template.length, 4), Buffer.from(template)];
    this.#list = Buffer.concat([this.#list, ...parts, number(data.length, 4), data]);
  }

  /** Extends the PCRs by the whole list again, as after they were set back. */
  replay(): void {
    for (const plan of this.#plans) this.extend(plan);
  }

  /** The list from an offset on, as an agent reads it. */
  log(offset = 0): Log {
    return { kind: 'ima', data: this.#list.subarray(offset), offset };
  }
}
