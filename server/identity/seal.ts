import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';

/**
 * Sealing by AES-256-GCM (NIST SP 800-38D) under keys derived by HKDF-SHA-256 (RFC 5869) from a versioned master.
 * It seals private keys at rest and the stateless tokens of the enrolment. A token's expiry is inside the plaintext:
 * whoever opens it checks that.
 *
 * Token: format (1 byte, 0x01) ‖ master version (4 bytes, big-endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16).
 */

const FORMAT = 0x01;
const HEADER_BYTES = 5;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const MAX_VERSION = 0xffff_ffff;
const MAX_FIELD_BYTES = 1024;
/** Largest plaintext that is sealed, in bytes. */
export const MAX_SEALED_PLAINTEXT = 256 * 1024;

export type SealErrorCode = 'malformed' | 'too_large' | 'unknown_version' | 'not_authentic';

/** A token does not open, or cannot be made. The message never tells which part of a token was wrong. */
export class SealError extends Error {
  override readonly name = 'SealError';
  readonly code: SealErrorCode;

  constructor(code: SealErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A master secret of exactly 32 bytes. Versions start at 1 and grow with each rotation. */
export interface SealingMaster {
  readonly version: number;
  readonly secret: Uint8Array;
}

/** What a derived key is for. Two purposes, or two contexts of one purpose, never share a key. */
export interface KeyUse {
  /** ASCII label, such as `private key` or `enrollment token`. */
  readonly purpose: string;
  /** What sets this key apart within the purpose, such as a row's name or the enrolment id. */
  readonly context: string | Uint8Array;
}

/** A key for one purpose and context; made by {@link deriveKey} only. */
export interface SealingKey {
  readonly version: number;
  readonly purpose: string;
  readonly key: Buffer;
}

export function deriveKey(master: SealingMaster, use: KeyUse): SealingKey {
  checkMaster(master);
  const info = concatenate(['assay.v1 seal', use.purpose, use.context]);
  const key = Buffer.from(hkdfSync('sha256', master.secret, Buffer.alloc(0), info, KEY_BYTES));
  return { version: master.version, purpose: use.purpose, key };
}

export interface SealInput {
  readonly plaintext: Uint8Array;
  /** What the token is bound to beside its key; must be given again to open it. */
  readonly associatedData: Uint8Array;
  /** Returns that many random bytes. */
  readonly random: (size: number) => Uint8Array;
}

/** Seals; answers the token. Throws {@link SealError} `too_large`. */
export function seal(key: SealingKey, input: SealInput): Buffer {
  if (input.plaintext.length > MAX_SEALED_PLAINTEXT) throw new SealError('too_large', 'plaintext is too large to seal');
  const nonce = Buffer.from(input.random(NONCE_BYTES));
  if (nonce.length !== NONCE_BYTES) throw new TypeError('the random source gave another length');
  const header = encodeHeader(key.version);
  const cipher = createCipheriv('aes-256-gcm', key.key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(bind(key, header, input.associatedData));
  const ciphertext = Buffer.concat([cipher.update(input.plaintext), cipher.final()]);
  return Buffer.concat([header, nonce, ciphertext, cipher.getAuthTag()]);
}

/** Opens a token of this very key. Throws {@link SealError}. */
export function open(key: SealingKey, token: Uint8Array, options: { readonly associatedData: Uint8Array }): Buffer {
  if (sealedVersion(token) !== key.version) throw new SealError('unknown_version', 'token is of another key version');
  const bytes = Buffer.from(token.buffer, token.byteOffset, token.length);
  const body = bytes.length - TAG_BYTES;
  const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key.key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(bind(key, bytes.subarray(0, HEADER_BYTES), options.associatedData));
  decipher.setAuthTag(bytes.subarray(body));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(HEADER_BYTES + NONCE_BYTES, body)), decipher.final()]);
  } catch (cause) {
    throw new SealError('not_authentic', 'token is not authentic', { cause });
  }
}

/** Opens a token with whichever of the masters sealed it, so that a rotation overlaps. Throws {@link SealError}. */
export function openWithMasters(
  masters: readonly SealingMaster[],
  token: Uint8Array,
  options: KeyUse & { readonly associatedData: Uint8Array },
): Buffer {
  const version = sealedVersion(token);
  const master = masters.find((candidate) => candidate.version === version);
  if (master === undefined) throw new SealError('unknown_version', 'token is of an unknown key version');
  return open(deriveKey(master, options), token, options);
}

/** The version of the master that a token names; not yet authentic. Throws {@link SealError}. */
export function sealedVersion(token: Uint8Array): number {
  const overhead = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;
  if (token.length > MAX_SEALED_PLAINTEXT + overhead) throw new SealError('too_large', 'token is too large');
  if (token.length < overhead || token[0] !== FORMAT) throw new SealError('malformed', 'not a sealed token');
  return Buffer.from(token.buffer, token.byteOffset, HEADER_BYTES).readUInt32BE(1);
}

function encodeHeader(version: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(FORMAT, 0);
  header.writeUInt32BE(version, 1);
  return header;
}

function bind(key: SealingKey, header: Uint8Array, associatedData: Uint8Array): Buffer {
  return concatenate(['assay.v1 sealed', key.purpose, header, associatedData], MAX_SEALED_PLAINTEXT);
}

/** Length-prefixed fields, so that no two lists of fields give the same bytes. */
function concatenate(fields: readonly (string | Uint8Array)[], maximum = MAX_FIELD_BYTES): Buffer {
  return Buffer.concat(
    fields.flatMap((field) => {
      const bytes = typeof field === 'string' ? Buffer.from(field, 'utf8') : field;
      if (bytes.length > maximum) throw new SealError('too_large', 'a field of the sealing is too large');
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}

function checkMaster(master: SealingMaster): void {
  if (master.secret.length !== KEY_BYTES) throw new TypeError('a master secret has 32 bytes');
  if (!Number.isInteger(master.version) || master.version < 1 || master.version > MAX_VERSION) {
    throw new TypeError('a master version is a positive 32-bit integer');
  }
}
