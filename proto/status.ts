import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { anyPack, anyUnpack, durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import type { Any } from '@bufbuild/protobuf/wkt';
import { Metadata } from '@grpc/grpc-js';
import type { status as grpcStatus, StatusObject } from '@grpc/grpc-js';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from './gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from './gen/google/rpc/status_pb.ts';

/** The status codes of gRPC by name. `OK` is no error and stands in the table only to be complete. */
export const STATUS_CODES = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const satisfies Record<keyof typeof grpcStatus, number>;

export type StatusCode = Exclude<keyof typeof STATUS_CODES, 'OK'>;

/** One field of a request that is not as it must be; `field` is a path such as `trust_policy.pcr_rules[2].bank`. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface StatusFacts {
  readonly code: StatusCode;
  /** Stable and SCREAMING_SNAKE; callers branch on it. */
  readonly reason: string;
  /** For people; it reaches the caller. */
  readonly message: string;
  /** Facts of the error as text; they reach the caller. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly fieldViolations?: readonly FieldViolation[];
  /** After how long the caller may try again. */
  readonly retryAfterMillis?: number;
  /** Stays with the service: logged, never sent. */
  readonly cause?: unknown;
}

/** What a call ends with when it does not end well. All but `cause` reaches the caller. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly code: StatusCode;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fieldViolations: readonly FieldViolation[];
  readonly retryAfterMillis: number | undefined;

  constructor(facts: StatusFacts) {
    super(facts.message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = facts.code;
    this.reason = facts.reason;
    this.metadata = facts.metadata ?? {};
    this.fieldViolations = facts.fieldViolations ?? [];
    this.retryAfterMillis = facts.retryAfterMillis;
  }
}

/** What a caller can learn of an error. */
export interface StatusDetails {
  readonly code: StatusCode;
  /** Empty where the status came without details, as from a proxy or from the gRPC library. */
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fieldViolations: readonly FieldViolation[];
  readonly retryDelayMillis: number | undefined;
  readonly requestId: string;
}

export const ERROR_DOMAIN = 'assay.v1';

const DETAILS_KEY = 'grpc-status-details-bin';
// Status and details travel as HTTP/2 headers, of which peers take 8 KiB and more; base64 adds a third.
const MAX_TEXT = 512;
const MAX_VIOLATIONS = 16;
const MAX_VIOLATION_TEXT = 128;
const MAX_METADATA = 8;
const MAX_DETAILS_BYTES = 64 * 1024;

const CODE_NAMES = new Map<number, StatusCode>();
for (const [name, number] of Object.entries(STATUS_CODES)) {
  if (isStatusCode(name)) CODE_NAMES.set(number, name);
}

/** The status of an error as grpc-js sends it: code, message and google.rpc.Status in the trailer. */
export function encodeStatus(error: StatusError, requestId: string): StatusObject {
  const code = STATUS_CODES[error.code];
  const message = bounded(error.message, MAX_TEXT);
  const violations = error.fieldViolations.slice(0, MAX_VIOLATIONS).map(({ field, description }) => ({
    field: bounded(field, MAX_VIOLATION_TEXT),
    description: bounded(description, MAX_VIOLATION_TEXT),
  }));
  const facts = Object.entries(error.metadata).slice(0, MAX_METADATA);
  const metadata = Object.fromEntries(facts.map(([key, text]) => [bounded(key, 64), bounded(text, 256)]));
  const details: Any[] = [
    anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: error.reason, domain: ERROR_DOMAIN, metadata })),
    anyPack(RequestInfoSchema, create(RequestInfoSchema, { requestId })),
  ];
  if (violations.length > 0) {
    details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: violations })));
  }
  if (error.retryAfterMillis !== undefined) {
    const retryDelay = durationFromMs(Math.max(0, Math.ceil(error.retryAfterMillis)));
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })));
  }
  const trailer = new Metadata();
  trailer.set(DETAILS_KEY, Buffer.from(toBinary(StatusSchema, create(StatusSchema, { code, message, details }))));
  return { code, details: message, metadata: trailer };
}

/** Reads a status as a client of grpc-js sees it. Details that do not decode are taken as absent: the code still counts. */
export function decodeStatus(
  received: Pick<StatusObject, 'code' | 'details'> & { metadata?: Metadata },
): StatusDetails {
  const code = CODE_NAMES.get(received.code) ?? 'UNKNOWN';
  const bare: StatusDetails = {
    code,
    reason: '',
    message: received.details,
    metadata: {},
    fieldViolations: [],
    retryDelayMillis: undefined,
    requestId: '',
  };
  const [bytes] = received.metadata?.get(DETAILS_KEY) ?? [];
  if (!Buffer.isBuffer(bytes) || bytes.length > MAX_DETAILS_BYTES) return bare;
  try {
    return { ...bare, ...readDetails(fromBinary(StatusSchema, bytes).details) };
  } catch {
    return bare;
  }
}

function readDetails(details: readonly Any[]): Partial<StatusDetails> {
  let read: Partial<StatusDetails> = {};
  for (const detail of details) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    if (info?.domain === ERROR_DOMAIN) read = { ...read, reason: info.reason, metadata: info.metadata };
    const request = anyUnpack(detail, RequestInfoSchema);
    if (request) read = { ...read, requestId: request.requestId };
    const bad = anyUnpack(detail, BadRequestSchema);
    if (bad) {
      const fieldViolations = bad.fieldViolations.map(({ field, description }) => ({ field, description }));
      read = { ...read, fieldViolations };
    }
    const retry = anyUnpack(detail, RetryInfoSchema);
    if (retry?.retryDelay) read = { ...read, retryDelayMillis: durationMs(retry.retryDelay) };
  }
  return read;
}

/** Lone surrogates would make the percent-encoding of grpc-message throw, outside every handler. */
function bounded(text: string, length: number): string {
  return (text.length > length ? `${text.slice(0, length - 1)}…` : text).toWellFormed();
}

function isStatusCode(name: string): name is StatusCode {
  return name in STATUS_CODES && name !== 'OK';
}
