import type { Beats, Sleeper } from './beats.ts';
import type { AgentMessage } from './messages.ts';

/** What a wait ended with. */
export type Arrival =
  | { readonly kind: 'message'; readonly message: AgentMessage }
  | { readonly kind: 'ended' }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'woken' };

interface Waiting {
  readonly resolve: (arrival: Arrival) => void;
  readonly reject: (error: unknown) => void;
  readonly wakeable: boolean;
  /** At which the time of the wait is over. */
  readonly beat: number;
}

const WOKEN: Arrival = { kind: 'woken' };
const TIMEOUT: Arrival = { kind: 'timeout' };
const ENDED: Arrival = { kind: 'ended' };

/**
 * The messages of one stream, waited for together with time and with wake-ups. A message that arrives while nobody waits stays
 * where it is: the transport is read one message at a time.
 */
export class Inbox implements Sleeper {
  readonly #messages: AsyncIterator<AgentMessage>;
  readonly #beats: Beats;
  /** A read of the transport that has not been waited for to its end. */
  #reading = false;
  /** What such a read brought while nobody waited. */
  #kept: { readonly arrival: Arrival } | { readonly error: Error } | null = null;
  #woken = false;
  #waiting: Waiting | null = null;

  constructor(messages: AsyncIterable<AgentMessage>, beats: Beats) {
    this.#messages = messages[Symbol.asyncIterator]();
    this.#beats = beats;
  }

  /** Ends the present wait, or else the next one. */
  wake(): void {
    if (this.#waiting?.wakeable === true) this.#stopWaiting()?.resolve(WOKEN);
    else this.#woken = true;
  }

  /** The time of the present wait is over. */
  rise(): void {
    this.#stopWaiting()?.resolve(TIMEOUT);
  }

  /** The next message, or why it was not waited for any longer. `wakeable` false: wake-ups wait for a later call. */
  next({ timeout, wakeable }: { readonly timeout: number; readonly wakeable: boolean }): Promise<Arrival> {
    if (wakeable && this.#woken) {
      this.#woken = false;
      return Promise.resolve(WOKEN);
    }
    const kept = this.#kept;
    if (kept !== null) {
      this.#kept = null;
      return 'error' in kept ? Promise.reject(kept.error) : Promise.resolve(kept.arrival);
    }
    return new Promise((resolve, reject) => {
      const beat = this.#beats.join(this, Math.max(0, timeout));
      this.#waiting = { resolve, reject, wakeable, beat };
      if (!this.#reading) this.#read();
    });
  }

  #read(): void {
    this.#reading = true;
    this.#messages.next().then(
      ({ done, value }) => {
        this.#reading = false;
        const arrival: Arrival = done === true ? ENDED : { kind: 'message', message: value };
        const waiting = this.#stopWaiting();
        if (waiting === null) this.#kept = { arrival };
        else waiting.resolve(arrival);
      },
      (error: unknown) => {
        this.#reading = false;
        const waiting = this.#stopWaiting();
        if (waiting === null) this.#kept = { error: error instanceof Error ? error : new Error(String(error)) };
        else waiting.reject(error);
      },
    );
  }

  #stopWaiting(): Waiting | null {
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting !== null) this.#beats.leave(this, waiting.beat);
    return waiting;
  }
}
