import { createHash, createPublicKey } from 'node:crypto';
import type { KeyObject, PublicKeyInput } from 'node:crypto';
import { CodecError } from '../../tpm/codec/codec-error.ts';
import { findAttributeFaults, findHashFaults, findKeyFaults } from '../../tpm/crypto/ak-rules.ts';
import type { AkFault } from '../../tpm/crypto/ak-rules.ts';
import { TpmCryptoError } from '../../tpm/crypto/crypto-error.ts';
import { publicKeyOf } from '../../tpm/crypto/public-key.ts';
import {
  ECC_CURVES,
  TPM_ALG_ECC,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_RSA,
  TPM_ALG_SYMCIPHER,
  algorithmName,
} from '../../tpm/structures/constants.ts';
import { decodePublicArea, decodeSizedPublicArea } from '../../tpm/structures/public-area.ts';
import type { PublicArea } from '../../tpm/structures/public-area.ts';
import { UsageError } from '../failure.ts';
import { decodeLogFile } from './eventlog-input.ts';
import { offlineFinding } from './offline-finding.ts';
import type { OfflineFinding } from './offline-finding.ts';
import type { NamedFile } from './trust-anchors.ts';

/** A key that is said to have signed a quote. */
export interface OfflineAk {
  readonly form: 'tpm2b-public' | 'tpmt-public' | 'pem' | 'der';
  /** Undefined where the key came without it. */
  readonly publicArea: PublicArea | undefined;
  readonly key: KeyObject;
  /** SHA-256 of the SubjectPublicKeyInfo, hexadecimal. */
  readonly sha256: string;
  /** What speaks against such a key as an attestation key. */
  readonly findings: readonly OfflineFinding[];
}

const OBJECT_TYPES: readonly number[] = [TPM_ALG_RSA, TPM_ALG_ECC, TPM_ALG_KEYEDHASH, TPM_ALG_SYMCIPHER];

/**
 * Reads TPM2B_PUBLIC, TPMT_PUBLIC, PEM (a key or its certificate) or a SubjectPublicKeyInfo, each also in base64.
 * @throws UsageError for what is none of these
 */
export function readAk({ name, bytes }: NamedFile): OfflineAk {
  try {
    const { form, publicArea, key } = decodeAk(bytes);
    const spki = key.export({ type: 'spki', format: 'der' });
    const sha256 = createHash('sha256').update(spki).digest('hex');
    return {
      form,
      publicArea,
      key,
      sha256,
      findings: [...checkAttributes(publicArea), ...findKeyFaults(key).map(akFinding)],
    };
  } catch (cause) {
    if (cause instanceof CodecError || cause instanceof TpmCryptoError) {
      throw new UsageError(`${name}: no attestation key: ${cause.message}`, { cause });
    }
    throw cause;
  }
}

function decodeAk(file: Buffer): Pick<OfflineAk, 'form' | 'publicArea' | 'key'> {
  if (file.includes('-----BEGIN ')) return { form: 'pem', publicArea: undefined, key: importKey(file) };
  const bytes = decodeLogFile(file);
  if (bytes.length > 2 && bytes.readUInt16BE(0) === bytes.length - 2) {
    const publicArea = decodeSizedPublicArea(bytes);
    return { form: 'tpm2b-public', publicArea, key: publicKeyOf(publicArea) };
  }
  if (bytes.length > 2 && OBJECT_TYPES.includes(bytes.readUInt16BE(0))) {
    const publicArea = decodePublicArea(bytes);
    return { form: 'tpmt-public', publicArea, key: publicKeyOf(publicArea) };
  }
  return { form: 'der', publicArea: undefined, key: importKey({ key: bytes, format: 'der', type: 'spki' }) };
}

function checkAttributes(publicArea: PublicArea | undefined): readonly OfflineFinding[] {
  if (publicArea === undefined) {
    const message = 'a bare key does not say that it is restricted: it may sign anything that somebody gives it';
    return [offlineFinding('AK_ATTRIBUTES_UNKNOWN', 'warning', message)];
  }
  return [
    ...findAttributeFaults(publicArea.objectAttributes),
    ...findHashFaults(publicArea.nameAlg, 'is named by'),
  ].map(akFinding);
}

/** The rules and codes are those of the service. */
export function akFinding({ code, message }: AkFault): OfflineFinding {
  return offlineFinding(code, 'error', message);
}

/** For a person: `ecc P-256`, `rsa 2048 bits`. */
export function describeAk({ publicArea, key }: OfflineAk): string {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  const type = publicArea === undefined ? String(key.asymmetricKeyType) : algorithmName(publicArea.type);
  const curve = [...ECC_CURVES.values()].find(({ node }) => node === namedCurve)?.name ?? namedCurve;
  return curve === undefined ? `${type} ${modulusLength ?? '?'} bits` : `${type} ${curve}`;
}

/** node:crypto has many errors for bytes that are no key. */
function importKey(bytes: Buffer | PublicKeyInput): KeyObject {
  try {
    return createPublicKey(bytes);
  } catch (cause) {
    throw new TpmCryptoError('INVALID_KEY', 'the bytes are no public key', { cause });
  }
}
