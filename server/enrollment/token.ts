import { deriveKey, openWithMasters, seal, SealError } from '../identity/seal.ts';
import type { SealingKey, SealingMaster } from '../identity/seal.ts';
import { EnrollmentError } from './enrollment-error.ts';

const ID_BYTES = 16;
const PURPOSE = 'enrollment token';

/** The state of an enrolment between its two calls. The service keeps none of it: the agent carries it, sealed. */
export interface EnrollmentState {
  readonly enrollmentId: Buffer;
  readonly nonce: Buffer;
  readonly transcript: Buffer;
  readonly secrets: readonly Buffer[];
  readonly tlsKeySha256: Buffer;
  readonly expireMillis: number;
  readonly akPublicArea: Buffer;
  readonly parentIndex: number;
  readonly eks: readonly {
    readonly publicArea: Buffer;
    readonly certificate: Buffer;
    readonly chain: readonly Buffer[];
  }[];
}

/** Token: the enrolment id (16 bytes) in clear, which chooses the key, then the sealed state. */
export function sealState(state: EnrollmentState, master: SealingMaster, random: (size: number) => Uint8Array): Buffer {
  const plaintext = Buffer.from(JSON.stringify(state, (_key, value: unknown) => jsonOf(value)));
  const key = keyOf(master, state.enrollmentId);
  const sealed = seal(key, { plaintext, associatedData: associatedData(state.enrollmentId), random });
  return Buffer.concat([state.enrollmentId, sealed]);
}

/** Throws {@link EnrollmentError} ENROLLMENT_TOKEN_INVALID for whatever the service did not seal. */
export function openState(token: Buffer, masters: readonly SealingMaster[]): EnrollmentState {
  try {
    const enrollmentId = token.subarray(0, ID_BYTES);
    const sealed = token.subarray(ID_BYTES);
    const use = { purpose: PURPOSE, context: enrollmentId, associatedData: associatedData(enrollmentId) };
    const plaintext = openWithMasters(masters, sealed, use);
    return JSON.parse(plaintext.toString('utf8'), (_key, value: unknown) => bytesOf(value)) as EnrollmentState;
  } catch (cause) {
    if (!(cause instanceof SealError)) throw cause;
    throw new EnrollmentError('ENROLLMENT_TOKEN_INVALID', 'the token is not one of this service', { cause });
  }
}

function keyOf(master: SealingMaster, enrollmentId: Buffer): SealingKey {
  return deriveKey(master, { purpose: PURPOSE, context: enrollmentId });
}

function associatedData(enrollmentId: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${PURPOSE}\0`), enrollmentId]);
}

/** JSON.stringify hands a Buffer over in the form of its toJSON; it travels as base64. */
function jsonOf(value: unknown): unknown {
  return isBufferJson(value) ? { $b: Buffer.from(value.data).toString('base64') } : value;
}

function bytesOf(value: unknown): unknown {
  const boxed = value as { readonly $b?: unknown } | null;
  return typeof boxed === 'object' && boxed !== null && typeof boxed.$b === 'string'
    ? Buffer.from(boxed.$b, 'base64')
    : value;
}

function isBufferJson(value: unknown): value is { readonly type: 'Buffer'; readonly data: readonly number[] } {
  return (
    typeof value === 'object' &&
    value !== null &&
    (value as { readonly type?: unknown }).type === 'Buffer' &&
    'data' in value
  );
}
