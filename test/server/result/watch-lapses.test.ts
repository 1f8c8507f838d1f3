import { describe, expect, it } from 'vitest';

import { affirmed, commit, enrolled, MINUTE, OPERATOR, round, verdict } from '../store/fixtures.ts';
import { brief, givenWatching } from './watcher.ts';

const given = givenWatching();

describe('a watch that was away', () => {
  it('hears of a contraindication that it missed, though it is over by now, before it hears that nothing is known', async () => {
    await affirmed(given.store, 'a');
    const all = given.watch();
    const bad = given.watch({ filter: { statuses: ['contraindicated'] } });
    const [allToken, badToken] = [(await all.take(2))[1], (await bad.take(1))[0]].map(
      (event) => event?.resumeToken ?? '',
    );
    await Promise.all([all.stop(), bad.stop()]);
    await given.turned('h-a');
    given.clock.advance(10 * MINUTE);
    const early = given.watch({ resumeToken: badToken ?? '', filter: { statuses: ['contraindicated'] } });
    expect((await early.take(1)).map(brief)).toEqual(['change h-a contraindicated 3']);
    await expect.poll(() => given.store.heads()).toMatchObject({ revision: 4 });
    const late = given.watch({ resumeToken: allToken ?? '' });
    expect((await late.take(2)).map(brief)).toEqual(['change h-a contraindicated 3', 'change h-a none 4']);
    const reasons = (await late.take(2)).map((event) =>
      event.kind === 'change' ? event.result.checks.map(({ reason }) => reason) : [],
    );
    expect(reasons[1]).toEqual([...(reasons[0] ?? []), 'RESULT_EXPIRED']);
    for (const watcher of [
      early,
      given.watch({ resumeToken: badToken ?? '', filter: { statuses: ['contraindicated'] } }),
    ])
      expect((await watcher.take(2)).map(brief)).toEqual(['change h-a contraindicated 3', 'removal h-a FILTERED']);
  });

  it('hears no status that a host never had', async () => {
    const host = await affirmed(given.store, 'a');
    const first = given.watch({ filter: { statuses: ['none'] } });
    const resumeToken = (await first.take(1))[0]?.resumeToken ?? '';
    await first.stop();
    await commit(given.store, await round(given.store, 'h-a', { verdict: verdict(host, { status: 'warning' }) }));
    for (let minute = 0; minute < 12; minute += 1) {
      given.clock.advance(MINUTE);
      await commit(given.store, await round(given.store, 'h-a'));
    }
    await enrolled(given.store, 'b');
    const resumed = given.watch({ resumeToken, filter: { statuses: ['none'] } });
    expect((await resumed.take(1)).map(brief)).toEqual(['change h-b none 5']);
  });
});

describe('a watch of a status', () => {
  it.each([
    ['affirmed anew', 'FILTERED', async () => commit(given.store, await round(given.store, 'h-a'))],
    ['deleted', 'DELETED', () => given.store.deleteHost('h-a', OPERATOR)],
    ['revoked', 'FILTERED', () => given.store.revokeHost('h-a', { ...OPERATOR, reason: '' })],
  ] as const)(
    'that lists a verdict as none before its expiry is written is told when the host is %s',
    async (_name, reason, act) => {
      const { feed } = given;
      feed.close();
      await affirmed(given.store, 'a');
      given.clock.advance(10 * MINUTE);
      const quiet = await given.quietFeed();
      const watcher = given.watch({ feed: quiet, filter: { statuses: ['none'] } });
      expect((await watcher.take(2)).map(brief)).toEqual(['initial h-a none 2', 'synced']);
      await act();
      quiet.hint();
      expect((await watcher.take(3)).map(brief)[2]).toBe(`removal h-a ${reason}`);
    },
  );

  it('is told of no removal where a verdict of another status is replaced while it holds', async () => {
    const host = await affirmed(given.store, 'a');
    const watcher = given.watch({ filter: { statuses: ['none'] } });
    await watcher.take(1);
    await commit(given.store, await round(given.store, 'h-a', { verdict: verdict(host, { status: 'warning' }) }));
    await enrolled(given.store, 'b');
    expect((await watcher.take(2)).map(brief)[1]).toBe('change h-b none 4');
  });
});
