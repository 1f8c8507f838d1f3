import type { Metadata } from '@grpc/grpc-js';
import { decodeStatus } from './status.ts';
import type { FieldViolation, StatusCode, StatusDetails } from './status.ts';

/** How a call failed, as its caller sees it. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: StatusCode;
  /** Stable reason of the service; empty where the failure is the channel's or a proxy's. */
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fieldViolations: readonly FieldViolation[];
  /** The service asks not to be called again before so long. */
  readonly retryDelayMillis: number | undefined;
  /** Under this id the service logged the call; empty where it never came so far. */
  readonly requestId: string;

  constructor(details: StatusDetails, options?: ErrorOptions) {
    super(details.message, options);
    this.code = details.code;
    this.reason = details.reason;
    this.metadata = details.metadata;
    this.fieldViolations = details.fieldViolations;
    this.retryDelayMillis = details.retryDelayMillis;
    this.requestId = details.requestId;
  }

  /** What a failed call of grpc-js rejects with; other errors are taken as the channel's own fault. */
  static from(error: unknown): RpcError {
    if (error instanceof RpcError) return error;
    if (isServiceError(error)) return new RpcError(decodeStatus(error), { cause: error });
    return RpcError.local('INTERNAL', error instanceof Error ? error.message : 'call failed', error);
  }

  /** The same failure in other words. */
  reworded(message: string): RpcError {
    const { code, reason, metadata, fieldViolations, retryDelayMillis, requestId } = this;
    const details = { code, reason, message, metadata, fieldViolations, retryDelayMillis, requestId };
    return new RpcError(details, { cause: this });
  }

  /** A failure that happened on this side. */
  static local(code: StatusCode, message: string, cause?: unknown): RpcError {
    return new RpcError(
      { code, reason: '', message, metadata: {}, fieldViolations: [], retryDelayMillis: undefined, requestId: '' },
      cause === undefined ? undefined : { cause },
    );
  }
}

function isServiceError(error: unknown): error is Error & { code: number; details: string; metadata: Metadata } {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' && 'details' in error;
}
