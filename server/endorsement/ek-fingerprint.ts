import { createHash } from 'node:crypto';

import { formatHostId } from '../../proto/certificate-profile.ts';
import { EndorsementError } from './endorsement-error.ts';
import { parseSubjectKey } from './subject-key.ts';

/**
 * EK fingerprint: SHA-256 of the EK's SubjectPublicKeyInfo in its canonical encoding, in hexadecimal. It is the same
 * whether the key comes from a public area or out of a certificate. Throws {@link EndorsementError}.
 */
export function ekFingerprint(spki: Uint8Array): string {
  return digest(spki).toString('hex');
}

/** Host id: `h-` and the first 26 base32 characters of the EK fingerprint. Throws {@link EndorsementError}. */
export function hostIdOf(spki: Uint8Array): string {
  return formatHostId(digest(spki));
}

function digest(spki: Uint8Array): Buffer {
  const key = parseSubjectKey(Buffer.from(spki.buffer, spki.byteOffset, spki.length));
  if (key.kind === 'unusable') throw new EndorsementError('unsupported', `EK is not usable: ${key.detail}`);
  return createHash('sha256').update(key.spki).digest();
}
