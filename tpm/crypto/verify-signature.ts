/** Signatures of attestation keys (Part 1 §B.7, §C.4; Part 2 §11.3.4). */
import { constants, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import {
  TPM_ALG_ECC,
  TPM_ALG_ECDSA,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
  algorithmName,
} from '../structures/constants.ts';
import type { TPMT_PUBLIC } from '../structures/public-area.ts';
import type { TPMT_SIGNATURE } from '../structures/signature.ts';
import { TpmCryptoError } from './crypto-error.ts';
import { hashAlgorithm } from './digest.ts';
import { ecdsaSignatureDer } from './ecdsa-der.ts';
import { publicKeyOf } from './public-key.ts';

export type SigningScheme = typeof TPM_ALG_RSASSA | typeof TPM_ALG_RSAPSS | typeof TPM_ALG_ECDSA;

/** A key with the one scheme and hash that it signs with. Make it once per key: importing a key costs more than a signature. */
export interface SigningKey {
  readonly key: KeyObject;
  readonly scheme: SigningScheme;
  readonly hashAlg: number;
}

declare const verified: unique symbol;

/** The proof that `message` carries a valid signature of `signer`. Only {@link verifySignature} makes it. */
export interface VerifiedSignature {
  readonly [verified]: true;
  readonly message: Buffer;
  readonly signer: SigningKey;
}

/** One row per scheme: the type of its keys in node:crypto, and how its signature verifies. */
const SCHEMES: {
  readonly [S in SigningScheme]: {
    readonly keyType: 'rsa' | 'ec';
    readonly check: (
      hash: string,
      message: Buffer,
      key: KeyObject,
      signature: Extract<TPMT_SIGNATURE, { readonly sigAlg: S }>,
    ) => boolean;
  };
} = {
  [TPM_ALG_RSASSA]: {
    keyType: 'rsa',
    check: (hash, message, key, { sig }) => verify(hash, message, key, sig),
  },
  // A TPM salts with the digest's size or, older ones, with all that fits (Part 1 §B.7): both are found from the padding.
  [TPM_ALG_RSAPSS]: {
    keyType: 'rsa',
    check: (hash, message, key, { sig }) =>
      verify(
        hash,
        message,
        { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO },
        sig,
      ),
  },
  [TPM_ALG_ECDSA]: {
    keyType: 'ec',
    check: (hash, message, key, { signatureR, signatureS }) =>
      verify(hash, message, key, ecdsaSignatureDer(signatureR, signatureS)),
  },
};

/** The signing key of a public area, whose scheme must be explicit: with a NULL scheme each signature would choose its own. */
export function signingKeyOf(publicArea: TPMT_PUBLIC): SigningKey {
  if (publicArea.type !== TPM_ALG_RSA && publicArea.type !== TPM_ALG_ECC) {
    throw new TpmCryptoError('UNSUITABLE_KEY', `${algorithmName(publicArea.type)} is no signing key`);
  }
  const chosen = publicArea.parameters.scheme;
  if (chosen.scheme !== TPM_ALG_RSASSA && chosen.scheme !== TPM_ALG_RSAPSS && chosen.scheme !== TPM_ALG_ECDSA) {
    throw new TpmCryptoError('UNSUITABLE_KEY', `scheme ${algorithmName(chosen.scheme)} is none that signs a quote`);
  }
  return makeSigningKey(publicKeyOf(publicArea), chosen.scheme, chosen.hashAlg);
}

/** A signing key from a key that came without its public area, with scheme and hash that the caller knows from elsewhere. */
export function makeSigningKey(key: KeyObject, scheme: SigningScheme, hashAlg: number): SigningKey {
  hashAlgorithm(hashAlg);
  if (key.asymmetricKeyType !== SCHEMES[scheme].keyType) {
    throw new TpmCryptoError('UNSUITABLE_KEY', `${String(key.asymmetricKeyType)} key for ${algorithmName(scheme)}`);
  }
  return { key, scheme, hashAlg };
}

/**
 * Verifies that `signature` is the signer's over `message`. Scheme and hash are the signer's; what the signature says of itself
 * must agree and is never followed.
 */
export function verifySignature(signer: SigningKey, message: Buffer, signature: TPMT_SIGNATURE): VerifiedSignature {
  if (signature.sigAlg === TPM_ALG_NULL) {
    throw new TpmCryptoError('SIGNATURE_NULL', 'signature is null');
  }
  if (signature.sigAlg !== signer.scheme) {
    const given = algorithmName(signature.sigAlg);
    throw new TpmCryptoError(
      'SIGNATURE_ALGORITHM_MISMATCH',
      `${given} signature of a ${algorithmName(signer.scheme)} key`,
    );
  }
  if (signature.hash !== signer.hashAlg) {
    const given = algorithmName(signature.hash);
    throw new TpmCryptoError('SIGNATURE_HASH_MISMATCH', `${given} signature of a ${algorithmName(signer.hashAlg)} key`);
  }
  if (!checkSignature(signer, message, signature)) {
    throw new TpmCryptoError('SIGNATURE_INVALID', 'signature does not verify');
  }
  return { message, signer } as VerifiedSignature;
}

function checkSignature(
  { key, hashAlg }: SigningKey,
  message: Buffer,
  signature: Exclude<TPMT_SIGNATURE, { readonly sigAlg: typeof TPM_ALG_NULL }>,
): boolean {
  const { node } = hashAlgorithm(hashAlg);
  switch (signature.sigAlg) {
    case TPM_ALG_ECDSA:
      return SCHEMES[signature.sigAlg].check(node, message, key, signature);
    case TPM_ALG_RSASSA:
      return SCHEMES[signature.sigAlg].check(node, message, key, signature);
    case TPM_ALG_RSAPSS:
      return SCHEMES[signature.sigAlg].check(node, message, key, signature);
  }
}
