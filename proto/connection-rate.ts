import { RateLimit } from './rate-limit.ts';

/** A twentieth of what an address may have open, each second, and half of that at once. */
const RATE_SHARE = 1 / 20;
const BURST_SHARE = 1 / 40;
/** What a handshake counts that failed: whoever connects in earnest fails seldom, and a flood does nothing else. */
const FAILED_COUNTS = 10;
/** A handshake that took more bytes has brought certificates that cost time: an agent's takes 3 KiB. */
const USUAL_BYTES = 4 * 1024;
const COSTLY_BAN_SECONDS = 60;

/** How often an address may connect, and what becomes of one whose handshakes cost more than others. */
export class ConnectionRate {
  readonly #limit: RateLimit;
  readonly #banTokens: number;
  readonly #now: () => number;

  /** @param now milliseconds of a clock that never goes back */
  constructor(maxConnectionsPerAddress: number, now: () => number) {
    const rate = Math.max(2, maxConnectionsPerAddress * RATE_SHARE);
    const burst = Math.max(10, Math.floor(maxConnectionsPerAddress * BURST_SHARE));
    this.#limit = new RateLimit({ rate, burst });
    this.#banTokens = rate * COSTLY_BAN_SECONDS;
    this.#now = now;
  }

  /** Whether one more connection of this address may begin its handshake. */
  admit(address: string): boolean {
    return this.#limit.take(address, this.#now()) === 0;
  }

  /** A handshake ended before it was done. True when it was a costly one. */
  failed(address: string, bytesReceived: number): boolean {
    if (bytesReceived > USUAL_BYTES) {
      this.ban(address);
      return true;
    }
    // One that sent nothing is a probe for the port.
    if (bytesReceived > 0) this.#limit.charge(address, this.#now(), FAILED_COUNTS);
    return false;
  }

  /** Nothing of this address is taken for a minute. */
  ban(address: string): void {
    this.#limit.charge(address, this.#now(), this.#banTokens);
  }
}
