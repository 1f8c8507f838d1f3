import { setImmediate } from 'node:timers/promises';

import type { Change } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { SharedChanges } from './shared-changes.ts';
import type { ReadChange } from './shared-changes.ts';
import { SharedConfirmations } from './shared-confirmations.ts';
import type { ConfirmationPage } from './shared-confirmations.ts';

/** Changes that one look at the store takes. */
const PAGE = 500;

export interface FeedOptions {
  readonly store: Pick<Store, 'now' | 'heads' | 'changesSince' | 'confirmationsSince' | 'expireResults'>;
  /** Milliseconds between two looks without a hint: what other replicas write is seen this soon. */
  readonly pollInterval: number;
  readonly onError: (error: unknown) => void;
}

/** Who hears of the changes of one host. */
export interface HostListener {
  notice(change: Change): void;
}

/**
 * Tells everybody in this process what the store says has changed. The store is looked at when a hint comes and at an interval;
 * whoever listens reads on from its own position, so that a lost hint loses nothing. Expired results are written here, too.
 */
export class ChangeFeed {
  readonly #options: FeedOptions;
  readonly #hosts = new Map<string, readonly HostListener[]>();
  readonly #waiters = new Set<() => void>();
  readonly #changes: SharedChanges;
  readonly #confirmations: SharedConfirmations;
  #timer: NodeJS.Timeout | null = null;
  #looking = false;
  #hinted = false;
  #closed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#changes = new SharedChanges(options.store);
    this.#confirmations = new SharedConfirmations(options.store);
  }

  async start(): Promise<void> {
    const heads = await this.#options.store.heads();
    this.#changes.begin(heads.revision);
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#wake();
  }

  /** Something was committed: look now. */
  hint(): void {
    this.#hinted = true;
    if (!this.#looking && !this.#closed) void this.#look();
  }

  /** Tells a listener each change of one host until {@link offHost}. */
  onHost(hostId: string, listener: HostListener): void {
    this.#hosts.set(hostId, [...(this.#hosts.get(hostId) ?? []), listener]);
  }

  offHost(hostId: string, listener: HostListener): void {
    const left = (this.#hosts.get(hostId) ?? []).filter((each) => each !== listener);
    if (left.length === 0) this.#hosts.delete(hostId);
    else this.#hosts.set(hostId, left);
  }

  /** A page of changes after a revision, for a watcher: see {@link SharedChanges.after}. */
  changesAfter(revision: number, since: number): Promise<readonly ReadChange[]> {
    return this.#changes.after(revision, since);
  }

  /** A page of confirmations after a sequence, for a watcher: see {@link SharedConfirmations.after}. */
  confirmationsAfter(
    sequence: number,
    wanted: { readonly revision: number; readonly since: number },
  ): Promise<ConfirmationPage> {
    return this.#confirmations.after(sequence, { ...wanted, head: this.#changes.head });
  }

  /** How often the store was read for watchers so far. */
  get reads(): number {
    return this.#changes.reads + this.#confirmations.reads;
  }

  /** Resolves when there is a change after `revision`, when `timeout` milliseconds are over, or at the abort. */
  async wait(revision: number, options: { readonly timeout: number; readonly signal: AbortSignal }): Promise<void> {
    if (options.signal.aborted || this.#changes.head > revision) return;
    // Who is still there when the feed has closed asks again and again: it must not keep the event loop to itself.
    if (this.#closed) return await setImmediate();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    const timer = setTimeout(wake, options.timeout);
    this.#waiters.add(wake);
    options.signal.addEventListener('abort', wake, { once: true });
    await promise;
    clearTimeout(timer);
    options.signal.removeEventListener('abort', wake);
    this.#waiters.delete(wake);
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      void this.#tick();
    }, this.#options.pollInterval);
  }

  async #tick(): Promise<void> {
    try {
      while ((await this.#options.store.expireResults(PAGE)) === PAGE);
    } catch (error) {
      this.#failed(error);
    }
    await this.#look();
    this.#schedule();
  }

  async #look(): Promise<void> {
    if (this.#looking || this.#closed) return;
    this.#looking = true;
    try {
      do {
        this.#hinted = false;
        await this.#readOn();
      } while (this.#hinted);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#looking = false;
    }
  }

  async #readOn(): Promise<void> {
    const heads = await this.#options.store.heads();
    const moved = heads.revision > this.#changes.head;
    while (this.#changes.head < heads.revision) {
      const asOf = this.#options.store.now();
      const changes = await this.#options.store.changesSince(this.#changes.head, PAGE);
      if (changes.length === 0) break;
      this.#changes.append(changes, asOf);
      for (const change of changes) this.#tell(change);
    }
    if (moved) this.#wake();
  }

  /** A look that was under way when the feed was closed may find the store closed, too: no fault. */
  #failed(error: unknown): void {
    if (!this.#closed) this.#options.onError(error);
  }

  #tell(change: Change): void {
    for (const listener of this.#hosts.get(change.hostId) ?? []) {
      try {
        listener.notice(change);
      } catch (error) {
        this.#options.onError(error);
      }
    }
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}
