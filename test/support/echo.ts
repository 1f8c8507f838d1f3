import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { AttestationResultService } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { bindService } from '../../proto/service.ts';
import type { BoundService, Handlers } from '../../proto/service.ts';

type AttestationHandlers = Handlers<typeof AttestationService>;
type ResultHandlers = Handlers<typeof AttestationResultService>;

/**
 * Services of the contract whose handlers send back what they got, one method for each kind of call: `createChallenge` (unary),
 * `submitEvidence` (client stream), `watchAttestationResults` (server stream) and `attest` (both).
 */
export function echoServices(
  attestation: Partial<AttestationHandlers> = {},
  results: Partial<ResultHandlers> = {},
): readonly BoundService[] {
  return [
    bindService(AttestationService, {
      createChallenge: ({ akName }) => ({ token: akName }),
      async submitEvidence(requests) {
        let bytes = 0;
        for await (const { part } of requests) bytes += part.case === 'chunk' ? part.value.data.length : 0;
        return { result: { name: String(bytes) } };
      },
      async *attest(requests) {
        for await (const { part } of requests) {
          const reason = part.case === 'wish' ? part.value.reason : '';
          yield { part: { case: 'pending', value: { message: reason } } };
        }
      },
      ...attestation,
    }),
    bindService(AttestationResultService, {
      getAttestationResult: ({ host }) => ({ result: { host } }),
      listAttestationResults: () => ({}),
      getBootReport: ({ host }) => ({ report: { host } }),
      getRuntimeReport: ({ host }) => ({ report: { host } }),
      async *watchAttestationResults({ resumeToken }) {
        for (const suffix of ['a', 'b', 'c']) yield { resumeToken: `${resumeToken}${suffix}` };
      },
      ...results,
    }),
  ];
}

/** What `attest` of the echo takes. */
export async function* wishes(...reasons: readonly string[]) {
  for (const reason of reasons) yield { part: { case: 'wish' as const, value: { reason } } };
}

/** Requests of a caller that keeps its stream open and says nothing. */
export async function* silence(): AsyncGenerator<never> {
  yield await new Promise<never>(() => undefined);
}
