import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { ReportService } from '../../../proto/gen/assay/v1/report_pb.ts';
import { failure } from '../../support/rpc.ts';
import { goOnline } from './agent-online.ts';
import type { AgentOnline } from './agent-online.ts';

let online: AgentOnline;
beforeEach(async () => {
  online = await goOnline();
});
afterEach(async () => {
  await online.running[Symbol.asyncDispose]();
  expect(online.running.errors).toEqual([]);
});

const channel = async (name: string): Promise<Channel> =>
  online.running.connect(await online.running.identity(name, ['consumer']));
const ask = (from: Channel, zone: string, signal?: AbortSignal) =>
  from.client(ReportService).getPlatformReport({ matchLabels: { zone } }, signal === undefined ? {} : { signal });

describe('a report', () => {
  it('is made once at a time for each caller, also where he gives up and asks again; others wait for their turn', async () => {
    const { store } = online.running.house;
    const platform = store.platform.bind(store);
    const held = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    let reads = 0;
    Object.assign(store, {
      platform: async (...args: Parameters<typeof platform>) => {
        reads += 1;
        begun.resolve();
        await held.promise;
        return platform(...args);
      },
    });
    const [eve, ada] = [await channel('eve'), await channel('ada')];
    const ending = new AbortController();
    const first = failure(ask(eve, 'a', ending.signal));
    await begun.promise;
    const busy = { code: 'RESOURCE_EXHAUSTED', reason: 'REPORT_BUSY', retryDelayMillis: 2_000 };
    expect(await failure(ask(eve, 'b'))).toMatchObject(busy);
    const waiting = ask(ada, 'c');
    ending.abort();
    expect(await first).toMatchObject({ code: 'CANCELLED' });
    expect(await failure(ask(eve, 'd'))).toMatchObject(busy);
    expect(reads).toBe(1);
    held.resolve();
    expect((await waiting).report).toMatchObject({ hostCount: 0n });
    await expect.poll(async () => (await ask(eve, 'e').catch(() => null))?.report?.hostCount).toBe(0n);
  });
});
