/**
 * The messages that `produce` sends, as the stream of a handler. A message waits until the one before it has been taken, and
 * `send` resolves when the next one is asked for. `produce` begins with the first; where nobody takes any more, `send` rejects.
 *
 * What a generator would do, without a promise for each of the calls that a message passes through.
 */
export function outgoing<T>(produce: (send: (message: T) => Promise<void>) => Promise<void>): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => new Outgoing(produce) };
}

type Taker<T> = PromiseWithResolvers<IteratorResult<T, undefined>>;

class Outgoing<T> implements AsyncIterator<T, undefined> {
  readonly #produce: (send: (message: T) => Promise<void>) => Promise<void>;
  #running: Promise<void> | null = null;
  /** Who waits for a message. */
  #taker: Taker<T> | null = null;
  /** Who has sent one and waits for its leave to go on. */
  #sender: PromiseWithResolvers<void> | null = null;
  #over = false;

  constructor(produce: (send: (message: T) => Promise<void>) => Promise<void>) {
    this.#produce = produce;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#over) return Promise.resolve({ done: true, value: undefined });
    if (this.#taker !== null) return Promise.reject(new TypeError('two takers of one stream'));
    const taker = Promise.withResolvers<IteratorResult<T, undefined>>();
    this.#taker = taker;
    const sender = this.#sender;
    this.#sender = null;
    if (this.#running === null) this.#running = this.#run();
    else sender?.resolve();
    return taker.promise;
  }

  /** Resolves when `produce` has ended. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.#over = true;
    this.#sender?.reject(notTaken());
    this.#sender = null;
    await this.#running;
    return { done: true, value: undefined };
  }

  async #run(): Promise<void> {
    try {
      await this.#produce((message) => this.#send(message));
      this.#end()?.resolve({ done: true, value: undefined });
    } catch (error) {
      // Where nobody takes any more, nobody asks why it ended.
      this.#end()?.reject(error);
    }
  }

  #end(): Taker<T> | null {
    this.#over = true;
    const taker = this.#taker;
    this.#taker = null;
    return taker;
  }

  #send(message: T): Promise<void> {
    if (this.#over) return Promise.reject(notTaken());
    const taker = this.#taker;
    if (taker === null) return Promise.reject(new TypeError('a message was sent before the one before it was taken'));
    this.#taker = null;
    const sender = Promise.withResolvers<void>();
    this.#sender = sender;
    taker.resolve({ done: false, value: message });
    return sender.promise;
  }
}

function notTaken(): Error {
  return new Error('nobody takes the messages of this stream any more');
}
