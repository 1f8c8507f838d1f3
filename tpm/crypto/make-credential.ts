/** TPM2_MakeCredential (Part 1 §24, Part 3 §12.6) in software: no TPM takes part. */
import { encode } from '../codec/structure.ts';
import { TPM2B_DIGEST } from '../structures/buffers.ts';
import { TPM2B_ENCRYPTED_SECRET, TPM2B_ID_OBJECT } from '../structures/credential.ts';
import { hasAttribute } from '../structures/object-attributes.ts';
import type { TPMT_PUBLIC } from '../structures/public-area.ts';
import { TpmCryptoError } from './crypto-error.ts';
import { IDENTITY_LABEL, credentialProtection } from './credential-protection.ts';
import { digestSize } from './digest.ts';
import type { Random } from './oaep.ts';
import { shareSeed, shareSeedAsync } from './share-seed.ts';
import type { SharedSeed } from './share-seed.ts';

/** What TPM2_ActivateCredential takes. */
export interface Credential {
  /** TPM2B_ID_OBJECT, with its size. */
  readonly credentialBlob: Buffer;
  /** TPM2B_ENCRYPTED_SECRET, with its size. */
  readonly encryptedSecret: Buffer;
}

/** Whom a credential is for: only the TPM that holds `ek` opens it, and only while it holds an object of that Name. */
export interface CredentialSubject {
  readonly ek: TPMT_PUBLIC;
  /** Must have been computed from the received public area: the proof is about this Name. */
  readonly akName: Buffer;
}

export interface MakeCredentialOptions {
  readonly random: Random;
  /** The ephemeral private key for an ECC EK, fixed for published vectors. Else drawn from `random`. */
  readonly ephemeralPrivateKey?: Buffer;
}

/**
 * Seals `secret`, at most as long as a digest of the EK's nameAlg, for the subject. Every hash is the EK's nameAlg and the cipher
 * is that of the EK's public area.
 */
export function makeCredential(subject: CredentialSubject, secret: Buffer, options: MakeCredentialOptions): Credential {
  checkSubject(subject, secret);
  return sealed(subject, secret, shareSeed(subject.ek, { label: IDENTITY_LABEL, ...options }));
}

/** As {@link makeCredential}, with the costly part for ECC EKs off the event loop; its ephemeral key is node's own. */
export async function makeCredentialAsync(
  subject: CredentialSubject,
  secret: Buffer,
  options: Pick<MakeCredentialOptions, 'random'>,
): Promise<Credential> {
  checkSubject(subject, secret);
  return sealed(subject, secret, await shareSeedAsync(subject.ek, { label: IDENTITY_LABEL, ...options }));
}

/** Part 3 §12.6: the handle must be a storage key, the credential no larger than a digest of its nameAlg. */
function checkSubject({ ek }: CredentialSubject, secret: Buffer): void {
  if (!hasAttribute(ek.objectAttributes, 'restricted') || !hasAttribute(ek.objectAttributes, 'decrypt')) {
    throw new TpmCryptoError('UNSUITABLE_KEY', 'ek is no restricted decryption key');
  }
  if (secret.length === 0 || secret.length > digestSize(ek.nameAlg)) {
    throw new TpmCryptoError('SECRET_SIZE', `secret must have 1 to ${digestSize(ek.nameAlg)} bytes`);
  }
}

function sealed({ ek, akName }: CredentialSubject, secret: Buffer, shared: SharedSeed): Credential {
  const protection = credentialProtection(ek, shared.seed, akName);
  const encIdentity = protection.encrypt(encode(TPM2B_DIGEST, secret));
  const integrityHMAC = protection.integrity(encIdentity, akName);
  return {
    credentialBlob: encode(TPM2B_ID_OBJECT, { integrityHMAC, encIdentity }),
    encryptedSecret: encode(TPM2B_ENCRYPTED_SECRET, shared.secret),
  };
}
