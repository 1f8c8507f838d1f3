import { hash } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../tpm/structures/constants.ts';
import { failures, MeasuredHost, putRules } from '../support/measured-host.ts';
import { filePlan, MeasuringKernel, violationPlan } from '../support/measuring-kernel.ts';
import { FILES, importFiles } from '../support/runtime-policy.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import { enrollMachine } from '../support/stream-agent.ts';
import { openHouse } from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';
import { digestField, hashedData, nameField } from '../tpm/ima/list-builder.ts';
import type { EntryPlan } from '../tpm/ima/list-builder.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
  await importFiles(house.store, ['good']);
  await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const good = filePlan('/usr/bin/good', 'good');
const NOTHING = [
  'runtime.list error RUNTIME_BANK_WEAK',
  'runtime.boot-aggregate error RUNTIME_UNVERIFIED',
  'runtime.kernels error RUNTIME_UNVERIFIED',
  'runtime.violations error RUNTIME_UNVERIFIED',
  'runtime.files error RUNTIME_UNVERIFIED',
];

/** As a kernel writes it that finds this bank alone. */
function aggregate(tpm: SoftwareTpm, algorithm: string, alg: number, last: number): EntryPlan {
  const values = Array.from({ length: last + 1 }, (_, pcr) => tpm.read().get(alg)?.get(pcr) ?? Buffer.alloc(0));
  const value = hash(algorithm, Buffer.concat(values), 'buffer');
  return { template: 'ima-sig', fields: [digestField(algorithm, value), nameField('boot_aggregate'), Buffer.alloc(0)] };
}

/** It lacks the hash of the bank when it starts, and extends it by padded SHA-1 hashes. */
class PaddingKernel extends MeasuringKernel {
  readonly #of: SoftwareTpm;

  constructor(tpm: SoftwareTpm, alg: number) {
    super(tpm, []);
    this.#of = tpm;
    this.measure(aggregate(tpm, 'sha384', alg, 9));
  }

  override extend(plan: EntryPlan): void {
    for (const alg of this.#of.pcrs.keys()) {
      const size = alg === TPM_ALG_SHA384 ? 48 : 32;
      const padded = Buffer.concat([hash('sha1', hashedData(plan), 'buffer'), Buffer.alloc(size)]).subarray(0, size);
      this.#of.extend(10, plan.violation === true ? Buffer.alloc(size, 0xff) : padded, alg);
    }
  }
}

const weak: readonly (readonly [string, () => { readonly tpm: SoftwareTpm; readonly kernel: MeasuringKernel }])[] = [
  [
    'a TPM that measures with SHA-1 alone',
    () => {
      const tpm = new SoftwareTpm({ banks: [TPM_ALG_SHA1] });
      return { tpm, kernel: new MeasuringKernel(tpm, [aggregate(tpm, 'sha1', TPM_ALG_SHA1, 7)]) };
    },
  ],
  [
    'a bank of SHA-384 alone that a kernel extends by padded SHA-1 hashes',
    () => {
      const tpm = new SoftwareTpm({ banks: [TPM_ALG_SHA384] });
      return { tpm, kernel: new PaddingKernel(tpm, TPM_ALG_SHA384) };
    },
  ],
];

it.each(weak)('%s satisfies no run-time rule, and what it lists stands against it', async (_name, make) => {
  const { tpm, kernel } = make();
  await using host = new MeasuredHost(house, await enrollMachine(house, { tpm }), kernel);
  kernel.measure(good);
  const result = await host.round();
  expect(result.status).toBe('none');
  expect(failures(result.checks)).toEqual(NOTHING);
  kernel.measure(violationPlan('/var/log/x'));
  const bad = await host.next();
  expect(bad.status).toBe('contraindicated');
  expect(failures(bad.checks)).toContain('runtime.violations failed IMA_VIOLATION');
});

it.each([
  ['SHA-256 alone', [TPM_ALG_SHA256]],
  ['SHA-1 beside SHA-256', [TPM_ALG_SHA1, TPM_ALG_SHA256]],
])('the same list is affirmed by banks of %s', async (_name, banks) => {
  const tpm = new SoftwareTpm({ banks });
  await using host = await MeasuredHost.enrolled(house, tpm);
  host.kernel.measure(good);
  const result = await host.round();
  expect(failures(result.checks)).toEqual([]);
  expect(result.status).toBe('affirming');
});
