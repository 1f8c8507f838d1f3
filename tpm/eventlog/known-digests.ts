/** Digests that every reader of logs knows: an event that has one under another type was relabelled. */
import { hash } from 'node:crypto';
import { HASH_ALGORITHMS } from '../structures/constants.ts';
import { EV_EFI_ACTION, EV_SEPARATOR, SEPARATOR_ERROR, SEPARATOR_ONES, SEPARATOR_ZERO } from './event-types.ts';

export const CALLING_APPLICATION = 'Calling EFI Application from Boot Option';
export const RETURNING_FROM_APPLICATION = 'Returning from EFI Application from Boot Option';
export const EXIT_BOOT_SERVICES = 'Exit Boot Services Invocation';
export const EXIT_BOOT_SERVICES_SUCCESS = 'Exit Boot Services Returned with Success';
export const EXIT_BOOT_SERVICES_FAILURE = 'Exit Boot Services Returned with Failure';
export const UEFI_DEBUG_MODE = 'UEFI Debug Mode';
export const DMA_PROTECTION_DISABLED = 'DMA Protection Disabled';

const ACTIONS = [
  CALLING_APPLICATION,
  RETURNING_FROM_APPLICATION,
  EXIT_BOOT_SERVICES,
  EXIT_BOOT_SERVICES_SUCCESS,
  EXIT_BOOT_SERVICES_FAILURE,
  UEFI_DEBUG_MODE,
  DMA_PROTECTION_DISABLED,
] as const;

export interface KnownDigest {
  /** The type that alone may have it. */
  readonly type: number;
  readonly meaning: string;
}

const CONSTANTS: readonly (readonly [Buffer, KnownDigest])[] = [
  [SEPARATOR_ZERO, { type: EV_SEPARATOR, meaning: 'a separator' }],
  [SEPARATOR_ONES, { type: EV_SEPARATOR, meaning: 'a separator' }],
  [SEPARATOR_ERROR, { type: EV_SEPARATOR, meaning: 'an error separator' }],
  ...ACTIONS.map((text) => [Buffer.from(text), { type: EV_EFI_ACTION, meaning: `the action "${text}"` }] as const),
];

/** Made at first use: an OpenSSL without one of the hashes must still load this. */
const byBank = new Map<number, ReadonlyMap<string, KnownDigest>>();

/** Known digests of a bank, as latin1 strings. */
export function knownDigests(alg: number): ReadonlyMap<string, KnownDigest> {
  const made = byBank.get(alg);
  if (made !== undefined) return made;
  const node = HASH_ALGORITHMS.get(alg)?.node;
  const digests =
    node === undefined
      ? new Map<string, KnownDigest>()
      : new Map(CONSTANTS.map(([bytes, known]) => [hash(node, bytes, 'binary'), known]));
  byBank.set(alg, digests);
  return digests;
}
