import { findHashFaults } from '../../tpm/crypto/ak-rules.ts';
import { TpmCryptoError } from '../../tpm/crypto/crypto-error.ts';
import { makeSigningKey, signingKeyOf } from '../../tpm/crypto/verify-signature.ts';
import type { SigningKey, SigningScheme } from '../../tpm/crypto/verify-signature.ts';
import {
  TPM_ALG_ECC,
  type TPM_ALG_ECDSA,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_ALG_SHA256,
  algorithmName,
} from '../../tpm/structures/constants.ts';
import { akFinding } from './attestation-key.ts';
import type { OfflineAk } from './attestation-key.ts';
import { offlineFinding } from './offline-finding.ts';
import type { OfflineFinding } from './offline-finding.ts';
import { readSignature } from './quote-input.ts';
import type { OfflineSignature } from './quote-input.ts';
import type { NamedFile } from './trust-anchors.ts';

type RsaScheme = Exclude<SigningScheme, typeof TPM_ALG_ECDSA>;

/** What a bare key signs with (TPM_ALG_IDs), as the person who looks at it knows from elsewhere. */
export interface KnownScheme {
  readonly scheme?: RsaScheme | undefined;
  readonly hash?: number | undefined;
}

/** A signature with the key to verify it by; undefined where the key signs no quotes. */
export interface SignedBy {
  readonly signature: OfflineSignature;
  readonly signer: SigningKey | undefined;
  readonly findings: readonly OfflineFinding[];
}

/**
 * Reads a signature and chooses what it is verified by. Scheme and hash are the key's own; those of a bare key are the ones that
 * are known, or else those that the signature names. Throws `UsageError` for what is no signature.
 */
export function readSigned(file: NamedFile, ak: OfflineAk, known: KnownScheme): SignedBy {
  const own = ownHash(ak) ?? known.hash;
  const signature = readSignature(file, ak, { scheme: ownScheme(ak) ?? known.scheme, hash: own ?? TPM_ALG_SHA256 });
  try {
    const signer = ak.publicArea === undefined ? bareSigner(ak, signature, known) : signingKeyOf(ak.publicArea);
    const assumed = own === undefined && signature.form === 'plain';
    return {
      signature,
      signer,
      findings: [
        ...(assumed ? [assumedHash(signer)] : []),
        ...findHashFaults(signer.hashAlg, 'signs with').map(akFinding),
      ],
    };
  } catch (error) {
    if (!(error instanceof TpmCryptoError)) throw error;
    const code = error.code === 'SIGNATURE_NULL' ? 'SIGNATURE_NULL' : 'AK_SCHEME_UNSUPPORTED';
    return { signature, signer: undefined, findings: [offlineFinding(code, 'error', error.message)] };
  }
}

function bareSigner({ key }: OfflineAk, { signature }: OfflineSignature, { scheme, hash }: KnownScheme): SigningKey {
  if (signature.sigAlg === TPM_ALG_NULL) throw new TpmCryptoError('SIGNATURE_NULL', 'the signature is null');
  const wanted: SigningScheme = key.asymmetricKeyType === 'rsa' ? (scheme ?? signature.sigAlg) : signature.sigAlg;
  return makeSigningKey(key, wanted, hash ?? signature.hash);
}

function assumedHash({ hashAlg }: SigningKey): OfflineFinding {
  const message = `neither key nor signature names a hash: ${algorithmName(hashAlg)} is taken`;
  return offlineFinding('SIGNATURE_HASH_ASSUMED', 'info', message);
}

function ownScheme({ publicArea }: OfflineAk): number | undefined {
  return publicArea?.type === TPM_ALG_RSA ? publicArea.parameters.scheme.scheme : undefined;
}

function ownHash({ publicArea }: OfflineAk): number | undefined {
  if (publicArea?.type !== TPM_ALG_RSA && publicArea?.type !== TPM_ALG_ECC) return undefined;
  const { scheme } = publicArea.parameters;
  return 'hashAlg' in scheme ? scheme.hashAlg : undefined;
}
