import { CodecError } from '../../tpm/codec/codec-error.ts';
import { findAttributeFaults, findHashFaults, findKeyFaults } from '../../tpm/crypto/ak-rules.ts';
import type { AkFault } from '../../tpm/crypto/ak-rules.ts';
import { TpmCryptoError } from '../../tpm/crypto/crypto-error.ts';
import { signingKeyOf } from '../../tpm/crypto/verify-signature.ts';
import { TPM_ALG_ECC, TPM_ALG_NULL, TPM_ALG_RSA, algorithmName } from '../../tpm/structures/constants.ts';
import { decodePublicArea } from '../../tpm/structures/public-area.ts';
import type { PublicArea } from '../../tpm/structures/public-area.ts';
import { EnrollmentError } from './enrollment-error.ts';

/**
 * What an AK must be: a restricted signing key that the TPM itself generated and never lets go, with an explicit, strong scheme
 * (TPM 2.0 Part 1 §25, Part 2 §8.3.3). Throws {@link EnrollmentError}.
 */
export function checkAk(raw: Buffer): PublicArea {
  const ak = decodeAk(raw);
  refuse(findAttributeFaults(ak.objectAttributes));
  checkScheme(ak);
  checkStrength(ak);
  return ak;
}

function decodeAk(raw: Buffer): PublicArea {
  try {
    return decodePublicArea(raw);
  } catch (cause) {
    if (!(cause instanceof CodecError)) throw cause;
    throw new EnrollmentError('AK_MALFORMED', `ak public area: ${cause.message}`, { cause });
  }
}

function checkScheme(ak: PublicArea): void {
  if (ak.type !== TPM_ALG_RSA && ak.type !== TPM_ALG_ECC) {
    throw new EnrollmentError(
      'AK_SCHEME_UNSUPPORTED',
      `ak of type ${algorithmName(ak.type)} signs no quote that is verified here`,
    );
  }
  const { scheme } = ak.parameters;
  if (scheme.scheme === TPM_ALG_NULL) throw new EnrollmentError('AK_SCHEME_NULL', 'ak has no scheme of its own');
  refuse(findHashFaults(ak.nameAlg, 'is named by'));
  refuse(findHashFaults('hashAlg' in scheme ? scheme.hashAlg : TPM_ALG_NULL, 'signs with'));
}

function checkStrength(ak: PublicArea): void {
  try {
    refuse(findKeyFaults(signingKeyOf(ak).key));
  } catch (cause) {
    if (!(cause instanceof TpmCryptoError)) throw cause;
    const code = cause.code === 'UNSUITABLE_KEY' ? 'AK_SCHEME_UNSUPPORTED' : 'AK_KEY_WEAK';
    throw new EnrollmentError(code, `ak: ${cause.message}`, { cause });
  }
}

function refuse([fault]: readonly AkFault[]): void {
  if (fault !== undefined) throw new EnrollmentError(fault.code, `ak: ${fault.message}`);
}
