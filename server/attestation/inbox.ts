import type { AgentMessage } from './messages.ts';

/** What a wait ended with. */
export type Arrival =
  | { readonly kind: 'message'; readonly message: AgentMessage }
  | { readonly kind: 'ended' }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'woken' };

/**
 * The messages of one stream, waited for together with time and with wake-ups. A message that arrives while nobody waits stays
 * where it is: the transport is read one message at a time.
 */
export class Inbox {
  readonly #messages: AsyncIterator<AgentMessage>;
  #pending: Promise<Arrival> | null = null;
  #woken = false;
  #wake: (() => void) | null = null;

  constructor(messages: AsyncIterable<AgentMessage>) {
    this.#messages = messages[Symbol.asyncIterator]();
  }

  /** Ends the present wait, or else the next one. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** The next message, or why it was not waited for any longer. `wakeable` false: wake-ups wait for a later call. */
  async next(options: { readonly timeout: number; readonly wakeable: boolean }): Promise<Arrival> {
    if (options.wakeable && this.#takeWake()) return { kind: 'woken' };
    const { promise: stop, resolve } = Promise.withResolvers<Arrival>();
    const timer = setTimeout(() => resolve({ kind: 'timeout' }), Math.min(Math.max(0, options.timeout), 0x7fff_ffff));
    if (options.wakeable) this.#wake = () => resolve({ kind: 'woken' });
    this.#pending ??= this.#read();
    try {
      const arrival = await Promise.race([this.#pending, stop]);
      if (arrival.kind === 'message' || arrival.kind === 'ended') this.#pending = null;
      if (arrival.kind === 'woken') this.#woken = false;
      return arrival;
    } catch (error) {
      this.#pending = null;
      throw error;
    } finally {
      clearTimeout(timer);
      this.#wake = null;
    }
  }

  #takeWake(): boolean {
    const woken = this.#woken;
    this.#woken = false;
    return woken;
  }

  async #read(): Promise<Arrival> {
    const next = await this.#messages.next();
    return next.done === true ? { kind: 'ended' } : { kind: 'message', message: next.value };
  }
}
