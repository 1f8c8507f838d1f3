import type { Context } from '../../proto/service.ts';
import type { StatusError } from '../../proto/status.ts';

/** A caller who takes nothing for this long while messages wait for him is cut off, milliseconds. */
const PATIENCE = 30_000;

/** Ends a call whose caller does not take a message in time. */
export class CutOff implements Disposable {
  readonly #timer: NodeJS.Timeout;
  #waiting = false;

  constructor(context: Context, tooSlow: () => StatusError) {
    this.#timer = setTimeout(() => {
      if (this.#waiting) context.fail(tooSlow());
    }, PATIENCE);
  }

  /** A message waits to be taken. */
  begin(): void {
    this.#waiting = true;
    this.#timer.refresh();
  }

  end(): void {
    this.#waiting = false;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
