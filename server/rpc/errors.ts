import { StatusError } from '../../proto/status.ts';
import type { StatusCode } from '../../proto/status.ts';
import { AttestationError } from '../attestation/attestation-error.ts';
import { EndorsementError } from '../../tpm/endorsement/endorsement-error.ts';
import type { EndorsementErrorCode } from '../../tpm/endorsement/endorsement-error.ts';
import { EnrollmentError } from '../enrollment/enrollment-error.ts';
import { CaError } from '../identity/ca.ts';
import { ReferenceImportError } from '../reference/import-error.ts';
import type { ReferenceImportErrorCode } from '../reference/import-error.ts';
import { PlacementError } from '../placement/placement-error.ts';
import { CommitQueueFull } from '../result/commit.ts';
import { TokenError } from '../result/issue-token.ts';
import { WatchError } from '../result/watch-error.ts';
import { StoreError } from '../store/store.ts';
import type { StoreErrorCode } from '../store/store.ts';
import { EvidenceError } from '../verifier/evidence-error.ts';
import { LogError } from '../verifier/collect-logs.ts';

/** Reason codes whose status is not the one of their room. docs/reasons.md lists every reason. */
const STATUS_OF_REASON: { readonly [reason: string]: StatusCode } = {
  HOST_REVOKED: 'PERMISSION_DENIED',
  ADMISSION_DENIED: 'PERMISSION_DENIED',
  ADMISSION_BOOT_DENIED: 'PERMISSION_DENIED',
  EK_CONFLICT: 'PERMISSION_DENIED',
  AK_CONFLICT: 'PERMISSION_DENIED',
  ENROLLMENT_PROOF_INVALID: 'PERMISSION_DENIED',
  ENROLLMENT_EVIDENCE_REFUSED: 'PERMISSION_DENIED',
  TLS_KEY_MISMATCH: 'PERMISSION_DENIED',
  TLS_KEY_MISSING: 'UNAUTHENTICATED',
  TLS_KEY_SUPERSEDED: 'UNAUTHENTICATED',
  HOST_UNKNOWN: 'UNAUTHENTICATED',
  AK_UNKNOWN: 'FAILED_PRECONDITION',
  HOST_PENDING: 'FAILED_PRECONDITION',
  HOST_CHANGED: 'ABORTED',
  RUNTIME_LIST_MISSING: 'FAILED_PRECONDITION',
  HOST_HAS_FINDINGS: 'FAILED_PRECONDITION',
  ENROLLMENT_EXPIRED: 'FAILED_PRECONDITION',
  ENROLLMENT_USED: 'FAILED_PRECONDITION',
  ENROLLMENT_EVIDENCE_TORN: 'ABORTED',
  ENROLLMENT_BUSY: 'UNAVAILABLE',
  ENROLLMENT_RATE: 'RESOURCE_EXHAUSTED',
  TOO_MANY_PENDING: 'RESOURCE_EXHAUSTED',
  CHALLENGE_EXPIRED: 'DEADLINE_EXCEEDED',
  SHUTTING_DOWN: 'UNAVAILABLE',
  REVOCATION_LIST_ISSUER_UNKNOWN: 'FAILED_PRECONDITION',
  REVOCATION_LIST_NOT_YET_VALID: 'FAILED_PRECONDITION',
  REVISION_GONE: 'OUT_OF_RANGE',
  INCARNATION_CHANGED: 'OUT_OF_RANGE',
  SCOPE_CHANGED: 'OUT_OF_RANGE',
  CHALLENGE_RATE: 'RESOURCE_EXHAUSTED',
  ROUND_RATE: 'RESOURCE_EXHAUSTED',
  STREAM_LIMIT: 'RESOURCE_EXHAUSTED',
  WATCH_LIMIT: 'RESOURCE_EXHAUSTED',
  PLACEMENT_INDEX_STALE: 'UNAVAILABLE',
  PLACEMENT_BUSY: 'UNAVAILABLE',
  CLOCK_BEHIND: 'UNAVAILABLE',
  LOG_TOO_LARGE: 'RESOURCE_EXHAUSTED',
  LOG_BUDGET: 'RESOURCE_EXHAUSTED',
  LOG_TOO_SLOW: 'DEADLINE_EXCEEDED',
  REFERENCE_TOO_LARGE: 'RESOURCE_EXHAUSTED',
  REFERENCE_TOO_SLOW: 'DEADLINE_EXCEEDED',
  REFERENCE_BUSY: 'UNAVAILABLE',
};

const REASON_OF_ENDORSEMENT: Readonly<Record<EndorsementErrorCode, string>> = {
  malformed: 'CERTIFICATE_INVALID',
  too_large: 'CERTIFICATE_INVALID',
  too_many: 'CERTIFICATE_INVALID',
  unsupported: 'CERTIFICATE_INVALID',
  list_invalid: 'REVOCATION_LIST_INVALID',
  list_unsupported: 'REVOCATION_LIST_UNSUPPORTED',
  list_issuer_unknown: 'REVOCATION_LIST_ISSUER_UNKNOWN',
  list_not_yet_valid: 'REVOCATION_LIST_NOT_YET_VALID',
};

const REASON_OF_IMPORT: Readonly<Record<ReferenceImportErrorCode, string>> = {
  malformed: 'REFERENCE_MALFORMED',
  too_large: 'REFERENCE_TOO_LARGE',
  too_slow: 'REFERENCE_TOO_SLOW',
  busy: 'REFERENCE_BUSY',
};

/** Milliseconds after which it makes sense to try again. */
const RETRY_AFTER: { readonly [reason: string]: number } = {
  ENROLLMENT_BUSY: 2_000,
  TOO_MANY_PENDING: 60_000,
  REFERENCE_BUSY: 10_000,
  SHUTTING_DOWN: 1_000,
  ENROLLMENT_EVIDENCE_TORN: 500,
  HOST_CHANGED: 100,
  LOG_BUDGET: 5_000,
  CHALLENGE_RATE: 1_000,
  ROUND_RATE: 1_000,
  STREAM_LIMIT: 10_000,
  PLACEMENT_INDEX_STALE: 1_000,
  PLACEMENT_BUSY: 2_000,
  WATCH_LIMIT: 10_000,
};

const STORE_STATUS: Readonly<Record<StoreErrorCode, StatusCode>> = {
  not_found: 'NOT_FOUND',
  already_exists: 'ALREADY_EXISTS',
  etag_mismatch: 'ABORTED',
  unknown_reference: 'FAILED_PRECONDITION',
  in_use: 'FAILED_PRECONDITION',
  too_large: 'RESOURCE_EXHAUSTED',
  wrong_state: 'FAILED_PRECONDITION',
  out_of_scope: 'PERMISSION_DENIED',
  page_token: 'INVALID_ARGUMENT',
  outdated: 'FAILED_PRECONDITION',
  out_of_range: 'OUT_OF_RANGE',
  locked: 'UNAVAILABLE',
  newer_schema: 'UNAVAILABLE',
  read_only: 'UNAVAILABLE',
  full: 'RESOURCE_EXHAUSTED',
  corrupt: 'DATA_LOSS',
  closed: 'UNAVAILABLE',
  failed: 'UNAVAILABLE',
};

/** The one table from the rooms' errors to statuses; undefined for what is a fault of ours. */
export function translateError(error: unknown): StatusError | undefined {
  if (error instanceof EnrollmentError || error instanceof AttestationError || error instanceof WatchError) {
    return statusOf(error.code, 'INVALID_ARGUMENT', error);
  }
  if (error instanceof PlacementError) return statusOf(error.code, 'UNAVAILABLE', error);
  // Evidence that is not proven to be the caller's: nothing is said of the host, and nothing about it was changed.
  if (error instanceof EvidenceError) return statusOf(error.code, 'PERMISSION_DENIED', error);
  if (error instanceof LogError) return statusOf(error.code, 'INVALID_ARGUMENT', error);
  if (error instanceof EndorsementError) return statusOf(REASON_OF_ENDORSEMENT[error.code], 'INVALID_ARGUMENT', error);
  if (error instanceof ReferenceImportError) return statusOf(REASON_OF_IMPORT[error.code], 'INVALID_ARGUMENT', error);
  if (error instanceof CaError && error.code === 'bad_public_key')
    return statusOf('PUBLIC_KEY_INVALID', 'INVALID_ARGUMENT', error);
  if (error instanceof TokenError) return statusOf(error.code, 'FAILED_PRECONDITION', error);
  if (error instanceof CommitQueueFull) return statusOf('STORE_OVERLOADED', 'UNAVAILABLE', error);
  if (error instanceof StoreError) return storeStatus(error);
  return undefined;
}

function storeStatus(error: StoreError): StatusError {
  const code = STORE_STATUS[error.code];
  const ours = code === 'UNAVAILABLE' || code === 'DATA_LOSS' || error.code === 'full';
  const reason = error.code === 'etag_mismatch' ? 'ETAG_MISMATCH' : `STORE_${error.code.toUpperCase()}`;
  const message = ours ? 'the store cannot do this now' : error.message;
  return new StatusError({
    code,
    reason: ours ? reason : (REASON_OF_STORE[error.code] ?? reason),
    message,
    cause: error,
  });
}

const REASON_OF_STORE: { readonly [code: string]: string } = {
  not_found: 'NOT_FOUND',
  already_exists: 'ALREADY_EXISTS',
  wrong_state: 'WRONG_STATE',
  out_of_scope: 'OUT_OF_SCOPE',
  page_token: 'PAGE_TOKEN_INVALID',
  outdated: 'REVOCATION_LIST_OUTDATED',
  unknown_reference: 'REFERENCE_UNKNOWN',
  in_use: 'RESOURCE_IN_USE',
  too_large: 'REFERENCE_TOO_LARGE',
  out_of_range: 'REVISION_GONE',
};

function statusOf(reason: string, fallback: StatusCode, cause: Error): StatusError {
  const retryAfterMillis = (cause instanceof EnrollmentError ? cause.retryAfter : undefined) ?? RETRY_AFTER[reason];
  return new StatusError({
    code: STATUS_OF_REASON[reason] ?? (reason.startsWith('EK_CERT_') ? 'PERMISSION_DENIED' : fallback),
    reason,
    message: cause.message,
    cause,
    ...(retryAfterMillis === undefined ? {} : { retryAfterMillis }),
  });
}
