import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { EncodedMessage } from '../../../proto/encoded-message.ts';
import {
  AttestationResultService,
  WatchAttestationResultsResponseSchema,
} from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { Context } from '../../../proto/service.ts';
import { StatusError } from '../../../proto/status.ts';
import { MAX_OF_CALLER } from '../../../server/result/open-watches.ts';
import type { Access } from '../../../server/rpc/access.ts';
import { resultHandlers } from '../../../server/rpc/results.ts';
import { StoreError } from '../../../server/store/store.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { openHouse } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

interface Driven {
  readonly events: AsyncIterator<unknown>;
  readonly abort: AbortController;
  readonly draining: AbortController;
  /** The call holds nothing any more. */
  readonly release: () => void;
}

describe('a watch as the bridge drives it', () => {
  let house: House;
  let handlers: ReturnType<typeof resultHandlers>;
  const filling: Driven[] = [];
  beforeAll(async () => {
    house = await openHouse();
    const access = {
      keepChecking: () => ({ [Symbol.dispose]: () => undefined }),
      scope: () => ({}),
      actor: ({ requestId }: Context) => ({ actor: `identities/${requestId}` }),
    } as unknown as Access;
    // All that a watch needs of what the handlers share.
    const keys = { current: { tokenMasters: [{ version: 1, secret: Buffer.alloc(32, 7) }] } };
    handlers = resultHandlers({ access, store: house.store, feed: house.feed, keys } as unknown as Parameters<
      typeof resultHandlers
    >[0]);
    for (let count = 1; count < MAX_OF_CALLER; count++) filling.push(await open());
  });
  afterAll(async () => {
    for (const { events } of filling) await events.return?.();
    await house[Symbol.asyncDispose]();
  });

  function drive({ caller = 'ada', resumeToken = '', held = false } = {}): Driven {
    const abort = new AbortController();
    const draining = new AbortController();
    const released = Promise.withResolvers<void>();
    const context = {
      requestId: caller,
      signal: abort.signal,
      draining: draining.signal,
      fail: (error: StatusError) => abort.abort(error),
      onReleased: (listener: () => void) => (held ? void released.promise.then(listener) : listener()),
    } as unknown as Context;
    const request = { resumeToken, filter: undefined } as never;
    const events = handlers.watchAttestationResults(request, context)[Symbol.asyncIterator]();
    return { events, abort, draining, release: () => released.resolve() };
  }

  /** One that has told the present state, of no hosts. */
  async function open(options: Parameters<typeof drive>[0] = {}): Promise<Driven> {
    const driven = drive(options);
    const { value } = await driven.events.next();
    if (!(value instanceof EncodedMessage)) throw new Error('no message');
    expect(fromBinary(WatchAttestationResultsResponseSchema, value.bytes)).toMatchObject({
      event: { case: 'bookmark', value: { synced: true } },
    });
    return driven;
  }

  const refused = async (): Promise<void> => {
    await expect(drive().events.next()).rejects.toMatchObject({ code: 'WATCH_LIMIT' });
  };

  it.each<[string, (last: Driven) => Promise<unknown>]>([
    [
      'its caller is gone while it waits for changes',
      async ({ events, abort }) => {
        const next = events.next();
        abort.abort();
        expect(await next).toMatchObject({ done: true });
      },
    ],
    [
      'it is cut off while a message waits, as for a changed scope, a revoked identity or a caller who does not read',
      async ({ events, abort }) => {
        abort.abort(new StatusError({ code: 'OUT_OF_RANGE', reason: 'SCOPE_CHANGED', message: 'begin anew' }));
        await events.return?.();
      },
    ],
    [
      'the service drains',
      async ({ events, draining }) => {
        const next = events.next();
        draining.abort();
        await expect(next).rejects.toMatchObject({ reason: 'SHUTTING_DOWN' });
      },
    ],
    [
      'the store fails',
      async ({ events }) => {
        const broken = Object.assign(house.feed, {
          changesAfter: () => Promise.reject(new StoreError('failed', 'disk')),
        }) as { changesAfter?: unknown };
        try {
          await expect(events.next()).rejects.toMatchObject({ code: 'failed' });
        } finally {
          delete broken.changesAfter;
        }
      },
    ],
  ])('makes room when %s', async (_name, end) => {
    const last = await open();
    await refused();
    await end(last);
    const next = await open();
    await refused();
    await next.events.return?.();
  });

  it('takes no room by a token that is none', async () => {
    const { events } = drive({ resumeToken: 'x' });
    await expect(events.next()).rejects.toMatchObject({ code: 'RESUME_TOKEN_INVALID' });
    const next = await open();
    await next.events.return?.();
  });

  it('counts until its caller has read the rest or is gone', async () => {
    const last = await open({ held: true });
    last.abort.abort();
    await last.events.return?.();
    await refused();
    last.release();
    await Promise.resolve();
    const next = await open();
    await next.events.return?.();
  });

  it('is refused to nobody else', async () => {
    const last = await open();
    await refused();
    const other = await open({ caller: 'bob' });
    await other.events.return?.();
    await last.events.return?.();
  });
});

describe('10,000 watchers of one identity', () => {
  let running: Running;
  beforeEach(async () => {
    running = await startAssay();
  });
  afterEach(async () => {
    await running[Symbol.asyncDispose]();
    expect(running.errors).toEqual([]);
  });

  /** Resolves with `open` once the watch has told something, else with why it has not. */
  function watch(channel: Channel, signal?: AbortSignal): Promise<string> {
    const heard = Promise.withResolvers<string>();
    const client = channel.client(AttestationResultService);
    const watching = (async () => {
      for await (const _ of client.watchAttestationResults({}, signal === undefined ? {} : { signal })) {
        heard.resolve('open');
      }
    })();
    return Promise.race([
      heard.promise,
      failure(watching).then(({ code, reason, retryDelayMillis }) => `${code} ${reason} ${retryDelayMillis}`),
    ]);
  }

  const REFUSED = 'RESOURCE_EXHAUSTED WATCH_LIMIT 10000';

  it('are refused but for its share, which others keep beside it and it has again', async () => {
    const greedy = await running.identity('greedy', ['relying_party']);
    const other = running.connect(await running.identity('other', ['relying_party']));
    const ending = new AbortController();
    const outcomes = new Map<string, number>();
    for (let connection = 0; connection < 100; connection++) {
      const channel = running.connect(greedy);
      // The first is one to end.
      const signal = connection === 0 ? ending.signal : undefined;
      const heard = await Promise.all(Array.from({ length: 100 }, () => watch(channel, signal)));
      for (const outcome of heard) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect(Object.fromEntries(outcomes)).toEqual({ open: MAX_OF_CALLER, [REFUSED]: 10_000 - MAX_OF_CALLER });
    expect(await watch(other)).toBe('open');
    expect(await other.client(AttestationResultService).listAttestationResults({})).toMatchObject({ results: [] });

    ending.abort();
    const channel = running.connect(greedy);
    let again = 0;
    const openOne = async (): Promise<number> => (again += (await watch(channel)) === 'open' ? 1 : 0);
    await expect.poll(openOne, { interval: 2 }).toBe(100);
    expect(await watch(running.connect(greedy))).toBe(REFUSED);
  });
});
