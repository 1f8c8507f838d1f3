/** What became of a signature. */
import type { ImaKey } from './keyring.ts';

/** Why a signature is invalid, with the phrase that a finding says. */
export const SIGNATURE_FAULTS = {
  TRUNCATED: 'it ends inside its header',
  TYPE_UNKNOWN: 'it is no type of signature',
  VERSION_UNKNOWN: 'its version does not exist for its type',
  HASH_UNKNOWN: 'its hash does not exist',
  HASH_MISMATCH: 'its hash is not that of the measured digest',
  SIZE_MISMATCH: 'its size is not what its header says',
  DIGEST_KIND_MISMATCH: 'it is of another kind of digest than was measured',
  VALUE_WRONG: 'it is not of the measured digest under the key that it names',
  UNTRIED: 'it was not tried',
  PKCS7_MALFORMED: 'it is no pkcs #7 signature',
  DIGEST_MISSING: 'the digest that it is over was not measured',
  XATTRS_MISSING: 'the attributes that it is over were not measured',
  IMA_XATTR_MISSING: 'security.ima is not among the attributes that it covers',
  IMA_XATTR_MISMATCH: 'security.ima, which it covers, is not of the measured digest',
} as const;

export type SignatureFault = keyof typeof SIGNATURE_FAULTS;

/** `ima` is a signature in `security.ima`, `modsig` one that is appended to the file, `evm` one over the file's metadata. */
export type SignatureSource = 'ima' | 'modsig' | 'evm';

export type ImaSignatureResult =
  | { readonly kind: 'none' }
  | { readonly kind: 'valid'; readonly source: SignatureSource; readonly key: ImaKey }
  | {
      readonly kind: 'invalid';
      readonly source: SignatureSource;
      readonly fault: SignatureFault;
      readonly keyId?: string;
    }
  | { readonly kind: 'unknownKey'; readonly source: SignatureSource; readonly keyId: string }
  | { readonly kind: 'unsupported'; readonly source: SignatureSource; readonly what: string };

/** From what must not be overlooked to what says least. */
const ORDER = ['invalid', 'valid', 'unknownKey', 'unsupported', 'none'] as const;

/** One result for an entry with several signatures: an invalid one is not made good by another, a valid one by itself is enough. */
export function combineResults(results: readonly ImaSignatureResult[]): ImaSignatureResult {
  for (const kind of ORDER) {
    const found = results.find((result) => result.kind === kind);
    if (found !== undefined) return found;
  }
  return { kind: 'none' };
}
