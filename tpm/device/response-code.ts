/**
 * Response codes of the TPM and of tpm2-tss, taken apart (TPM 2.0 Part 2 §6.6; TSS 2.0 Overview §3.3).
 *
 * A TSS2_RC is 32 bits: bits 16 to 23 name the layer that answered, the low 16 bits are that layer's code. The
 * kernel's and tabrmd's resource managers pass the TPM's codes on under a layer of their own.
 */

export type ResponseLayer = 'tpm' | 'fapi' | 'esys' | 'sys' | 'mu' | 'tcti' | 'resmgr' | 'resmgr-tpm' | 'unknown';

/** What a format-one code is about: the n-th handle, parameter or session of the command, counted from 1. */
export interface ResponseSubject {
  readonly kind: 'handle' | 'parameter' | 'session';
  readonly index: number;
}

export interface ResponseCode {
  /** The code as it was returned. */
  readonly value: number;
  readonly layer: ResponseLayer;
  /** The name without prefix, such as `RETRY` or `IO_ERROR`; `0x…` for a code that no table knows. */
  readonly name: string;
  readonly subject?: ResponseSubject;
}

const LAYERS: ReadonlyMap<number, ResponseLayer> = new Map([
  [0, 'tpm'],
  [6, 'fapi'],
  [7, 'esys'],
  [8, 'sys'],
  [9, 'mu'],
  [10, 'tcti'],
  [11, 'resmgr'],
  [12, 'resmgr-tpm'],
]);

/** RC_VER1: format-zero errors, by bits 0 to 6 (Part 2 §6.6.3, table 16). */
const FORMAT_ZERO_ERRORS: ReadonlyMap<number, string> = new Map([
  [0x00, 'INITIALIZE'],
  [0x01, 'FAILURE'],
  [0x03, 'SEQUENCE'],
  [0x0b, 'PRIVATE'],
  [0x19, 'HMAC'],
  [0x20, 'DISABLED'],
  [0x21, 'EXCLUSIVE'],
  [0x24, 'AUTH_TYPE'],
  [0x25, 'AUTH_MISSING'],
  [0x26, 'POLICY'],
  [0x27, 'PCR'],
  [0x28, 'PCR_CHANGED'],
  [0x2d, 'UPGRADE'],
  [0x2e, 'TOO_MANY_CONTEXTS'],
  [0x2f, 'AUTH_UNAVAILABLE'],
  [0x30, 'REBOOT'],
  [0x31, 'UNBALANCED'],
  [0x42, 'COMMAND_SIZE'],
  [0x43, 'COMMAND_CODE'],
  [0x44, 'AUTHSIZE'],
  [0x45, 'AUTH_CONTEXT'],
  [0x46, 'NV_RANGE'],
  [0x47, 'NV_SIZE'],
  [0x48, 'NV_LOCKED'],
  [0x49, 'NV_AUTHORIZATION'],
  [0x4a, 'NV_UNINITIALIZED'],
  [0x4b, 'NV_SPACE'],
  [0x4c, 'NV_DEFINED'],
  [0x50, 'BAD_CONTEXT'],
  [0x51, 'CPHASH'],
  [0x52, 'PARENT'],
  [0x53, 'NEEDS_TEST'],
  [0x54, 'NO_RESULT'],
  [0x55, 'SENSITIVE'],
]);

/** RC_FMT1: format-one errors, by bits 0 to 5 (Part 2 §6.6.3, table 16). */
const FORMAT_ONE_ERRORS: ReadonlyMap<number, string> = new Map([
  [0x01, 'ASYMMETRIC'],
  [0x02, 'ATTRIBUTES'],
  [0x03, 'HASH'],
  [0x04, 'VALUE'],
  [0x05, 'HIERARCHY'],
  [0x07, 'KEY_SIZE'],
  [0x08, 'MGF'],
  [0x09, 'MODE'],
  [0x0a, 'TYPE'],
  [0x0b, 'HANDLE'],
  [0x0c, 'KDF'],
  [0x0d, 'RANGE'],
  [0x0e, 'AUTH_FAIL'],
  [0x0f, 'NONCE'],
  [0x10, 'PP'],
  [0x12, 'SCHEME'],
  [0x15, 'SIZE'],
  [0x16, 'SYMMETRIC'],
  [0x17, 'TAG'],
  [0x18, 'SELECTOR'],
  [0x1a, 'INSUFFICIENT'],
  [0x1b, 'SIGNATURE'],
  [0x1c, 'KEY'],
  [0x1d, 'POLICY_FAIL'],
  [0x1f, 'INTEGRITY'],
  [0x20, 'TICKET'],
  [0x21, 'RESERVED_BITS'],
  [0x22, 'BAD_AUTH'],
  [0x23, 'EXPIRED'],
  [0x24, 'POLICY_CC'],
  [0x25, 'BINDING'],
  [0x26, 'CURVE'],
  [0x27, 'ECC_POINT'],
]);

/** RC_WARN: warnings, by bits 0 to 6 (Part 2 §6.6.3, table 16). */
const WARNINGS: ReadonlyMap<number, string> = new Map([
  [0x01, 'CONTEXT_GAP'],
  [0x02, 'OBJECT_MEMORY'],
  [0x03, 'SESSION_MEMORY'],
  [0x04, 'MEMORY'],
  [0x05, 'SESSION_HANDLES'],
  [0x06, 'OBJECT_HANDLES'],
  [0x07, 'LOCALITY'],
  [0x08, 'YIELDED'],
  [0x09, 'CANCELED'],
  [0x0a, 'TESTING'],
  ...Array.from({ length: 7 }, (_, index): [number, string] => [0x10 + index, `REFERENCE_H${index}`]),
  ...Array.from({ length: 7 }, (_, index): [number, string] => [0x18 + index, `REFERENCE_S${index}`]),
  [0x20, 'NV_RATE'],
  [0x21, 'LOCKOUT'],
  [0x22, 'RETRY'],
  [0x23, 'NV_UNAVAILABLE'],
]);

/** TSS2_BASE_RC: what every software layer may answer (TSS 2.0 Overview §3.3.1), from 1. */
const BASE_ERRORS: readonly string[] = [
  'GENERAL_FAILURE',
  'NOT_IMPLEMENTED',
  'BAD_CONTEXT',
  'ABI_MISMATCH',
  'BAD_REFERENCE',
  'INSUFFICIENT_BUFFER',
  'BAD_SEQUENCE',
  'NO_CONNECTION',
  'TRY_AGAIN',
  'IO_ERROR',
  'BAD_VALUE',
  'NOT_PERMITTED',
  'INVALID_SESSIONS',
  'NO_DECRYPT_PARAM',
  'NO_ENCRYPT_PARAM',
  'BAD_SIZE',
  'MALFORMED_RESPONSE',
  'INSUFFICIENT_CONTEXT',
  'INSUFFICIENT_RESPONSE',
  'INCOMPATIBLE_TCTI',
  'NOT_SUPPORTED',
  'BAD_TCTI_STRUCTURE',
  'MEMORY',
  'BAD_TR',
  'MULTIPLE_DECRYPT_SESSIONS',
  'MULTIPLE_ENCRYPT_SESSIONS',
  'RSP_AUTH_FAILED',
];

/** Takes a TSS2_RC apart. Total: an unknown code keeps its number as its name. */
export function decodeResponseCode(value: number): ResponseCode {
  const layer = LAYERS.get((value >>> 16) & 0xff) ?? 'unknown';
  const code = value & 0xffff;
  if (layer === 'tpm' || layer === 'resmgr' || layer === 'resmgr-tpm') {
    return { value, layer, ...decodeTpmCode(code) };
  }
  return { value, layer, name: BASE_ERRORS[code - 1] ?? hexadecimal(code) };
}

function decodeTpmCode(code: number): { readonly name: string; readonly subject?: ResponseSubject } {
  if ((code & 0x80) !== 0) {
    return { name: FORMAT_ONE_ERRORS.get(code & 0x3f) ?? hexadecimal(code), subject: decodeSubject(code) };
  }
  // Bit 10 marks a code of the vendor's own, bit 8 one of TPM 2.0 rather than 1.2 (Part 2 §6.6.2).
  if ((code & 0x400) !== 0 || (code & 0x100) === 0) {
    return { name: hexadecimal(code) };
  }
  const table = (code & 0x800) === 0 ? FORMAT_ZERO_ERRORS : WARNINGS;
  return { name: table.get(code & 0x7f) ?? hexadecimal(code) };
}

/** Format one: bit 6 set means a parameter, else bit 11 set means a session, else a handle (Part 2 §6.6.2). */
function decodeSubject(code: number): ResponseSubject {
  if ((code & 0x40) !== 0) {
    return { kind: 'parameter', index: (code >>> 8) & 0xf };
  }
  return { kind: (code & 0x800) === 0 ? 'handle' : 'session', index: (code >>> 8) & 0x7 };
}

function hexadecimal(code: number): string {
  return `0x${code.toString(16).padStart(3, '0')}`;
}

/** One line for people: `tpm BAD_AUTH (session 1)`. */
export function describeResponseCode(code: ResponseCode): string {
  const subject = code.subject === undefined ? '' : ` (${code.subject.kind} ${code.subject.index})`;
  return `${code.layer} ${code.name}${subject}`;
}
