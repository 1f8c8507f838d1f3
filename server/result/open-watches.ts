import { WatchError } from './watch-error.ts';

/** Of one caller: an engine has one for each replica, and for a while the one of each connection that was lost unnoticed. */
export const MAX_OF_CALLER = 256;
/** Of all: with the 256 KiB of messages that may wait for each, 1 GiB. */
export const MAX_WATCHES = 4_096;

/** Counts the watches that are open in this process, so that what they hold is bounded, and one caller leaves room for others. */
export class OpenWatches {
  readonly #callers = new Map<string, number>();
  #open = 0;

  /**
   * Takes the place of a watch; the returned function, called once, gives it back.
   * @throws WatchError WATCH_LIMIT where there is none
   */
  enter(caller: string): () => void {
    const own = this.#callers.get(caller) ?? 0;
    if (own >= MAX_OF_CALLER) throw new WatchError('WATCH_LIMIT', `${own} watches of this identity are open already`);
    if (this.#open >= MAX_WATCHES) throw new WatchError('WATCH_LIMIT', 'enough watches are open already');
    this.#callers.set(caller, own + 1);
    this.#open += 1;
    return () => this.#leave(caller);
  }

  #leave(caller: string): void {
    this.#open -= 1;
    const left = (this.#callers.get(caller) ?? 0) - 1;
    if (left > 0) this.#callers.set(caller, left);
    else this.#callers.delete(caller);
  }
}
