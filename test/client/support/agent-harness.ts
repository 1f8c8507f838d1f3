import { RpcError } from '../../../proto/rpc-error.ts';
import type { StatusCode } from '../../../proto/status.ts';
import type { JoinRequest } from '../../../client/agent/join.ts';
import { runAgent } from '../../../client/agent/run.ts';
import type { TlsIdentity } from '../../../client/agent/state-document.ts';
import type { AttestationService, AttestIncoming, AttestOutgoing } from '../../../client/sdk/evidence.ts';
import type { AttestationResult } from '../../../client/sdk/resources.ts';
import { makeFakeIdentity } from './fake-service.ts';
import type { FakeIdentity, Tampering } from './fake-service.ts';
import { FakeWorld } from './fake-world.ts';
import { SoftwareTpm } from './software-tpm.ts';

export const challenge: AttestIncoming = {
  kind: 'challenge',
  challenge: { nonce: Buffer.alloc(32), selection: [], allBanks: true, logs: [], deadlineSeconds: 30 },
};

export const result = (status: string): AttestIncoming => ({
  kind: 'result',
  result: { status, revision: 1n, validUntil: undefined, trustPolicy: '' } as AttestationResult,
});

/** What one stream does: yields these, may look at the evidence, then ends or fails. */
export type Stream = (outgoing: AsyncIterator<AttestOutgoing>, identity: TlsIdentity) => AsyncGenerator<AttestIncoming>;

export const affirming: Stream = async function* (outgoing) {
  await outgoing.next();
  yield challenge;
  await outgoing.next();
  yield result('AFFIRMING');
};

export const failing = (code: StatusCode, reason = '', retryDelayMillis?: number): Stream =>
  async function* () {
    yield* [];
    throw rpcError(code, reason, retryDelayMillis);
  };

export function rpcError(code: StatusCode, reason = '', retryDelayMillis?: number): RpcError {
  const nothing = { metadata: {}, fieldViolations: [], requestId: '' };
  return new RpcError({ code, reason, message: 'm', retryDelayMillis, ...nothing });
}

/** An agent between a TPM in software and a service that does what the test says, stream by stream. */
export class AgentHarness {
  readonly service: FakeIdentity;
  readonly tpm = new SoftwareTpm();
  readonly controller = new AbortController();
  readonly slept: number[] = [];
  /** One for each stream; the agent is ended when they are used up. */
  readonly streams: Stream[] = [];
  /** One for each enrolment; without one it succeeds. */
  readonly enrollments: (Tampering | Error)[] = [];
  /** One for each time the TPM is opened; without one that succeeds. */
  readonly openFailures: Error[] = [];
  endAtFirstPause = false;
  readonly request: JoinRequest;

  private constructor(service: FakeIdentity) {
    this.service = service;
    this.request = {
      server: 'assay.example:9443',
      pin: service.authority.fingerprint,
      tcti: 'swtpm:',
      akAlgorithm: 'ecdsa-p256-sha256',
      logs: { boot: 'b', userspace: 'u', ima: 'i' },
      fetchAuthority: () => Promise.resolve(service.authority.certificate),
    };
  }

  static async make(): Promise<AgentHarness> {
    return new AgentHarness(await makeFakeIdentity());
  }

  makeWorld(now?: () => Date): Promise<FakeWorld> {
    return FakeWorld.make({
      service: this.service,
      tpm: async () => {
        const failure = this.openFailures.shift();
        if (failure !== undefined) throw failure;
        return this.tpm;
      },
      attestation: (identity) => this.#attestation(identity),
      enrollment: () => this.enrollments.shift() ?? {},
      sleep: (millis) => {
        this.slept.push(millis);
        if (this.endAtFirstPause || this.slept.length > 50) this.controller.abort();
      },
      ...(now === undefined ? {} : { now }),
    });
  }

  run(fake: FakeWorld): Promise<void> {
    // A world whose pauses take no time would look without end.
    return runAgent(fake.world, this.controller.signal, { wishPause: 'off' });
  }

  #attestation(identity: TlsIdentity): AttestationService {
    return {
      attest: (outgoing) => {
        const stream = this.streams.shift();
        if (stream === undefined) this.controller.abort();
        return (stream ?? failing('CANCELLED'))(outgoing[Symbol.asyncIterator](), identity);
      },
    };
  }
}
