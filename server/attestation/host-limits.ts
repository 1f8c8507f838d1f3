import { RateLimit } from '../../proto/rate-limit.ts';
import { AttestationError } from './attestation-error.ts';

/** A stream has one round a second at most, and some that follow at once; an agent that comes back may leave a dead stream behind. */
const ROUNDS = { rate: 2, burst: 20 };
const MAX_STREAMS = 8;

/** What one host may have of the service: a host that is hostile fills neither history nor memory. */
export class HostLimits {
  readonly #rounds = new RateLimit(ROUNDS);
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

  /** Until it is disposed of. Throws STREAM_LIMIT. */
  openStream(hostId: string): Disposable {
    const open = this.#streams.get(hostId) ?? 0;
    if (open >= MAX_STREAMS) throw new AttestationError('STREAM_LIMIT', `${MAX_STREAMS} streams of this host are open`);
    this.#streams.set(hostId, open + 1);
    return {
      [Symbol.dispose]: () => {
        const left = (this.#streams.get(hostId) ?? 1) - 1;
        if (left === 0) this.#streams.delete(hostId);
        else this.#streams.set(hostId, left);
      },
    };
  }
}
