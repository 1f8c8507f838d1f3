import { mkdtemp, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HostTpm } from '../../../client/agent/host-tpm.ts';
import { StateDirectory } from '../../../client/agent/state.ts';
import type { TlsIdentity } from '../../../client/agent/state-document.ts';
import { publicKeyDer, tlsKeySha256 } from '../../../client/agent/tls-key.ts';
import type { AgentConnection, World } from '../../../client/agent/world.ts';
import type { AttestationService } from '../../../client/sdk/evidence.ts';
import { FakeEnrollment } from './fake-service.ts';
import type { FakeIdentity, Tampering } from './fake-service.ts';

export interface FakeWorldOptions {
  readonly service: FakeIdentity;
  readonly tpm: () => Promise<HostTpm>;
  /** One for each connection that attests, with the identity it has. */
  readonly attestation: (identity: TlsIdentity) => AttestationService;
  readonly enrollment?: (identity: TlsIdentity) => Tampering | Error;
  /** Runs instead of a pause. */
  readonly sleep: (millis: number) => void;
  readonly now?: () => Date;
}

/** A world without network, clock and TPM; only the state directory is real. */
export class FakeWorld implements AsyncDisposable {
  readonly world: World;
  readonly statuses: string[] = [];
  readonly logged: {
    readonly level: string;
    readonly event: unknown;
    readonly sentence: string;
    readonly fields: object;
  }[] = [];
  /** SHA-256 of the TLS key of each connection that was made, and how it was used. */
  readonly enrolledUnder: TlsIdentity[] = [];
  readonly attestedUnder: TlsIdentity[] = [];
  opened = 0;
  #closed = 0;
  readonly #path: string;

  private constructor(path: string, state: StateDirectory, options: FakeWorldOptions) {
    this.#path = path;
    const at =
      (level: string) =>
      (fields: Readonly<Record<string, unknown>>, sentence: string): void =>
        void this.logged.push({ level, event: fields['event'], sentence, fields });
    this.world = {
      state,
      openTpm: async () => {
        this.opened += 1;
        return options.tpm();
      },
      connect: ({ identity }) => this.#connect(identity, options),
      read: () => Promise.resolve(Buffer.from('log')),
      fileSize: () => Promise.resolve(3),
      agentVersion: '1.2.3',
      now: options.now ?? (() => new Date()),
      random: () => 0,
      randomBytes: (size) => randomBytes(size),
      sleep: async (millis) => options.sleep(millis),
      log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
      notifier: {
        ready: () => void this.statuses.push('READY'),
        status: (text) => void this.statuses.push(text),
        stopping: () => void this.statuses.push('STOPPING'),
      },
    };
  }

  static async make(options: FakeWorldOptions): Promise<FakeWorld> {
    const path = await mkdtemp(join(tmpdir(), 'assay-world-'));
    return new FakeWorld(path, await StateDirectory.open(path, { create: true }), options);
  }

  /** Connections that are open. */
  get connections(): number {
    return this.enrolledUnder.length + this.attestedUnder.length - this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world.state.close();
    await rm(this.#path, { recursive: true, force: true });
  }

  #connect(identity: TlsIdentity, options: FakeWorldOptions): AgentConnection {
    const sha256 = tlsKeySha256(identity.privateKey);
    const tls = { sha256, publicKey: publicKeyDer(identity.privateKey) };
    return {
      enrollment: {
        begin: async (request, signal) => {
          this.enrolledUnder.push(identity);
          const tampering = options.enrollment?.(identity) ?? {};
          if (tampering instanceof Error) throw tampering;
          this.#enrollment = new FakeEnrollment(options.service, tls, tampering);
          void signal;
          return this.#enrollment.begin(request);
        },
        complete: async (parts) => {
          if (this.#enrollment === undefined) throw new TypeError('nothing was begun');
          return this.#enrollment.complete(parts);
        },
      },
      attestation: {
        attest: (outgoing, signal) => {
          this.attestedUnder.push(identity);
          return options.attestation(identity).attest(outgoing, signal);
        },
      },
      close: () => {
        this.#closed += 1;
      },
    };
  }

  #enrollment: FakeEnrollment | undefined;
}
