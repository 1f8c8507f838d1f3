import { afterEach, beforeEach } from 'vitest';

import { ChangeFeed } from '../../../server/result/feed.ts';
import { watchResults } from '../../../server/result/watch.ts';
import type { WatchEvent, WatchOptions } from '../../../server/result/watch.ts';
import type { ResultFilter } from '../../../server/store/filters.ts';
import type { Store } from '../../../server/store/store.ts';
import { openTestStore } from '../../support/test-service.ts';
import { commit, NO_FILTER, round, verdict } from '../store/fixtures.ts';
import { FakeClock } from '../store/contract/harness.ts';

/** Who watches in these tests. */
export const SIGNING = { holder: 'identities/watcher', masters: [{ version: 1, secret: Buffer.alloc(32, 7) }] };

interface Source {
  readonly store: WatchOptions['store'];
  readonly feed: ChangeFeed;
}

interface WatchChange {
  /** Another feed than that of the test. */
  readonly feed?: ChangeFeed;
  readonly filter?: Partial<ResultFilter>;
  readonly resumeToken?: string;
}

/** A watcher that notes what it hears. */
export class Watcher {
  /** All but idle bookmarks. */
  readonly events: WatchEvent[] = [];
  readonly idle: WatchEvent[] = [];
  readonly #abort = new AbortController();
  readonly #ended: Promise<unknown>;
  #heard: () => void = () => undefined;

  /** Pages that were read for all watchers of the feed. */
  readonly reads: () => number;

  constructor(from: Source, change: WatchChange) {
    this.reads = () => from.feed.reads;
    this.#ended = this.#listen(from, { ...NO_FILTER, ...change.filter }, change.resumeToken ?? '');
  }

  /** The first so many events. */
  async take(count: number): Promise<readonly WatchEvent[]> {
    const end = Date.now() + 60_000;
    while (this.events.length < count) {
      if (Date.now() > end) throw new Error(`heard ${JSON.stringify(this.events.map(brief))}, not ${count} events`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#heard = resolve;
      setTimeout(resolve, 100);
      await promise;
    }
    return this.events.slice(0, count);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended.catch(() => undefined);
  }

  get ended(): Promise<unknown> {
    return this.#ended;
  }

  async #listen(from: Source, filter: ResultFilter, resumeToken: string): Promise<void> {
    const options = { ...from, filter, signing: SIGNING, resumeToken, signal: this.#abort.signal };
    for await (const event of watchResults(options)) {
      (event.kind === 'bookmark' && !event.synced ? this.idle : this.events).push(event);
      this.#heard();
    }
  }
}

export function brief(event: WatchEvent): string {
  switch (event.kind) {
    case 'change':
      return `${event.initial ? 'initial' : 'change'} ${event.result.hostId} ${event.result.status} ${event.result.revision}`;
    case 'removal':
      return `removal ${event.hostId} ${event.reason}`;
    case 'validity':
      return `validity ${event.confirmation.hostId} ${event.confirmation.confirmations}`;
    case 'bookmark':
      return event.synced ? 'synced' : 'bookmark';
  }
}

/** A store with a feed, and whoever watches it, for each test of a file. */
export interface Watching {
  readonly store: Store;
  readonly clock: FakeClock;
  /** Looks at the store often, and writes what expires. */
  readonly feed: ChangeFeed;
  watch(change?: WatchChange): Watcher;
  /** Whoever watches from now on does so from a feed that has read nothing yet, as after a restart. */
  renewFeed(): Promise<void>;
  /** A feed that looks at hints alone: nobody writes what expires. */
  quietFeed(): Promise<ChangeFeed>;
  /** A round after which the host is contraindicated. */
  turned(hostId: string): Promise<void>;
}

export function givenWatching(): Watching {
  let clock: FakeClock;
  let opened: Awaited<ReturnType<typeof openTestStore>>;
  let feed: ChangeFeed;
  const watchers: Watcher[] = [];
  const startFeed = async (): Promise<void> => {
    feed = new ChangeFeed({ store: opened.store, pollInterval: 10, onError: () => undefined });
    await feed.start();
  };
  const feeds: ChangeFeed[] = [];
  beforeEach(async () => {
    clock = new FakeClock();
    opened = await openTestStore(clock);
    await startFeed();
  });
  afterEach(async () => {
    for (const watcher of watchers.splice(0)) await watcher.stop();
    for (const each of [feed, ...feeds.splice(0)]) each.close();
    await opened.close();
  });
  return {
    get store() {
      return opened.store;
    },
    get clock() {
      return clock;
    },
    get feed() {
      return feed;
    },
    quietFeed: async () => {
      const quiet = new ChangeFeed({ store: opened.store, pollInterval: 60_000, onError: () => undefined });
      feeds.push(quiet);
      await quiet.start();
      return quiet;
    },
    watch: (change = {}) => {
      const watcher = new Watcher({ store: opened.store, feed: change.feed ?? feed }, change);
      watchers.push(watcher);
      return watcher;
    },
    renewFeed: async () => {
      feed.close();
      await startFeed();
    },
    turned: async (hostId) => {
      const { store } = opened;
      const host = await store.getHost(hostId);
      if (host === null) throw new Error(`no host ${hostId}`);
      await commit(store, await round(store, hostId, { verdict: verdict(host, { status: 'contraindicated' }) }));
    },
  };
}
