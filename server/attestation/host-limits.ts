import { RateLimit } from '../../proto/rate-limit.ts';
import { AttestationError } from './attestation-error.ts';

/** A stream has one round a second at most, and some that follow at once; an agent that comes back may leave a dead stream behind. */
const ROUNDS = { rate: 2, burst: 20 };
/** Of CreateChallenge: some are never answered, because the TPM was busy or what is asked has changed meanwhile. */
const CHALLENGES = { rate: 4, burst: 40 };
const MAX_STREAMS = 8;

/** What one host may have of the service: a host that is hostile fills neither history nor memory. */
export class HostLimits {
  readonly #rounds = new RateLimit(ROUNDS);
  readonly #challenges = new RateLimit(CHALLENGES);
  readonly #streams = new Map<string, number>();
  readonly #now: () => number;

  /** `now` never goes back. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A round of evidence that is the host's. Throws ROUND_RATE. */
  takeRound(hostId: string): void {
    const wait = this.#rounds.take(hostId, this.#now());
    if (wait > 0) throw new AttestationError('ROUND_RATE', `more than ${ROUNDS.rate} rounds a second of this host`);
  }

  /** A challenge without a stream. Throws CHALLENGE_RATE. */
  takeChallenge(hostId: string): void {
    const wait = this.#challenges.take(hostId, this.#now());
    if (wait > 0) {
      throw new AttestationError('CHALLENGE_RATE', `more than ${CHALLENGES.rate} challenges a second of this host`);
    }
  }

  /** Until {@link closeStream}. Throws STREAM_LIMIT. */
  openStream(hostId: string): void {
    const open = this.#streams.get(hostId) ?? 0;
    if (open >= MAX_STREAMS) throw new AttestationError('STREAM_LIMIT', `${MAX_STREAMS} streams of this host are open`);
    this.#streams.set(hostId, open + 1);
  }

  closeStream(hostId: string): void {
    const left = (this.#streams.get(hostId) ?? 1) - 1;
    if (left === 0) this.#streams.delete(hostId);
    else this.#streams.set(hostId, left);
  }
}
