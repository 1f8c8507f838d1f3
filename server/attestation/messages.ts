import type { ClaimedFacts } from '../../proto/transcript.ts';
import type { PcrBankSelection } from '../../tpm/structures/pcr-selection.ts';
import type { LogKind, ResultRecord } from '../store/records.ts';
import type { AnnouncedLog, LogChunk } from '../verifier/collect-logs.ts';
import type { Evidence } from '../verifier/verify-evidence.ts';
import type { AgentCaller } from './check-host.ts';

/** The TPM's counters as the agent read them: a hint only. */
export interface BootHint {
  readonly resetCount: number;
  readonly restartCount: number;
}

/** Evidence of one round as it arrived. */
export interface RoundEvidence extends Evidence {
  readonly facts: ClaimedFacts;
  readonly logs: readonly AnnouncedLog[];
  /** SubjectPublicKeyInfo, DER; empty when the client certificate needs no renewal. */
  readonly newTlsPublicKey: Buffer;
}

export interface Hello {
  /** Hex. */
  readonly akName: string;
  readonly boot: BootHint;
}

export type AgentMessage =
  | ({ readonly kind: 'hello' } & Hello)
  | { readonly kind: 'evidence'; readonly evidence: RoundEvidence }
  | { readonly kind: 'chunk'; readonly chunk: LogChunk }
  | { readonly kind: 'wish' };

/** What a host is asked for. */
export interface Challenge {
  readonly nonce: Buffer;
  readonly selection: readonly PcrBankSelection[] | 'all';
  readonly logs: readonly { readonly kind: LogKind; readonly offset: number }[];
  /** The store's clock when it was drawn, milliseconds. */
  readonly time: number;
}

export interface Renewal {
  readonly clientCertificate: Buffer;
}

export type ServiceMessage =
  | { readonly kind: 'challenge'; readonly challenge: Challenge }
  | { readonly kind: 'result'; readonly result: ResultRecord }
  | { readonly kind: 'renewal'; readonly renewal: Renewal }
  | { readonly kind: 'torn'; readonly attempt: number }
  | { readonly kind: 'pending' };

/** From a challenge to the next one, milliseconds. */
export interface Pause {
  readonly since: number;
  readonly delay: number;
}

export interface StreamOptions {
  readonly caller: AgentCaller;
  readonly messages: AsyncIterable<AgentMessage>;
  /** Resolves when the next message may follow. */
  readonly send: (message: ServiceMessage) => Promise<void>;
  /** Aborts when the service stops: the stream ends between two rounds, and nothing is held against the host. */
  readonly draining: AbortSignal;
}
