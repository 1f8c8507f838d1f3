import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import { AttestRequestSchema, AttestResponseSchema } from '../../proto/gen/assay/v1/attestation_pb.ts';
import type { Fleet, FleetHost } from '../fleet/fleet.ts';
import { EvidenceTemplate } from './evidence-template.ts';
import { frame, GrpcStream } from './grpc-stream.ts';

const ATTEST = '/assay.v1.AttestationService/Attest';
/** First byte of a response: field 2, the result, or 6, its confirmation. Their content is of no interest to the generator. */
const VERDICT_TAGS: readonly (number | undefined)[] = [0x12, 0x32];
const RETRY_MILLIS = 100;

export interface AgentOptions {
  readonly fleet: Fleet;
  readonly host: FleetHost;
  readonly port: number;
  readonly index: number;
  /** Milliseconds from the arrival of a challenge to the arrival of its result. */
  readonly onResult: (agent: Agent, latency: number) => void;
  readonly onError: (reason: string) => void;
}

/** The agent of one host: answers every challenge, and comes back when its connection is lost. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #hello: Buffer;
  readonly #akKey: KeyObject;
  readonly #secureContext: SecureContext;
  #templates: readonly EvidenceTemplate[] = [];
  #stream: GrpcStream | null = null;
  #challengedAt = 0;
  #rounds = 0;
  #closed = false;
  /** Every round brings other PCR values than the one before, so that every verdict is a change. */
  changing = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { fleet, host } = options;
    this.#akKey = createPrivateKey({ key: Buffer.from(host.akKey, 'base64'), format: 'der', type: 'pkcs8' });
    this.#secureContext = createSecureContext({ key: fleet.tlsKey, cert: certificatePem(host.certificate) });
    const hello = {
      akName: Buffer.from(host.akName, 'hex'),
      bootState: { resetCount: 1, restartCount: 0 },
      agentVersion: '0.1.0',
    };
    const request = create(AttestRequestSchema, { part: { case: 'hello', value: hello } });
    this.#hello = frame(toBinary(AttestRequestSchema, request));
  }

  connect(): void {
    if (this.#closed) return;
    this.#templates = [];
    this.#stream = new GrpcStream({
      port: this.#options.port,
      index: this.#options.index,
      path: ATTEST,
      secureContext: this.#secureContext,
      onMessage: (message) => this.#take(message),
      onClose: (reason) => {
        if (this.#closed) return;
        this.#options.onError(reason);
        setTimeout(() => this.connect(), RETRY_MILLIS * (0.5 + Math.random()));
      },
    });
    this.#stream.send(this.#hello);
  }

  close(): void {
    this.#closed = true;
    this.#stream?.close();
  }

  #take(message: Buffer): void {
    if (VERDICT_TAGS.includes(message[0])) {
      this.#options.onResult(this, performance.now() - this.#challengedAt);
      return;
    }
    this.#challengedAt = performance.now();
    const { part } = fromBinary(AttestResponseSchema, message);
    if (part.case !== 'challenge') {
      this.#options.onError(`a challenge was due, not ${part.case}`);
      return;
    }
    if (this.#templates.length === 0) {
      const { fleet, host } = this.#options;
      const signer = {
        hostId: host.id,
        tlsKeySha256: Buffer.from(fleet.tlsKeySha256, 'hex'),
        qualifiedName: Buffer.from(host.qualifiedName, 'hex'),
        akKey: this.#akKey,
      };
      const challenge = part.value;
      this.#templates = [0, 0xff].map((value) => new EvidenceTemplate(signer, challenge, value));
    }
    this.#rounds += 1;
    const template = this.#templates[this.changing ? this.#rounds % 2 : 0];
    if (template !== undefined) this.#stream?.send(template.answer(part.value.nonce));
  }
}

export function certificatePem(base64: string): string {
  return `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`;
}
