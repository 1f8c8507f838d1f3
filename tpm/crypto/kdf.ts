/** The key derivation functions of TPM 2.0 (Part 1 §11.4.10). */
import { digest, digestSize, hmac } from './digest.ts';

/** What a derived key is bound to, besides its label. */
export interface KdfContext {
  readonly contextU?: Uint8Array;
  readonly contextV?: Uint8Array;
}

const NONE = Buffer.alloc(0);

/**
 * KDFa (§11.4.10.2): SP 800-108 counter mode with HMAC.
 * `label` is ASCII without its NUL, `bits` the length of the result, which is ceil(bits / 8) bytes.
 */
export function kdfa(hashAlg: number, key: Uint8Array, label: string, bits: number, context: KdfContext = {}): Buffer {
  checkBits(bits);
  const fixed = [terminated(label), context.contextU ?? NONE, context.contextV ?? NONE, uint32(bits)];
  return expand(hashAlg, bits, (counter) => hmac(hashAlg, key, counter, ...fixed));
}

/** KDFe (§11.4.10.3): SP 800-56A concatenation over an ECDH shared coordinate `z`, padded to the curve's size. */
export function kdfe(hashAlg: number, z: Uint8Array, label: string, bits: number, context: KdfContext = {}): Buffer {
  checkBits(bits);
  const fixed = [z, terminated(label), context.contextU ?? NONE, context.contextV ?? NONE];
  return expand(hashAlg, bits, (counter) => digest(hashAlg, counter, ...fixed));
}

/** No key of a TPM is longer than 65535 bits; 0 yields no bytes. */
function checkBits(bits: number): void {
  if (!Number.isInteger(bits) || bits < 0 || bits > 0xffff) {
    throw new TypeError('bits must be an integer from 0 to 65535');
  }
}

function expand(hashAlg: number, bits: number, block: (counter: Buffer) => Buffer): Buffer {
  const bytes = Math.ceil(bits / 8);
  const blocks: Buffer[] = [];
  for (let counter = 1; (counter - 1) * digestSize(hashAlg) < bytes; counter++) {
    blocks.push(block(uint32(counter)));
  }
  const result = Buffer.concat(blocks).subarray(0, bytes);
  // §11.4.10.2: a length that is no multiple of 8 leaves the unused bits at the most significant end, as zeros.
  if (bits % 8 !== 0) {
    result.writeUInt8(result.readUInt8(0) & ((1 << (bits % 8)) - 1), 0);
  }
  return result;
}

function terminated(label: string): Buffer {
  return Buffer.from(`${label}\0`, 'latin1');
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
