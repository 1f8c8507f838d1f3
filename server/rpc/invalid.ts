import { StatusError } from '../../proto/status.ts';

/** A field that is not as it must be: INVALID_ARGUMENT with the path of the field. */
export function invalid(field: string, description: string): StatusError {
  return new StatusError({
    code: 'INVALID_ARGUMENT',
    reason: 'INVALID_FIELD',
    message: `${field}: ${description}`,
    fieldViolations: [{ field, description }],
  });
}

/** A message field that must be there. */
export function required<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw invalid(field, 'is required');
  return value;
}

/** Bytes of a bounded field. */
export function bytes(
  value: Uint8Array,
  field: string,
  limits: { readonly max: number; readonly min?: number },
): Buffer {
  const { min = 0, max } = limits;
  if (value.length < min)
    throw invalid(field, min === 1 ? 'is required' : `has ${value.length} bytes, at least ${min} are asked for`);
  if (value.length > max) throw invalid(field, `has ${value.length} bytes, at most ${max} are taken`);
  return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.length);
}

/** Text of a bounded field, in bytes of UTF-8. */
export function text(value: string, field: string, max: number): string {
  const size = Buffer.byteLength(value);
  if (size > max) throw invalid(field, `has ${size} bytes, at most ${max} are taken`);
  return value;
}

/** The id of a resource name such as `hosts/{host}`. */
export function idOf(
  name: string,
  options: { readonly collection: string; readonly field: string; readonly isId: (id: string) => boolean },
): string {
  const { collection, field, isId } = options;
  if (name === '') throw invalid(field, 'is required');
  const [head, id, ...rest] = name.split('/');
  if (head !== collection || id === undefined || rest.length > 0 || !isId(id)) {
    throw invalid(field, `is not a resource name of the form ${collection}/ID`);
  }
  return id;
}

/** A 64-bit field that must be a safe integer here. */
export function safeInteger(value: bigint, field: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid(field, 'is too large');
  return Number(value);
}
