import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { expect, test } from 'vitest';

import { hasMoreFieldsThan } from '../../proto/count-fields.ts';
import { CompleteEnrollmentRequestSchema } from '../../proto/gen/assay/v1/enrollment_pb.ts';
import type { EnrollmentProofSchema } from '../../proto/gen/assay/v1/enrollment_pb.ts';
import { ListHostsRequestSchema } from '../../proto/gen/assay/v1/host_pb.ts';
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

/** Two bytes, again and again: an empty field of that number. */
function empties(number: number, count: number): Buffer {
  return Buffer.alloc(2 * count, Buffer.from([(number << 3) | WireType.LengthDelimited, 0]));
}

test.each([WireType.Varint, WireType.Bit64, WireType.StartGroup, WireType.EndGroup, WireType.Bit32])(
  'a tag that says that a message is something else (wire type %i) hides none of its fields',
  (wireType) => {
    // A proof with one bank of 5,000 values. In the request itself its field is unknown, and would be skipped as a whole.
    const inner = new BinaryWriter().tag(4, WireType.LengthDelimited).bytes(empties(2, 5_000)).finish();
    const bytes = new BinaryWriter().tag(1, wireType).uint32(inner.length).raw(inner).finish();
    const { part } = fromBinary(CompleteEnrollmentRequestSchema, bytes);
    expect(part.case === 'proof' ? part.value.pcrValues[0]?.values : []).toHaveLength(5_000);
    expect(hasMoreFieldsThan(4_000, CompleteEnrollmentRequestSchema, bytes)).toBe(true);
  },
);

test('a tag that says that text is a number hides nothing behind it', () => {
  // The first proof's token, by its tag a number, is the tag of field 15 and a length: were it read so, the second proof was skipped.
  const second = proof({ pcrValues: Array.from({ length: 5_000 }, () => ({})) });
  const skip = new BinaryWriter().tag(15, WireType.LengthDelimited).uint32(second.length).finish();
  const first = new BinaryWriter().tag(1, WireType.Varint).bytes(skip).finish();
  const bytes = Buffer.concat([new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(first).finish(), second]);
  const { part } = fromBinary(CompleteEnrollmentRequestSchema, bytes);
  expect(part.case === 'proof' ? part.value.pcrValues : []).toHaveLength(5_000);
  expect(hasMoreFieldsThan(4_000, CompleteEnrollmentRequestSchema, bytes)).toBe(true);
});

test('the fields within an entry of a map are counted, too', () => {
  const entry = new BinaryWriter().tag(4, WireType.LengthDelimited).bytes(empties(1, 5_000)).finish();
  const schema = ListHostsRequestSchema;
  const { number } = schema.fields.find(({ fieldKind }) => fieldKind === 'map') ?? { number: 0 };
  expect(number).toBe(4);
  expect(hasMoreFieldsThan(5_000, schema, entry)).toBe(true);
  expect(hasMoreFieldsThan(5_001, schema, entry)).toBe(false);
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
