/**
 * The messages of a stream whose handler sends them as they come, where another one would be asked for each: while nothing comes, no
 * promise of the next message is held, nor anything that waits for it.
 */
export class Outgoing<T> {
  /** Ends with the stream. `send` resolves when the next message may follow, and rejects where the call has ended. */
  readonly produce: (send: (message: T) => Promise<void>) => Promise<void>;

  constructor(produce: (send: (message: T) => Promise<void>) => Promise<void>) {
    this.produce = produce;
  }
}
