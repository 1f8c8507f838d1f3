/** Entries of lists that real kernels made, proven and examined with the keys of their signers. */
import type { ImaEntry } from '../../../tpm/ima/entry.ts';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import type { ExaminedEntry } from '../../../tpm/ima/examine.ts';
import type { ImaMeasurement } from '../../../tpm/ima/fields.ts';
import { ImaKeyring } from '../../../tpm/ima/keyring.ts';
import type { ImaKey } from '../../../tpm/ima/keyring.ts';
import { replayImaList } from '../../../tpm/ima/replay.ts';
import { kernelList, kernelSigner, kernelTarget } from '../../support/kernel-lists.ts';

const signers = (['signer-rsa', 'signer-p256', 'signer-p384'] as const).map(
  (name) => [name, kernelSigner(name)] as const,
);
export const keyring = new ImaKeyring(signers.map(([, key]) => key));
export const signerOf = ({ fingerprint }: ImaKey): string =>
  signers.find(([, key]) => key.fingerprint === fingerprint)?.[0] ?? 'nobody';

export function replayed(scene: string): readonly ImaEntry[] {
  const outcome = replayImaList(kernelList(scene), { target: kernelTarget(scene) });
  if (outcome.kind !== 'matched') throw new Error(`${scene}: ${outcome.findings[0]?.message ?? ''}`);
  return outcome.entries;
}

export function examined(scene: string): readonly ExaminedEntry[] {
  return replayed(scene).map((entry) => examineEntry(entry, keyring));
}

export function fail(): never {
  throw new Error('no such entry');
}

export function measurementOf({ measurement }: ExaminedEntry): ImaMeasurement {
  return measurement ?? fail();
}

/** The measurements of one name. */
export function named(scene: string, name: string): readonly ExaminedEntry[] {
  return examined(scene).filter(({ measurement }) => measurement?.name === name);
}

/** Every byte would take a minute on a busy machine; lengths of fields are no multiples of it. */
export const STRIDE = 7;

export function flipped(list: Buffer, at: number): Buffer {
  const changed = Buffer.from(list);
  changed[at] = (changed[at] ?? 0) ^ 0x40;
  return changed;
}

export function counted(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
