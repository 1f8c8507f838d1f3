import { Metadata, status as grpcStatus } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { decodeStatus, encodeStatus, STATUS_CODES, StatusError } from '../../proto/status.ts';

const DETAILS = 'grpc-status-details-bin';

describe('a status', () => {
  test('has the codes of gRPC', () => {
    for (const [name, code] of Object.entries(STATUS_CODES)) expect(grpcStatus[code]).toBe(name);
    expect(Object.keys(STATUS_CODES)).toHaveLength(17);
  });

  test('travels with everything but its cause', () => {
    const error = new StatusError({
      code: 'INVALID_ARGUMENT',
      reason: 'POLICY_INVALID',
      message: 'policy is not valid',
      metadata: { policy: 'web' },
      fieldViolations: [{ field: 'pcr_rules[2].bank', description: 'unknown bank' }],
      retryAfterMillis: 1500,
      cause: new Error('secret'),
    });
    const sent = encodeStatus(error, 'request-1');
    expect(sent.code).toBe(3);
    expect(Buffer.concat(sent.metadata.get(DETAILS).map((part) => Buffer.from(part))).includes('secret')).toBe(false);
    expect(decodeStatus(sent)).toEqual({
      code: 'INVALID_ARGUMENT',
      reason: 'POLICY_INVALID',
      message: 'policy is not valid',
      metadata: { policy: 'web' },
      fieldViolations: [{ field: 'pcr_rules[2].bank', description: 'unknown bank' }],
      retryDelayMillis: 1500,
      requestId: 'request-1',
    });
  });

  test('is bounded, whatever a handler puts into it', () => {
    const text = '\u{1f600}\ud800'.repeat(5000);
    const fieldViolations = Array.from({ length: 1000 }, () => ({ field: text, description: text }));
    const metadata = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`${index}${text}`, text]));
    const sent = encodeStatus(
      new StatusError({ code: 'ABORTED', reason: 'R', message: text, fieldViolations, metadata }),
      'id',
    );
    expect(encodeURI(sent.details).length).toBeLessThan(8192);
    expect(sent.metadata.get(DETAILS)[0]?.length).toBeLessThan(24 * 1024);
    expect(decodeStatus(sent).fieldViolations).toHaveLength(16);
  });

  test.each([
    ['garbage', Buffer.from('ff'.repeat(40), 'hex')],
    ['too many bytes', Buffer.alloc(100_000)],
  ])('with %s for details still has its code', (_name, bytes) => {
    const metadata = new Metadata();
    metadata.set(DETAILS, bytes);
    expect(decodeStatus({ code: 14, details: 'gone', metadata })).toMatchObject({
      code: 'UNAVAILABLE',
      reason: '',
      message: 'gone',
    });
  });

  test('without details, or of an unknown code, is read too', () => {
    expect(decodeStatus({ code: 5, details: '' })).toMatchObject({ code: 'NOT_FOUND', requestId: '' });
    expect(decodeStatus({ code: 99 as grpcStatus, details: '' }).code).toBe('UNKNOWN');
  });
});
