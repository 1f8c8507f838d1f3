import { Worker } from 'node:worker_threads';
import type { ReaderInput } from './sqlite/open.ts';
import { StoreError } from './store.ts';
import { WorkerLink } from './worker-link.ts';

export interface ReaderOptions {
  readonly directory: string;
  readonly worker: URL;
  readonly onFailure: (error: StoreError) => void;
  readonly onRefusal: (error: StoreError) => void;
}

/**
 * A thread that reads beside the one that writes, for what looks at all hosts: each call sees one state of the store, and nobody waits
 * for it. It begins with the first call, and anew where it has ended.
 */
export class SqliteReader {
  readonly #options: ReaderOptions;
  #link: Promise<WorkerLink> | null = null;
  #closed = false;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  async call(method: string, args: readonly unknown[], now: number): Promise<unknown> {
    // A thread that begins now would outlive the store.
    if (this.#closed) throw new StoreError('closed', 'the store is closed');
    this.#link ??= this.#start();
    return (await this.#link).call(method, args, now);
  }

  /** Resolves when the database is closed, after the calls that are under way. */
  async close(now: number): Promise<void> {
    this.#closed = true;
    const link = await this.#link?.catch(() => null);
    if (link === null || link === undefined) return;
    // One that has failed is closed.
    await link.call('close', [], now).catch(() => undefined);
    await link.end(new StoreError('closed', 'the store is closed'));
  }

  async #start(): Promise<WorkerLink> {
    const { directory, worker, onFailure, onRefusal } = this.#options;
    const input: ReaderInput = { readsFrom: directory };
    const failed = (error: StoreError): void => {
      this.#link = null;
      onFailure(error);
    };
    const link = new WorkerLink(new Worker(worker, { workerData: input, name: 'store-reader' }), failed, onRefusal);
    try {
      await link.started();
      return link;
    } catch (error) {
      this.#link = null;
      await link.end(new StoreError('closed', 'the store could not be opened', { cause: error }));
      throw error;
    }
  }
}
