/** TPM2_ActivateCredential (Part 3 §12.5) in software: what only the holder of the EK's private key can do. */
import { constants, createECDH, privateDecrypt } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { decode } from '../../tpm/codec/structure.ts';
import { credentialProtection } from '../../tpm/crypto/credential-protection.ts';
import { TpmCryptoError } from '../../tpm/crypto/crypto-error.ts';
import { digestSize, equalDigests, hashAlgorithm } from '../../tpm/crypto/digest.ts';
import { kdfe } from '../../tpm/crypto/kdf.ts';
import type { Credential } from '../../tpm/crypto/make-credential.ts';
import { curveOf, paddedCoordinate } from '../../tpm/crypto/public-key.ts';
import { TPM2B_DIGEST, TPMS_ECC_POINT } from '../../tpm/structures/buffers.ts';
import { TPM_ALG_ECC, TPM_ALG_RSA } from '../../tpm/structures/constants.ts';
import { TPM2B_ENCRYPTED_SECRET, TPM2B_ID_OBJECT } from '../../tpm/structures/credential.ts';
import type { EccPublic } from '../../tpm/structures/public-area.ts';
import type { SoftwareKey } from './tpm-keys.ts';

/** The secret of a credential that was made for `ek` and an object of Name `akName`; refuses all else. */
export function openCredential(ek: SoftwareKey, akName: Buffer, credential: Credential): Buffer {
  const seed = openSeed(ek, 'IDENTITY', decode(TPM2B_ENCRYPTED_SECRET, credential.encryptedSecret));
  const { integrityHMAC, encIdentity } = decode(TPM2B_ID_OBJECT, credential.credentialBlob);
  const protection = credentialProtection(ek.publicArea, seed, akName);
  if (!equalDigests(protection.integrity(encIdentity, akName), integrityHMAC)) {
    throw new TpmCryptoError('CREDENTIAL_INTEGRITY', 'credential is not for this key and this name');
  }
  return decode(TPM2B_DIGEST, protection.decrypt(encIdentity));
}

/** The seed that was shared under `label` (without NUL) with an RSA or ECC key. */
export function openSeed({ publicArea, privateKey }: SoftwareKey, label: string, secret: Buffer): Buffer {
  switch (publicArea.type) {
    case TPM_ALG_RSA:
      return privateDecrypt(
        {
          key: privateKey,
          padding: constants.RSA_PKCS1_OAEP_PADDING,
          oaepHash: hashAlgorithm(publicArea.nameAlg).node,
          oaepLabel: Buffer.from(`${label}\0`),
        },
        secret,
      );
    case TPM_ALG_ECC:
      return openEcdh(publicArea, privateKey, { label, secret });
    default:
      throw new TypeError('no asymmetric key');
  }
}

function openEcdh(
  publicArea: EccPublic,
  privateKey: KeyObject,
  { label, secret }: { readonly label: string; readonly secret: Buffer },
): Buffer {
  const curve = curveOf(publicArea);
  const point = decode(TPMS_ECC_POINT, secret);
  const x = paddedCoordinate(point.x, curve);
  const ecdh = createECDH(curve.node);
  ecdh.setPrivateKey(Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url'));
  const z = ecdh.computeSecret(Buffer.concat([Buffer.from([4]), x, paddedCoordinate(point.y, curve)]));
  return kdfe(publicArea.nameAlg, z, label, digestSize(publicArea.nameAlg) * 8, {
    contextU: x,
    contextV: paddedCoordinate(publicArea.unique.x, curve),
  });
}
