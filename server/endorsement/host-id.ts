import { formatHostId } from '../../proto/certificate-profile.ts';
import { ekFingerprint } from '../../tpm/endorsement/ek-fingerprint.ts';

/** Host id: `h-` and the first 26 base32 characters of the EK fingerprint. Throws `EndorsementError`. */
export function hostIdOf(spki: Uint8Array): string {
  return formatHostId(Buffer.from(ekFingerprint(spki), 'hex'));
}
