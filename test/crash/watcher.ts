/** Somebody who watches results with a filter, remembers all that he heard, and goes on from his last token whatever happens. */
import { setTimeout as delay } from 'node:timers/promises';

import { RpcError } from '../../proto/rpc-error.ts';
import type { AssayClient } from '../../client/sdk/client.ts';
import type { WatchNotice } from '../../client/sdk/watch.ts';
import type { ResultFilter } from '../../server/store/filters.ts';
import type { TrustStatus as StatusWord } from '../../client/sdk/resources.ts';
import type { Heard } from './model/check-watch.ts';
import { toldResult } from './tellings.ts';

export interface WatcherOptions {
  readonly name: string;
  readonly filter: ResultFilter;
  readonly connect: () => Promise<AssayClient>;
}

const CUT_OFF: ReadonlySet<string> = new Set(['UNAVAILABLE', 'CANCELLED']);

export class Watcher {
  readonly name: string;
  readonly filter: ResultFilter;
  readonly heard: Heard[] = [];
  readonly faults: string[] = [];
  /** How often the stream was opened. */
  streams = 0;
  readonly #connect: () => Promise<AssayClient>;
  readonly #ending = new AbortController();
  #token = '';
  #away = 0;
  #stream = new AbortController();
  #heardSomething: () => void = () => undefined;

  constructor({ name, filter, connect }: WatcherOptions) {
    this.name = name;
    this.filter = filter;
    this.#connect = connect;
  }

  /** Watches until `stop`. */
  async run(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      await delay(this.#away, undefined, { signal: this.#ending.signal }).catch(() => undefined);
      this.#away = 0;
      const client = await this.#connect();
      this.#stream = new AbortController();
      this.streams += 1;
      try {
        await this.#watch(client, AbortSignal.any([this.#stream.signal, this.#ending.signal]));
      } catch (error) {
        if (!(error instanceof RpcError) || !CUT_OFF.has(error.code)) this.faults.push(String(error));
      } finally {
        client.close();
      }
    }
  }

  stop(): void {
    this.#ending.abort();
  }

  /** Loses the stream, as if the watcher had died, and comes back by the token after so many milliseconds. */
  interrupt(away = 0): void {
    this.#away = away;
    this.#stream.abort();
  }

  /** Comes back and waits for where it stands then: everything that there was before this call was heard. */
  async catchUp(): Promise<void> {
    const from = this.heard.length;
    const streams = this.streams;
    this.interrupt();
    while (this.streams === streams || !this.heard.slice(from).some(({ kind }) => kind === 'bookmark')) {
      await new Promise<void>((resolve) => {
        this.#heardSomething = resolve;
        setTimeout(resolve, 100);
      });
    }
  }

  async #watch(client: AssayClient, signal: AbortSignal): Promise<void> {
    const { hostIds: hosts, statuses, matchLabels } = this.filter;
    const filter = { hosts, statuses: statuses.map((status) => status.toUpperCase() as StatusWord), matchLabels };
    if (this.#token === '') this.heard.push({ kind: 'anew', heardAt: Date.now(), revision: null });
    const notices = client.results.watch(filter, { signal, resumeToken: this.#token });
    for await (const notice of notices) {
      // Another connection finds a new service sooner than one that pauses between tries.
      if (notice.kind === 'interrupted') return;
      this.#hear(notice);
    }
  }

  #hear(notice: Exclude<WatchNotice, { readonly kind: 'interrupted' }>): void {
    if (notice.kind === 'relisting') {
      this.faults.push(`was told to start over: ${notice.reason}`);
      return;
    }
    this.#token = notice.resumeToken;
    const position = { heardAt: Date.now(), revision: revisionOf(notice.resumeToken) };
    this.heard.push(heardOf(notice, this.name, position));
    this.#heardSomething();
  }
}

function heardOf(
  notice: Exclude<WatchNotice, { readonly kind: 'interrupted' | 'relisting' }>,
  to: string,
  position: Pick<Heard, 'heardAt' | 'revision'>,
): Heard {
  switch (notice.kind) {
    case 'change': {
      const result = toldResult(notice.result, { to, askedAt: 0, heardAt: position.heardAt });
      return { kind: notice.initial ? 'initial' : 'change', result, ...position };
    }
    case 'removal':
      return { kind: 'removal', hostId: idOf(notice.host), reason: notice.reason, ...position };
    case 'validity': {
      const { host, revision, validUntil, confirmations } = notice;
      const confirmed = { of: Number(revision), confirmations: Number(confirmations) };
      return {
        kind: 'validity',
        hostId: idOf(host),
        validUntil: validUntil?.getTime() ?? 0,
        ...confirmed,
        ...position,
      };
    }
    case 'bookmark':
      return { kind: 'bookmark', synced: notice.synced, ...position };
  }
}

function idOf(host: string): string {
  return host.replace(/^hosts\//, '');
}

/** Tokens are the service's own affair; this test looks into them to know behind which revision a message stands. */
function revisionOf(token: string): number | null {
  if (token === '') return null;
  const [, revision] = JSON.parse(Buffer.from(token, 'base64url').toString()) as [string, number, number];
  return revision;
}
