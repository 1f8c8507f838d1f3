import { createHash } from 'node:crypto';

import { EndorsementError } from './endorsement-error.ts';
import { parseSubjectKey } from './subject-key.ts';

/**
 * EK fingerprint: SHA-256 of the EK's SubjectPublicKeyInfo in its canonical encoding, in hexadecimal. It is the same
 * whether the key comes from a public area or out of a certificate. Throws {@link EndorsementError}.
 */
export function ekFingerprint(spki: Uint8Array): string {
  const key = parseSubjectKey(Buffer.from(spki.buffer, spki.byteOffset, spki.length));
  if (key.kind === 'unusable') throw new EndorsementError('unsupported', `EK is not usable: ${key.detail}`);
  return createHash('sha256').update(key.spki).digest('hex');
}
