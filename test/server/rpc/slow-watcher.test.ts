import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Context } from '../../../proto/service.ts';
import type { StatusError } from '../../../proto/status.ts';
import type { Access } from '../../../server/rpc/access.ts';
import { resultHandlers } from '../../../server/rpc/results.ts';
import { Simulations } from '../../../server/rpc/simulations.ts';
import { makePolicy } from '../../support/make-policy.ts';
import { enrollMachine } from '../../support/stream-agent.ts';
import { openHouse } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
  await enrollMachine(house);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(async () => {
  vi.useRealTimers();
  await house[Symbol.asyncDispose]();
});

const access = {
  keepChecking: () => ({ [Symbol.dispose]: () => undefined }),
  scope: () => ({}),
  actor: () => ({ actor: 'identities/ada' }),
} as unknown as Access;

function call() {
  const abort = new AbortController();
  const failures: StatusError[] = [];
  const context = {
    signal: abort.signal,
    draining: new AbortController().signal,
    fail: (error: StatusError) => failures.push(error),
    onReleased: (listener: () => void) => listener(),
  } as unknown as Context;
  return { context, abort, failures };
}

/** A watch as the bridge drives it: the next event is asked for when the caller has taken the last one. */
function watch() {
  const { context, abort, failures } = call();
  const request = { resumeToken: '', filter: undefined } as never;
  // All that a watch needs of what the handlers share.
  const { store, feed } = house;
  const keys = { current: { tokenMasters: [{ version: 1, secret: Buffer.alloc(32, 7) }] } };
  const shared = { access, store, feed, keys } as unknown as Parameters<typeof resultHandlers>[0];
  const events = resultHandlers(shared).watchAttestationResults(request, context);
  return { events: events[Symbol.asyncIterator](), abort, failures };
}

it('a watcher that takes nothing for 30 s is cut off, and told to resume', async () => {
  const { events, failures, abort } = watch();
  await events.next();
  vi.advanceTimersByTime(29_999);
  expect(failures).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(failures).toMatchObject([{ code: 'RESOURCE_EXHAUSTED', reason: 'WATCHER_TOO_SLOW' }]);
  abort.abort();
  await events.return?.();
});

it('a watch that ends while a message waits is over, and leaves no clock behind', async () => {
  const { events, failures, abort } = watch();
  await events.next();
  abort.abort();
  await events.return?.();
  vi.advanceTimersByTime(30_000);
  expect(failures).toEqual([]);
});

it('a watcher that takes each event in time is not, however long it watches', async () => {
  const { events, failures, abort } = watch();
  await events.next();
  vi.advanceTimersByTime(29_000);
  await events.next();
  vi.advanceTimersByTime(29_000);
  expect(failures).toEqual([]);
  abort.abort();
  await events.return?.();
});

describe('a simulation', () => {
  const simulations = () =>
    new Simulations({
      access,
      store: house.store,
      services: house.services,
      resolve: () => makePolicy(),
      checkReferences: () => Promise.resolve(),
    });
  const change = { case: 'trustPolicy', value: {} };
  const request = { change, substitutes: [], hosts: [], matchLabels: {}, maxVerdicts: 0 } as never;

  it('whose caller takes nothing for 30 s is cut off, and its turn is another’s', async () => {
    const all = simulations();
    const slow = call();
    const events = all.run(request, slow.context);
    await events.next();
    await expect(all.run(request, call().context).next()).rejects.toMatchObject({ reason: 'SIMULATION_BUSY' });
    vi.advanceTimersByTime(29_999);
    expect(slow.failures).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(slow.failures).toMatchObject([{ code: 'RESOURCE_EXHAUSTED', reason: 'CALLER_TOO_SLOW' }]);
    await events.return(undefined);
    expect((await all.run(request, call().context).next()).done).toBe(false);
  });
});
