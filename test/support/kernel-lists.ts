/** Lists that real kernels made in a virtual machine: `test/vectors/kernel-lists/README.md` says how, and of what. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { readImaKeys } from '../../tpm/ima/keyring.ts';
import type { ImaKey } from '../../tpm/ima/keyring.ts';
import { digestSize } from '../../tpm/crypto/digest.ts';
import { hashAlgorithmByName, TPM_ALG_SHA512 } from '../../tpm/structures/constants.ts';
import type { Log } from './evidence-builder.ts';
import { SoftwareTpm } from './software-tpm.ts';

const folder = join(import.meta.dirname, '..', 'vectors', 'kernel-lists');

export type SignerName = 'signer-rsa' | 'signer-p256' | 'signer-p384' | 'authority';

/** A file of a scene, such as `binary_runtime_measurements`. */
export function kernelFile(scene: string, name: string): Buffer {
  return readFileSync(join(folder, scene, name));
}

export function kernelList(scene: string): Buffer {
  return kernelFile(scene, 'binary_runtime_measurements');
}

/** What the TPM held when the list was read, by bank and PCR. */
export function kernelPcrs(scene: string): ReadonlyMap<number, ReadonlyMap<number, Buffer>> {
  const banks = new Map<number, Map<number, Buffer>>();
  for (const line of kernelFile(scene, 'pcrs').toString('latin1').trim().split('\n')) {
    const [name = '', pcr = '', value = ''] = line.split(' ');
    const alg = hashAlgorithmByName(name)?.alg ?? 0;
    banks.set(alg, (banks.get(alg) ?? new Map<number, Buffer>()).set(Number(pcr), Buffer.from(value, 'hex')));
  }
  return banks;
}

/** The values of PCR 10, in every bank. */
export function kernelTarget(scene: string): ReadonlyMap<number, ReadonlyMap<number, Buffer>> {
  const pcr10 = (pcrs: ReadonlyMap<number, Buffer>): Buffer => pcrs.get(10) ?? Buffer.alloc(0);
  return new Map([...kernelPcrs(scene)].map(([alg, pcrs]) => [alg, new Map([[10, pcr10(pcrs)]])]));
}

/** A TPM that holds what the machine's did when the list was read. */
export function kernelTpm(scene: string): SoftwareTpm {
  // The TPM of these tests has no larger one.
  const values = new Map([...kernelPcrs(scene)].filter(([alg]) => alg !== TPM_ALG_SHA512));
  const tpm = new SoftwareTpm({ banks: [...values.keys()] });
  for (const [alg, bank] of values) {
    for (const [pcr, value] of bank) tpm.pcrs.get(alg)?.set(pcr, value);
    for (let pcr = 17; pcr <= 22; pcr++) tpm.pcrs.get(alg)?.set(pcr, Buffer.alloc(digestSize(alg), 0xff));
  }
  return tpm;
}

/** Its firmware's log, and its list. */
export function kernelLogs(scene: string): readonly [Log, Log] {
  return [
    { kind: 'boot', data: kernelFile(scene, 'binary_bios_measurements') },
    { kind: 'ima', data: kernelList(scene) },
  ];
}

/** The certificate of who signed files, in PEM. */
export function kernelCertificate(name: SignerName): Buffer {
  return readFileSync(join(folder, 'keys', `${name}.pem`));
}

export function kernelSigner(name: SignerName): ImaKey {
  const [key] = readImaKeys(kernelCertificate(name));
  if (key === undefined) throw new Error(`no key ${name}`);
  return key;
}
