import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';

import { microsPerCall } from './measure.ts';

/** Bytes of a TPMS_ATTEST of a quote. */
const QUOTE_BYTES = 145;

/**
 * CPU of one verification of an ECDSA P-256 signature (DER, SHA-256 over a quote, key imported once) in this process and now,
 * microseconds: the unit in which a round is counted. Nobody who verifies quotes does less.
 */
export function p256VerificationMicros({ rounds = 5, count = 2_000 } = {}): number {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const message = randomBytes(QUOTE_BYTES);
  const signature = sign('sha256', message, privateKey);
  return microsPerCall(() => void verify('sha256', message, publicKey, signature), { rounds, count });
}
