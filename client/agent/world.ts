import type { AttestationService, EnrollmentService } from '../sdk/evidence.ts';
import type { Sleep } from '../sdk/backoff.ts';
import type { ReadPart } from './collect.ts';
import type { HostTpm } from './host-tpm.ts';
import type { Notifier } from './notify.ts';
import type { TlsIdentity } from './state-document.ts';
import type { StateDirectory } from './state.ts';

/** Structured log; `fields` hold facts, never secrets or nonces, and the sentence is for people. */
export interface AgentLog {
  debug(fields: Readonly<Record<string, unknown>>, sentence: string): void;
  info(fields: Readonly<Record<string, unknown>>, sentence: string): void;
  warn(fields: Readonly<Record<string, unknown>>, sentence: string): void;
  error(fields: Readonly<Record<string, unknown>>, sentence: string): void;
}

/** One connection under one TLS identity. */
export interface AgentConnection {
  readonly enrollment: EnrollmentService;
  readonly attestation: AttestationService;
  close(): void;
}

/** What the agent needs of the world around it; main.ts has the real one, tests have fakes. */
export interface World {
  readonly state: StateDirectory;
  readonly openTpm: (tcti: string) => Promise<HostTpm>;
  /** Connects to the service of the state; the server's certificate is checked under the given authority. */
  readonly connect: (options: {
    readonly server: string;
    readonly authority: Buffer;
    readonly identity: TlsIdentity;
  }) => AgentConnection;
  readonly read: ReadPart;
  /** Bytes of a file, as its directory entry has them: nothing is opened. */
  readonly fileSize: (path: string) => Promise<number>;
  readonly agentVersion: string;
  readonly now: () => Date;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly randomBytes: (size: number) => Buffer;
  readonly sleep: Sleep;
  readonly log: AgentLog;
  readonly notifier: Notifier;
}
