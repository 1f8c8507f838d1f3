import { describe, expect, it } from 'vitest';

import { AttestationError } from '../../../server/attestation/attestation-error.ts';
import { EndorsementError } from '../../../tpm/endorsement/endorsement-error.ts';
import { EnrollmentError } from '../../../server/enrollment/enrollment-error.ts';
import { CaError } from '../../../server/identity/ca.ts';
import { CommitQueueFull } from '../../../server/result/commit.ts';
import { WatchError } from '../../../server/result/watch-error.ts';
import { translateError } from '../../../server/rpc/errors.ts';
import { StoreError } from '../../../server/store/store.ts';
import { EvidenceError } from '../../../server/verifier/evidence-error.ts';
import { LogError } from '../../../server/verifier/collect-logs.ts';

const text = 'what happened';

const ROWS: readonly (readonly [Error, string, string])[] = [
  [new EnrollmentError('EK_MALFORMED', text), 'INVALID_ARGUMENT', 'EK_MALFORMED'],
  [new EnrollmentError('EK_CERT_EXPIRED', text), 'PERMISSION_DENIED', 'EK_CERT_EXPIRED'],
  [new EnrollmentError('EK_CERT_KEY_MISMATCH', text), 'PERMISSION_DENIED', 'EK_CERT_KEY_MISMATCH'],
  [new EnrollmentError('ADMISSION_DENIED', text), 'PERMISSION_DENIED', 'ADMISSION_DENIED'],
  [new EnrollmentError('TLS_KEY_MISSING', text), 'UNAUTHENTICATED', 'TLS_KEY_MISSING'],
  [new EnrollmentError('ENROLLMENT_EXPIRED', text), 'FAILED_PRECONDITION', 'ENROLLMENT_EXPIRED'],
  [new EnrollmentError('ENROLLMENT_USED', text), 'FAILED_PRECONDITION', 'ENROLLMENT_USED'],
  [new EnrollmentError('ENROLLMENT_PROOF_INVALID', text), 'PERMISSION_DENIED', 'ENROLLMENT_PROOF_INVALID'],
  [new EnrollmentError('ENROLLMENT_TOKEN_INVALID', text), 'INVALID_ARGUMENT', 'ENROLLMENT_TOKEN_INVALID'],
  [new EnrollmentError('HOST_REVOKED', text), 'PERMISSION_DENIED', 'HOST_REVOKED'],
  [new AttestationError('HOST_UNKNOWN', text), 'UNAUTHENTICATED', 'HOST_UNKNOWN'],
  [new AttestationError('TLS_KEY_SUPERSEDED', text), 'UNAUTHENTICATED', 'TLS_KEY_SUPERSEDED'],
  [new AttestationError('CHALLENGE_EXPIRED', text), 'DEADLINE_EXCEEDED', 'CHALLENGE_EXPIRED'],
  [new AttestationError('MESSAGE_UNEXPECTED', text), 'INVALID_ARGUMENT', 'MESSAGE_UNEXPECTED'],
  [new EvidenceError('SIGNATURE_INVALID', text), 'PERMISSION_DENIED', 'SIGNATURE_INVALID'],
  [new LogError('LOG_TOO_LARGE', text), 'RESOURCE_EXHAUSTED', 'LOG_TOO_LARGE'],
  [new LogError('LOG_DIGEST_MISMATCH', text), 'INVALID_ARGUMENT', 'LOG_DIGEST_MISMATCH'],
  [new WatchError('RESUME_TOKEN_INVALID', text), 'INVALID_ARGUMENT', 'RESUME_TOKEN_INVALID'],
  [new WatchError('REVISION_GONE', text), 'OUT_OF_RANGE', 'REVISION_GONE'],
  [new EndorsementError('malformed', text), 'INVALID_ARGUMENT', 'CERTIFICATE_INVALID'],
  [new EndorsementError('list_invalid', text), 'INVALID_ARGUMENT', 'REVOCATION_LIST_INVALID'],
  [new EndorsementError('list_unsupported', text), 'INVALID_ARGUMENT', 'REVOCATION_LIST_UNSUPPORTED'],
  [new EndorsementError('list_issuer_unknown', text), 'FAILED_PRECONDITION', 'REVOCATION_LIST_ISSUER_UNKNOWN'],
  [new EndorsementError('list_not_yet_valid', text), 'FAILED_PRECONDITION', 'REVOCATION_LIST_NOT_YET_VALID'],
  [new CaError('bad_public_key', text), 'INVALID_ARGUMENT', 'PUBLIC_KEY_INVALID'],
  [new CommitQueueFull(text), 'UNAVAILABLE', 'STORE_OVERLOADED'],
  [new StoreError('not_found', text), 'NOT_FOUND', 'NOT_FOUND'],
  [new StoreError('already_exists', text), 'ALREADY_EXISTS', 'ALREADY_EXISTS'],
  [new StoreError('etag_mismatch', text), 'ABORTED', 'ETAG_MISMATCH'],
  [new StoreError('wrong_state', text), 'FAILED_PRECONDITION', 'WRONG_STATE'],
  [new StoreError('outdated', text), 'FAILED_PRECONDITION', 'REVOCATION_LIST_OUTDATED'],
  [new StoreError('page_token', text), 'INVALID_ARGUMENT', 'PAGE_TOKEN_INVALID'],
];

describe('an error of a room', () => {
  it.each(ROWS)('%s is %s %s for the caller, who reads its message', (error, code, reason) => {
    expect(translateError(error)).toMatchObject({ code, reason, message: text, cause: error });
  });

  it.each<[StoreError, string, string]>([
    [new StoreError('full', text), 'RESOURCE_EXHAUSTED', 'STORE_FULL'],
    [new StoreError('corrupt', text), 'DATA_LOSS', 'STORE_CORRUPT'],
    [new StoreError('read_only', text), 'UNAVAILABLE', 'STORE_READ_ONLY'],
    [new StoreError('closed', text), 'UNAVAILABLE', 'STORE_CLOSED'],
    [new StoreError('failed', text), 'UNAVAILABLE', 'STORE_FAILED'],
  ])('%s is %s %s, and what happened stays with the service', (error, code, reason) => {
    const status = translateError(error);
    expect(status).toMatchObject({ code, reason });
    expect(status?.message).not.toContain(text);
  });

  it('tells when to try again where that makes sense', () => {
    const after = (error: Error) => translateError(error)?.retryAfterMillis;
    expect(after(new EnrollmentError('ENROLLMENT_BUSY', text))).toBe(2_000);
    expect(after(new AttestationError('HOST_CHANGED', text))).toBe(100);
    expect(after(new EnrollmentError('HOST_REVOKED', text))).toBeUndefined();
  });

  it.each([new Error(text), new TypeError(text), new CaError('bad_lifetime', text), 'a text', undefined])(
    '%s is a fault of the service: nothing of it is told',
    (error) => {
      expect(translateError(error)).toBeUndefined();
    },
  );
});
