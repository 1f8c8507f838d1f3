import { fromBinary, toBinary } from '@bufbuild/protobuf';

import { decodeStatus, encodeStatus, StatusError } from '../../../proto/status.ts';
import { TrustPolicySchema } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { EvidenceSchema } from '../../../proto/gen/assay/v1/evidence_pb.ts';
import { EnrollmentError } from '../../../server/enrollment/enrollment-error.ts';
import { openState, sealState } from '../../../server/enrollment/token.ts';
import { resolvePolicyDraft } from '../../../server/policy/policy.ts';
import { roundEvidenceFromProto } from '../../../server/rpc/convert-evidence.ts';
import { policyDraftFromProto } from '../../../server/rpc/convert-policy.ts';
import { nextPageToken, pageOf } from '../../../server/rpc/paging.ts';
import { methodsOfContract } from '../../support/contract.ts';
import { MessageMaker } from '../../support/message-maker.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { BrokenPromise, reader } from '../target.ts';
import type { Target } from '../target.ts';

const MASTER = { version: 1, secret: Buffer.alloc(32, 5) };
const DICTIONARY = { texts: ['hosts/h-aaaa', 'sha256', 'a'], bytes: [Buffer.alloc(32, 1)] };
/** Messages that are made of each type to begin with. */
const SEEDS = 8;

export async function messageTargets(): Promise<Readonly<Record<string, () => Target>>> {
  const methods = await methodsOfContract();
  const maker = new MessageMaker(new SeededRandom(1), DICTIONARY);
  const made = <T>(make: () => T): readonly T[] => Array.from({ length: SEEDS }, make);
  const token = sealState(
    {
      enrollmentId: Buffer.alloc(16, 1),
      nonce: Buffer.alloc(32, 2),
      transcript: Buffer.alloc(32, 3),
      secrets: [Buffer.alloc(32, 4)],
      tlsKeySha256: Buffer.alloc(32, 5),
      expireMillis: 1,
      akPublicArea: Buffer.alloc(80),
      parentIndex: 0,
      eks: [],
    },
    MASTER,
    (size) => Buffer.alloc(size, 6),
  );
  return {
    /** Every request of the contract: whatever decodes is encoded and decoded again to the same. */
    requests: () =>
      reader(
        methods.flatMap(({ input }, index) =>
          made(() => Buffer.concat([Buffer.of(index), toBinary(input, maker.make(input))])),
        ),
        [],
        (input) => {
          const method = methods[(input[0] ?? 0) % methods.length];
          if (method === undefined) return;
          const message = decoded(() => fromBinary(method.input, input.subarray(1), { readUnknownFields: false }));
          if (message === null) return;
          const bytes = toBinary(method.input, message);
          const again = toBinary(method.input, fromBinary(method.input, bytes));
          if (!Buffer.from(again).equals(bytes)) throw new BrokenPromise('another message after a round trip');
        },
      ),
    'evidence-fields': () =>
      reader(
        made(() => Buffer.from(toBinary(EvidenceSchema, maker.make(EvidenceSchema) as never))),
        [StatusError],
        (input) => {
          const message = decoded(() => fromBinary(EvidenceSchema, input));
          if (message !== null) roundEvidenceFromProto(message, 'evidence');
        },
      ),
    'policy-fields': () =>
      reader(
        made(() => Buffer.from(toBinary(TrustPolicySchema, maker.make(TrustPolicySchema) as never))),
        [StatusError],
        (input) => {
          const message = decoded(() => fromBinary(TrustPolicySchema, input));
          if (message !== null) resolvePolicyDraft(policyDraftFromProto(message));
        },
      ),
    'page-token': () =>
      reader(
        [Buffer.from(nextPageToken({ items: [], next: 'h-x' }, ['hosts'])), Buffer.from('e30'), Buffer.from('W10')],
        [StatusError],
        (input) => pageOf({ pageSize: 1, pageToken: input.toString('latin1') }, ['hosts']),
      ),
    /** Nothing opens but what was sealed. */
    'sealed-token': () =>
      reader([token], [EnrollmentError], (input) => {
        openState(input, [MASTER]);
        if (!input.equals(token)) throw new BrokenPromise('opened what nobody sealed');
      }),
    /** What a client reads of an error that somebody in between may have written. */
    'error-details': () => {
      const status = encodeStatus(
        new StatusError({ code: 'ABORTED', reason: 'A', message: 'm', retryAfterMillis: 5, metadata: { a: 'b' } }),
        'id',
      );
      const [details = Buffer.alloc(0)] = status.metadata?.get('grpc-status-details-bin') ?? [];
      return reader([Buffer.from(details)], [], (input) => {
        status.metadata?.set('grpc-status-details-bin', input);
        decodeStatus({ code: 10, details: 'm', ...(status.metadata ? { metadata: status.metadata } : {}) });
      });
    },
  };
}

/** Null for bytes that are no message: the bridge answers MALFORMED_MESSAGE to whatever is thrown. */
function decoded<T>(decode: () => T): T | null {
  try {
    return decode();
  } catch {
    return null;
  }
}
