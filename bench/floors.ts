import { generateKeyPairSync, hash, randomBytes, sign, verify } from 'node:crypto';

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

/**
 * What must be hashed of a list of run-time measurements and nothing else: of each entry the template data with SHA-1 (the hash that
 * the list claims) and with SHA-256, and the extended value with SHA-256. Returns the value of PCR 10 in the sha256 bank.
 */
export function bareHashing(data: readonly Buffer[]): Buffer {
  const state = Buffer.alloc(64);
  for (const each of data) {
    hash('sha1', each, 'binary');
    state.write(hash('sha256', each, 'binary'), 32, 'latin1');
    state.write(hash('sha256', state, 'binary'), 0, 'latin1');
  }
  return state.subarray(0, 32);
}
