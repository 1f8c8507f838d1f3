/** Lists that real kernels made in a virtual machine: `test/vectors/kernel-lists/README.md` says how, and of what. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { readImaKeys } from '../../tpm/ima/keyring.ts';
import type { ImaKey } from '../../tpm/ima/keyring.ts';
import { hashAlgorithmByName } from '../../tpm/structures/constants.ts';

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

/** The certificate that files were signed with. */
export function kernelSigner(name: SignerName): ImaKey {
  const [key] = readImaKeys(readFileSync(join(folder, 'keys', `${name}.pem`)));
  if (key === undefined) throw new Error(`no key ${name}`);
  return key;
}
