/**
 * What a handler of a stream answers that sends its messages itself: `send` resolves when the next one may follow, and rejects where the
 * call has ended. What a generator would do, without a promise for each of the calls that a message passes through.
 */
export class Sending<T> {
  readonly produce: (send: (message: T) => Promise<void>) => Promise<void>;

  constructor(produce: (send: (message: T) => Promise<void>) => Promise<void>) {
    this.produce = produce;
  }
}
