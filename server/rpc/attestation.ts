import type { MessageInitShape } from '@bufbuild/protobuf';

import type {
  AttestationService,
  AttestRequest,
  AttestResponseSchema,
  BootState,
} from '../../proto/gen/assay/v1/attestation_pb.ts';
import type { EncodedMessage } from '../../proto/encoded-message.ts';
import { Sending } from '../../proto/sending.ts';
import type { Handlers } from '../../proto/service.ts';
import type { AgentMessage, BootHint, Renewal, ServiceMessage } from '../attestation/messages.ts';
import { attestHost } from '../attestation/session.ts';
import { createChallenge, submitEvidence } from '../attestation/single-round.ts';
import type { SingleRoundServices } from '../attestation/single-round.ts';
import type { Access } from './access.ts';
import { challengeToProto, logChunkFromProto, roundEvidenceFromProto } from './convert-evidence.ts';
import { resultToProto } from './convert-result.ts';
import { encodeChallenge, encodeConfirmation } from './encode-round.ts';
import { bytes, invalid, required, text } from './invalid.ts';
import { nextChunk, nextPartOf } from './parts.ts';

type Response = MessageInitShape<typeof AttestResponseSchema> | EncodedMessage<typeof AttestResponseSchema>;

const MAX_NAME = 66;
const MAX_TOKEN = 16 * 1024;

export interface AttestationHandlersOptions {
  readonly access: Access;
  readonly services: SingleRoundServices;
  readonly authorityCertificate: Buffer;
}

export function attestationHandlers({
  access,
  services,
  authorityCertificate,
}: AttestationHandlersOptions): Handlers<typeof AttestationService> {
  const renewalToProto = ({ clientCertificate }: Renewal) => ({ clientCertificate, authorityCertificate });

  /** @param told revision that the stream has brought before: a result of it is told by what has moved alone */
  const messageToProto = (message: ServiceMessage, told: number): Response => {
    switch (message.kind) {
      case 'challenge':
        return encodeChallenge(message.challenge);
      case 'result':
        return message.result.revision === told
          ? encodeConfirmation(message.result)
          : { part: { case: 'result', value: resultToProto(message.result) } };
      case 'pending':
        return {
          part: {
            case: 'pending',
            value: { message: 'The host waits until an operator approves it (assay host approve).' },
          },
        };
      case 'torn':
        return { part: { case: 'torn', value: { reason: 'EVIDENCE_TORN', attempt: message.attempt } } };
      case 'renewal':
        return { part: { case: 'renewal', value: renewalToProto(message.renewal) } };
    }
  };

  return {
    attest(requests, context) {
      return new Sending(async (send) => {
        using _checking = access.keepChecking(context);
        let told = 0;
        await attestHost(services, {
          caller: access.agent(context),
          messages: new AgentMessages(requests),
          send: (message) => {
            const response = messageToProto(message, told);
            if (message.kind === 'result') told = message.result.revision;
            return send(response);
          },
          draining: context.draining,
        });
      });
    },

    async createChallenge(request, context) {
      const akName = bytes(request.akName, 'ak_name', { min: 1, max: MAX_NAME }).toString('hex');
      const boot = bootFromProto(required(request.bootState, 'boot_state'));
      const { challenge, token } = await createChallenge(services, access.agent(context), { akName, boot });
      return { challenge: challengeToProto(challenge), token };
    },

    async submitEvidence(requests, context) {
      const next = nextPartOf(requests);
      const first = await next();
      if (first?.case !== 'submission') throw invalid('part', 'the first message is the evidence');
      const { token, evidence } = first.value;
      const { result, renewal } = await submitEvidence(services, access.agent(context), {
        token: bytes(token, 'submission.token', { min: 1, max: MAX_TOKEN }),
        evidence: roundEvidenceFromProto(required(evidence, 'submission.evidence'), 'submission.evidence'),
        nextChunk: () => nextChunk(next),
      });
      return { result: resultToProto(result), ...(renewal === null ? {} : { renewal: renewalToProto(renewal) }) };
    },
  };
}

/** No generator: that would hold each message until the next one comes. */
class AgentMessages implements AsyncIterableIterator<AgentMessage, undefined> {
  readonly #requests: AsyncIterator<AttestRequest>;

  constructor(requests: AsyncIterable<AttestRequest>) {
    this.#requests = requests[Symbol.asyncIterator]();
  }

  next(): Promise<IteratorResult<AgentMessage, undefined>> {
    return this.#requests.next().then(nextMessage);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function nextMessage(request: IteratorResult<AttestRequest>): IteratorResult<AgentMessage, undefined> {
  if (request.done === true) return { done: true, value: undefined };
  return { done: false, value: agentMessage(request.value.part) };
}

function agentMessage(part: AttestRequest['part']): AgentMessage {
  switch (part.case) {
    case 'hello':
      text(part.value.agentVersion, 'hello.agent_version', 64);
      return {
        kind: 'hello',
        akName: bytes(part.value.akName, 'hello.ak_name', { min: 1, max: MAX_NAME }).toString('hex'),
        boot: bootFromProto(required(part.value.bootState, 'hello.boot_state')),
      };
    case 'evidence':
      return { kind: 'evidence', evidence: roundEvidenceFromProto(part.value, 'evidence') };
    case 'chunk':
      return { kind: 'chunk', chunk: logChunkFromProto(part.value, 'chunk') };
    case 'wish':
      text(part.value.reason, 'wish.reason', 256);
      return { kind: 'wish' };
    case undefined:
      throw invalid('part', 'is not set');
  }
}

function bootFromProto({ resetCount, restartCount }: BootState): BootHint {
  return { resetCount, restartCount };
}
