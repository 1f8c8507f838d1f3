import { CodecError } from '../../tpm/codec/codec-error.ts';
import { TpmCryptoError } from '../../tpm/crypto/crypto-error.ts';
import { objectName, primaryQualifiedName } from '../../tpm/crypto/name.ts';
import { subjectPublicKeyInfo } from '../../tpm/crypto/public-key.ts';
import {
  ECC_CURVES,
  TPM_ALG_AES,
  TPM_ALG_CFB,
  TPM_ALG_ECC,
  TPM_ALG_RSA,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ALG_SHA512,
  algorithmName,
} from '../../tpm/structures/constants.ts';
import { hasAttribute } from '../../tpm/structures/object-attributes.ts';
import type { ObjectAttribute } from '../../tpm/structures/object-attributes.ts';
import { decodePublicArea } from '../../tpm/structures/public-area.ts';
import type { PublicArea } from '../../tpm/structures/public-area.ts';
import { hostIdOf } from '../endorsement/host-id.ts';
import { checkEkKey } from '../../tpm/endorsement/verify-ek.ts';
import { EnrollmentError } from './enrollment-error.ts';

/** An EK as a host names it. */
export interface PresentedEk {
  readonly publicArea: Buffer;
  /** DER; empty when none. */
  readonly certificate: Buffer;
  readonly chain: readonly Buffer[];
}

/** An EK whose public area can be one. That it is a TPM's is not known yet. */
export interface SoundEk extends PresentedEk {
  readonly area: PublicArea;
  readonly name: Buffer;
  readonly qualifiedName: Buffer;
  readonly spki: Buffer;
  readonly fingerprint: string;
  readonly hostId: string;
  /** Such as "RSA-2048". */
  readonly algorithm: string;
}

export const MAX_EKS = 8;
const NAME_HASHES: readonly number[] = [TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512];
const AES_KEY_BITS: readonly number[] = [128, 192, 256];
const REQUIRED: readonly ObjectAttribute[] = [
  'fixedTPM',
  'fixedParent',
  'sensitiveDataOrigin',
  'restricted',
  'decrypt',
];

/** Every EK of a host, each once. Throws {@link EnrollmentError}. */
export function checkEks(eks: readonly PresentedEk[]): readonly SoundEk[] {
  if (eks.length === 0) throw new EnrollmentError('EK_MISSING', 'no endorsement key was sent');
  if (eks.length > MAX_EKS)
    throw new EnrollmentError('TOO_MANY_EKS', `${eks.length} endorsement keys; at most ${MAX_EKS} are taken`);
  const sound = eks.map((ek) => checkEk(ek));
  if (new Set(sound.map(({ fingerprint }) => fingerprint)).size !== sound.length) {
    throw new EnrollmentError('EK_DUPLICATE', 'an endorsement key was sent twice');
  }
  return sound;
}

/** An EK is a restricted decryption key that the TPM generated (TCG EK Credential Profile §B), with a sound public key. */
function checkEk(presented: PresentedEk): SoundEk {
  try {
    const area = decodePublicArea(presented.publicArea);
    checkEkArea(area);
    const key = checkEkKey(subjectPublicKeyInfo(area));
    if (key.status === 'refused') throw new EnrollmentError(key.code, key.detail);
    return {
      ...presented,
      area,
      name: objectName(area),
      qualifiedName: primaryQualifiedName(area),
      spki: key.spki,
      fingerprint: key.ekFingerprint,
      hostId: hostIdOf(key.spki),
      algorithm: describe(area),
    };
  } catch (cause) {
    if (!(cause instanceof CodecError) && !(cause instanceof TpmCryptoError)) throw cause;
    throw new EnrollmentError('EK_MALFORMED', `ek public area: ${cause.message}`, { cause });
  }
}

function checkEkArea(area: PublicArea): void {
  const missing = REQUIRED.filter((name) => !hasAttribute(area.objectAttributes, name));
  if (missing.length > 0) throw new EnrollmentError('EK_UNSUITABLE', `ek lacks the attribute ${missing.join(', ')}`);
  if (hasAttribute(area.objectAttributes, 'sign')) throw new EnrollmentError('EK_UNSUITABLE', 'ek must not sign');
  if (!NAME_HASHES.includes(area.nameAlg)) {
    throw new EnrollmentError(
      'EK_UNSUITABLE',
      `ek is named by ${algorithmName(area.nameAlg)}; sha256, sha384 or sha512 is asked for`,
    );
  }
  if (area.type !== TPM_ALG_RSA && area.type !== TPM_ALG_ECC) {
    throw new EnrollmentError('EK_UNSUITABLE', `ek is of type ${algorithmName(area.type)}`);
  }
  const { symmetric } = area.parameters;
  const sound =
    symmetric.algorithm === TPM_ALG_AES && symmetric.mode === TPM_ALG_CFB && AES_KEY_BITS.includes(symmetric.keyBits);
  if (!sound)
    throw new EnrollmentError('EK_UNSUITABLE', 'ek protects its children with another cipher than AES in CFB mode');
}

function describe(area: PublicArea): string {
  if (area.type === TPM_ALG_RSA) return `RSA-${area.parameters.keyBits}`;
  return area.type === TPM_ALG_ECC
    ? `ECC ${ECC_CURVES.get(area.parameters.curveID)?.name ?? 'unknown curve'}`
    : 'unknown';
}
