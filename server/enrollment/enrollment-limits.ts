import { EnrollmentError } from './enrollment-error.ts';
import { RateLimit } from '../../proto/rate-limit.ts';

/** Of everybody together: making credentials for a P-521 EK costs 9 ms of CPU. */
const ALL = { rate: 50, burst: 500 };
/** Of one address, or of one /64 of IPv6; a rack behind one address still enrols in seconds. */
const PER_ADDRESS = { rate: 10, burst: 100 };
/** Of one TPM that has proven itself: an agent that goes in circles, not a stranger who names the TPM's EK. */
const PER_EK = { rate: 0.2, burst: 20 };
/** Enrolments whose proof is remembered: all that can be begun in the life of one, several times over. */
const MAX_PROOFS = 10_000;

/** How often enrolments may be begun and completed. Every refusal says when to try again. */
export class EnrollmentLimits {
  readonly #all = new RateLimit(ALL);
  readonly #addresses = new RateLimit(PER_ADDRESS);
  readonly #allProofs = new RateLimit(ALL);
  readonly #proofsOfAddresses = new RateLimit(PER_ADDRESS);
  readonly #eks = new RateLimit(PER_EK);
  /** Ids in hexadecimal, the oldest first. */
  readonly #proofs = new Set<string>();
  readonly #now: () => number;

  /** @param now the store's clock */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Before anything is computed. The address is asked first: one address cannot use up what is there for all. */
  checkBegin(addressBlock: string): void {
    const now = this.#now();
    const wait = this.#addresses.take(addressBlock, now) || this.#all.take('', now);
    if (wait > 0) throw tooMany('too many enrolments are begun', wait);
  }

  /** Before a message of it is read. An enrolment is completed as often as it is begun, so the rates are the same. */
  checkComplete(addressBlock: string): void {
    const now = this.#now();
    const wait = this.#proofsOfAddresses.take(addressBlock, now) || this.#allProofs.take('', now);
    if (wait > 0) throw tooMany('too many enrolments are completed', wait);
  }

  /**
   * Before what costs time of a proof is looked at, and after its HMAC, so that nobody uses up the enrolment of another: one proof
   * for each enrolment. That it is completed once, at all replicas, is the store's to see to.
   */
  checkProof(enrollmentId: Buffer): void {
    const id = enrollmentId.toString('hex');
    if (this.#proofs.has(id))
      throw new EnrollmentError('ENROLLMENT_USED', 'this enrolment has been tried already; begin again');
    this.#proofs.add(id);
    if (this.#proofs.size <= MAX_PROOFS) return;
    const [oldest] = this.#proofs;
    if (oldest !== undefined) this.#proofs.delete(oldest);
  }

  /** After the proof, so that nobody uses up the limit of another's TPM. */
  checkProven(ekFingerprint: string): void {
    const wait = this.#eks.take(ekFingerprint, this.#now());
    if (wait > 0) throw tooMany('this TPM enrols too often', wait);
  }
}

function tooMany(message: string, retryAfter: number): EnrollmentError {
  return new EnrollmentError('ENROLLMENT_RATE', message, { retryAfter });
}
