import type { Worker } from 'node:worker_threads';
import { StoreError, type StoreErrorCode } from './store.ts';

/** A call, as it travels to a store's worker thread. */
export interface CallMessage {
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
  /** The store's clock when the call was made, milliseconds. */
  readonly now: number;
}

/** Its answer. Id 0 answers the start of the worker. */
export type AnswerMessage =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly code: StoreErrorCode; readonly message: string };

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: StoreError) => void;
}

/** Calls into a worker thread, answered in the order of their posting. A worker that ends fails every call, present and later. */
export class WorkerLink {
  readonly #worker: Worker;
  readonly #onRefusal: (error: StoreError) => void;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #ended: StoreError | null = null;

  /** `onFailure` hears of a worker that ended by itself, `onRefusal` of each call that the worker could not carry out. */
  constructor(
    worker: Worker,
    onFailure: (error: StoreError) => void,
    onRefusal: (error: StoreError) => void = () => undefined,
  ) {
    this.#worker = worker;
    this.#onRefusal = onRefusal;
    const fail = (message: string, cause?: unknown): void => {
      if (this.#ended !== null) return;
      const error = new StoreError('failed', message, cause === undefined ? {} : { cause });
      this.#end(error);
      onFailure(error);
    };
    worker.on('message', (answer: AnswerMessage) => this.#settle(answer));
    worker.on('messageerror', (error) => fail('an answer of the store could not be read', error));
    worker.on('error', (error) => fail('the store has failed', error));
    worker.on('exit', (code) => fail(`the store has ended with code ${code}`));
  }

  /** Resolves with what the worker says once it is ready. */
  started(): Promise<unknown> {
    return this.#wait(0);
  }

  call(method: string, args: readonly unknown[], now: number, transfer: readonly ArrayBuffer[] = []): Promise<unknown> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    const message: CallMessage = { id, method, args, now };
    const answer = this.#wait(id);
    try {
      this.#worker.postMessage(message, transfer);
    } catch (error) {
      this.#waiting.get(id)?.reject(new StoreError('failed', `a call of ${method} cannot be posted`, { cause: error }));
      this.#waiting.delete(id);
    }
    return answer;
  }

  /** Ends the worker; later calls get the error. */
  async end(error: StoreError): Promise<void> {
    this.#end(error);
    await this.#worker.terminate();
  }

  #wait(id: number): Promise<unknown> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
  }

  #settle(answer: AnswerMessage): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.ok) {
      waiting?.resolve(answer.value);
      return;
    }
    const error = new StoreError(answer.code, answer.message);
    waiting?.reject(error);
    this.#onRefusal(error);
  }

  #end(error: StoreError): void {
    this.#ended = error;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(error);
  }
}
