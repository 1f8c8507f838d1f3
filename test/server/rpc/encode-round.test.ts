import { create, fromBinary, isFieldSet, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, Message, MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';

import { AttestResponseSchema, VerdictConfirmationSchema } from '../../../proto/gen/assay/v1/attestation_pb.ts';
import { ChallengeSchema, LogRequestSchema, PcrBankSelectionSchema } from '../../../proto/gen/assay/v1/evidence_pb.ts';
import { challengeToProto } from '../../../server/rpc/convert-evidence.ts';
import { encodeChallenge, encodeConfirmation } from '../../../server/rpc/encode-round.ts';
import type { Challenge } from '../../../server/attestation/messages.ts';
import type { ResultRecord } from '../../../server/store/records.ts';

type Part = NonNullable<MessageInitShape<typeof AttestResponseSchema>['part']>;

/** What generated code makes of a message. */
const generated = (part: Part): string =>
  Buffer.from(toBinary(AttestResponseSchema, create(AttestResponseSchema, { part }))).toString('hex');

const everyPcr = Array.from({ length: 24 }, (_, index) => index);
const challenge: Challenge = {
  nonce: Buffer.alloc(32, 0xa5),
  selection: [{ hash: 0x000b, pcrs: [0, 1, 7, 10] }],
  logs: [{ kind: 'ima', offset: 123_456_789 }],
  time: 1_700_000_000_123,
};

const result: ResultRecord = {
  hostId: 'h-a',
  revision: 7,
  status: 'affirming',
  vector: { instanceIdentity: 2, configuration: 2, executables: 0, hardware: 0 },
  checks: [],
  policyId: 'base',
  policyVersion: 3,
  endorsementVersion: 4,
  inputDigest: 'ab',
  evidenceDigest: 'cd'.repeat(32),
  akName: '000b',
  resetCount: 4,
  restartCount: 0,
  challengeTime: 1_700_000_000_123,
  validUntil: 1_700_000_060_123,
  confirmations: 41,
  connectivity: 'connected',
  nodeName: '',
  labels: {},
  revisionTime: 2_000,
};

describe('a challenge as bytes', () => {
  it.each<[string, Partial<Challenge>]>([
    ['of some PCRs and the end of a list', {}],
    ['of every bank and every log', { selection: 'all', logs: (['boot', 'userspace', 'ima'] as const).map(whole) }],
    ['of no log', { logs: [] }],
    ['of no PCR', { selection: [{ hash: 0x0004, pcrs: [] }] }],
    ['of PCR 0 alone', { selection: [{ hash: 0x0004, pcrs: [0] }] }],
    ['that is longer than 128 bytes', { selection: [0x0004, 0x000b, 0x000c, 0x000d].map(bank) }],
    ['of as many banks as a TPM may have', { selection: Array.from({ length: 16 }, (_, at) => bank(0xfff0 + at)) }],
    ['of a list that is longer than 4 GiB', { logs: [{ kind: 'ima', offset: 2 ** 53 - 1 }] }],
  ])('is what generated code makes of it: one %s', (_, change) => {
    const asked = { ...challenge, ...change };
    const { bytes, schema } = encodeChallenge(asked);
    expect(schema).toBe(AttestResponseSchema);
    expect(bytes.toString('hex')).toBe(generated({ case: 'challenge', value: challengeToProto(asked) }));
  });

  it('that cannot be one is an error, and the next one is whole', () => {
    const wrong = { ...challenge, logs: [{ kind: 'ima' as const, offset: -1 }] };
    expect(() => encodeChallenge(wrong)).toThrow(TypeError);
    const large = { ...challenge, nonce: Buffer.alloc(2_000) };
    expect(() => encodeChallenge(large)).toThrow(TypeError);
    const { part } = fromBinary(AttestResponseSchema, encodeChallenge(challenge).bytes);
    expect(part.case === 'challenge' && Buffer.from(part.value.nonce)).toEqual(challenge.nonce);
  });

  it('has every field of its schema: what is added to that is written, too', () => {
    const ima = { kind: 'ima' as const, offset: 9 };
    const [all, some] = (['all', challenge.selection] as const).map((selection) => {
      const { part } = fromBinary(
        AttestResponseSchema,
        encodeChallenge({ ...challenge, selection, logs: [ima] }).bytes,
      );
      return part.case === 'challenge' ? part.value : undefined;
    });
    expect(unset(ChallengeSchema, all, some)).toEqual([]);
    expect(unset(PcrBankSelectionSchema, ...(some?.selection ?? []))).toEqual([]);
    expect(unset(LogRequestSchema, ...(some?.logs ?? []))).toEqual([]);
  });

  it('stays what it was when the next one is made', () => {
    const first = encodeChallenge(challenge).bytes;
    const before = first.toString('hex');
    encodeChallenge({ ...challenge, nonce: Buffer.alloc(32, 0x5a) });
    expect(first.toString('hex')).toBe(before);
  });
});

describe('a confirmation as bytes', () => {
  it('has every field of its schema', () => {
    const { part } = fromBinary(AttestResponseSchema, encodeConfirmation(result).bytes);
    expect(unset(VerdictConfirmationSchema, part.case === 'confirmation' ? part.value : undefined)).toEqual([]);
  });

  it.each<[string, Partial<ResultRecord>]>([
    ['of a verdict that ends', {}],
    ['of one that does not', { validUntil: null }],
    ['of whole seconds', { challengeTime: 1_700_000_000_000, validUntil: 1_700_000_060_000 }],
    ['of times at the beginning', { challengeTime: 0, validUntil: 999 }],
    ['of large numbers', { revision: 2 ** 53 - 1, confirmations: 2 ** 31 }],
    ['of no evidence', { evidenceDigest: '', confirmations: 0 }],
  ])('is what generated code makes of it: one %s', (_, change) => {
    const confirmed = { ...result, ...change };
    const { revision, evidenceDigest, challengeTime, validUntil, confirmations } = confirmed;
    const value = {
      revision: BigInt(revision),
      evidenceDigest,
      challengeTime: timestampFromMs(challengeTime),
      ...(validUntil === null ? {} : { validUntil: timestampFromMs(validUntil) }),
      confirmations: BigInt(confirmations),
    };
    expect(encodeConfirmation(confirmed).bytes.toString('hex')).toBe(generated({ case: 'confirmation', value }));
  });
});

/** Fields that none of the messages has. */
function unset(schema: DescMessage, ...messages: readonly (Message | undefined)[]): readonly string[] {
  const has = (field: DescMessage['fields'][number]) =>
    messages.some((message) => message !== undefined && isFieldSet(message, field));
  return schema.fields.filter((field) => !has(field)).map(({ name }) => name);
}

function whole(kind: Challenge['logs'][number]['kind']): Challenge['logs'][number] {
  return { kind, offset: 0 };
}

function bank(hash: number): { readonly hash: number; readonly pcrs: readonly number[] } {
  return { hash, pcrs: everyPcr };
}
