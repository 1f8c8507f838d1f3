import { create, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';

import { hasMoreFieldsThan } from '../../proto/count-fields.ts';
import { CompleteEnrollmentRequestSchema } from '../../proto/gen/assay/v1/enrollment_pb.ts';
import type { EnrollmentProofSchema } from '../../proto/gen/assay/v1/enrollment_pb.ts';
import { LogKind } from '../../proto/gen/assay/v1/evidence_pb.ts';
import { UpdateTrustPolicyRequestSchema } from '../../proto/gen/assay/v1/trust_policy_pb.ts';

const value = (size: number) => (_: unknown, index: number) => ({ index, digest: Buffer.alloc(size, 1) });

/** The fewest fields that the message is still told to have more of. */
function countOf(schema: DescMessage, bytes: Uint8Array): number {
  let low = 0;
  let high = bytes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (hasMoreFieldsThan(middle, schema, bytes)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function proof(init: MessageInitShape<typeof EnrollmentProofSchema>): Uint8Array {
  const schema = CompleteEnrollmentRequestSchema;
  return toBinary(schema, create(schema, { part: { case: 'proof', value: init } }));
}

test.each<[string, Uint8Array, number]>([
  ['a proof that is empty', proof({}), 1],
  ['empty messages', proof({ pcrValues: Array.from({ length: 5_000 }, () => ({})) }), 5_001],
  [
    'messages within messages',
    proof({
      pcrValues: Array.from({ length: 30 }, () => ({ algorithm: 11, values: Array.from({ length: 40 }, value(1)) })),
    }),
    // Index 0 is not written.
    1 + 30 * (2 + 40 * 3 - 1),
  ],
  [
    'bytes that look like messages',
    proof({ token: Buffer.alloc(9_000, Buffer.from([0x22, 0])), hmac: Buffer.alloc(4) }),
    3,
  ],
])('the fields of %s are counted', (_name, bytes, count) => {
  const counted = countOf(CompleteEnrollmentRequestSchema, bytes);
  // Of a short message the length alone says that it has no more.
  expect(counted).toBe(Math.min(count, Math.ceil(bytes.length / 2)));
});

test('the most that a host may send, and the largest policy, are within the limits', () => {
  const banks = Array.from({ length: 16 }, (_, index) => ({
    algorithm: index + 1,
    values: Array.from({ length: 24 }, value(64)),
  }));
  const logs = Array.from({ length: 3 }, () => ({
    kind: LogKind.BOOT,
    offset: 1n,
    size: 1n,
    sha256: Buffer.alloc(32),
    unreadable: 'x',
  }));
  const facts = { hostname: 'a', os: 'b', kernel: 'c', agentVersion: 'd', bootId: 'e' };
  const quote = { attest: Buffer.alloc(1_024), signature: Buffer.alloc(1_024) };
  const bankProof = { ...quote, capabilityData: Buffer.alloc(1_024) };
  const largest = proof({
    token: Buffer.alloc(9),
    hmac: Buffer.alloc(32),
    quote,
    pcrValues: banks,
    bankProof,
    facts,
    logs,
  });
  expect(hasMoreFieldsThan(1_300, CompleteEnrollmentRequestSchema, largest)).toBe(false);

  const digests = (count: number): string[] =>
    Array.from({ length: count }, (_, index) => String(index).padStart(64, '0'));
  const rules = Array.from({ length: 256 }, (_, index) => ({
    bank: 'sha256',
    index,
    allowed: digests(64),
    message: 'x',
  }));
  const schema = UpdateTrustPolicyRequestSchema;
  const policy = toBinary(schema, create(schema, { trustPolicy: { name: 'trustPolicies/a', pcrRules: rules } }));
  expect(hasMoreFieldsThan(22_000, schema, policy)).toBe(false);
});

test('what cannot be read is left to who decodes it', () => {
  for (const bytes of [Buffer.alloc(10_000, 0x0b), Buffer.alloc(10_000, 0xff), Buffer.alloc(10_000)])
    expect(hasMoreFieldsThan(4_000, CompleteEnrollmentRequestSchema, bytes)).toBe(false);
});
