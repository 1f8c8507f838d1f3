/** What the service told somebody, as he heard it; the history that the store holds afterwards must agree with all of it. */
import type { AttestationResult } from '../../client/sdk/resources.ts';
import type { TrustStatus } from '../../server/store/records.ts';

/** A result that was told. Times in milliseconds since 1970. */
export interface ToldResult {
  /** `h-…` */
  readonly hostId: string;
  readonly revision: number;
  readonly status: TrustStatus;
  readonly evidenceDigest: string;
  /** 0 where there was none. */
  readonly challengeTime: number;
  readonly validUntil: number | null;
  readonly confirmations: number;
  /** `agent`, `operator` or the name of a watcher. */
  readonly to: string;
  /** Before the service was asked; the beginning of the run where it was not. */
  readonly askedAt: number;
  readonly heardAt: number;
}

/** An enrolment that the agent has verified and heard of. */
export interface ToldEnrollment {
  readonly hostId: string;
  /** Hex. */
  readonly akName: string;
  readonly replacementPending: boolean;
}

export function toldResult(
  result: AttestationResult,
  heard: Pick<ToldResult, 'to' | 'askedAt' | 'heardAt'>,
): ToldResult {
  return {
    hostId: result.host.replace(/^hosts\//, ''),
    revision: Number(result.revision),
    status: result.status.toLowerCase() as TrustStatus,
    evidenceDigest: typeof result.json['evidenceDigest'] === 'string' ? result.json['evidenceDigest'] : '',
    challengeTime: result.challengeTime?.getTime() ?? 0,
    validUntil: result.validUntil?.getTime() ?? null,
    confirmations: Number(result.confirmations),
    ...heard,
  };
}
