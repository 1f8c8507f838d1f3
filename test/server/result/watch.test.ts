import { describe, expect, it } from 'vitest';

import { ResumeTokens } from '../../../server/result/resume-tokens.ts';
import { affirmed, commit, enrolled, MINUTE, NO_FILTER, OPERATOR, round, verdict } from '../store/fixtures.ts';
import { brief, givenWatching, SIGNING } from './watcher.ts';

const given = givenWatching();

describe('a watch', () => {
  it('begins with the present results and a bookmark, and goes on with every change', async () => {
    await affirmed(given.store, 'a');
    await affirmed(given.store, 'b');
    const watcher = given.watch();
    await watcher.take(3);
    await given.turned('h-a');
    await given.store.updateHost('h-b', { labels: { zone: 'eu' } }, { ...OPERATOR, version: null });
    await enrolled(given.store, 'c');
    expect((await watcher.take(6)).map(brief)).toEqual([
      'initial h-a affirming 2',
      'initial h-b affirming 4',
      'synced',
      'change h-a contraindicated 5',
      'change h-b affirming 6',
      'change h-c none 7',
    ]);
  });

  it('of an empty service begins with a bookmark', async () => {
    const watcher = given.watch();
    expect((await watcher.take(1)).map(brief)).toEqual(['synced']);
    await enrolled(given.store, 'a');
    expect((await watcher.take(2)).map(brief)[1]).toBe('change h-a none 1');
  });

  it('gives no token to resume from before the present results are all told', async () => {
    await affirmed(given.store, 'a');
    await affirmed(given.store, 'b');
    const events = await given.watch().take(3);
    expect(events.map(({ resumeToken }) => resumeToken === '')).toEqual([true, true, false]);
  });

  it('tells of a verdict that is over as none, also before its expiry is written', async () => {
    await affirmed(given.store, 'a');
    const first = given.watch();
    const { resumeToken = '' } = (await first.take(2))[1] ?? {};
    await first.stop();
    await given.turned('h-a');
    await commit(given.store, await round(given.store, 'h-a'));
    given.feed.close();
    given.clock.advance(10 * MINUTE);
    const resumed = given.watch({ feed: await given.quietFeed(), resumeToken });
    const [turned, lapsed] = await resumed.take(2);
    // What was is told as it was: something was found.
    expect(turned).toMatchObject({ kind: 'change', result: { status: 'contraindicated' } });
    expect(lapsed).toMatchObject({ kind: 'change', result: { status: 'none', validUntil: null } });
  });

  it('tells that a host was deleted, and that a result expired, once', async () => {
    await affirmed(given.store, 'a');
    await affirmed(given.store, 'b');
    const watcher = given.watch();
    await watcher.take(3);
    await given.store.deleteHost('h-b', OPERATOR);
    await watcher.take(4);
    given.clock.advance(10 * MINUTE);
    const events = await watcher.take(5);
    expect(events.slice(3).map(brief)).toEqual(['removal h-b DELETED', expect.stringMatching(/^change h-a none/)]);
    expect(events[4]).toMatchObject({ result: { connectivity: 'unreachable', validUntil: null } });
  });
});

describe('a resumed watch', () => {
  it('hears every change exactly once, at whichever event it was cut', async () => {
    await affirmed(given.store, 'a');
    const whole = given.watch();
    await whole.take(2);
    for (let count = 0; count < 4; count++) {
      await given.turned('h-a');
      await commit(given.store, await round(given.store, 'h-a'));
    }
    await affirmed(given.store, 'b');
    await given.store.deleteHost('h-b', OPERATOR);
    const all = (await whole.take(13)).filter(({ kind }) => kind !== 'validity');
    const told = all.map(brief);
    for (const [index, { resumeToken }] of all.entries()) {
      if (resumeToken === '') continue;
      const rest = told.slice(index + 1);
      const watcher = given.watch({ resumeToken });
      const again = rest.length === 0 ? [] : await watcher.take(rest.length);
      expect(again.map(brief)).toEqual(rest);
      await watcher.stop();
    }
  });

  it('hears at once where it stands, even when nothing has changed', async () => {
    await affirmed(given.store, 'a');
    const [, bookmark] = await given.watch().take(2);
    const resumed = given.watch({ resumeToken: bookmark?.resumeToken ?? '' });
    await expect.poll(() => resumed.idle.map(brief)).toEqual(['bookmark']);
    expect(resumed.events).toEqual([]);
  });

  it('is told of a verdict that was confirmed after its change was read, and would be over without, as it is', async () => {
    await enrolled(given.store, 'a');
    const [, bookmark] = await given.watch().take(2);
    await commit(given.store, await round(given.store, 'h-a', { validity: MINUTE }));
    // The feed has read the change once a watcher hears of it.
    await given.watch({ resumeToken: bookmark?.resumeToken ?? '' }).take(1);
    given.clock.advance(MINUTE / 2);
    await commit(given.store, await round(given.store, 'h-a', { validity: MINUTE }));
    given.clock.advance(MINUTE / 2 + 1);
    const [change] = await given.watch({ resumeToken: bookmark?.resumeToken ?? '' }).take(1);
    expect(change).toMatchObject({ kind: 'change', result: { status: 'affirming', confirmations: 1 } });
  });

  it.each([
    ['no base64', '%%%'],
    ['no JSON', Buffer.from('nonsense').toString('base64url')],
    ['another shape', Buffer.from('{"a":1}').toString('base64url')],
    ['too few parts', Buffer.from('["x",1]').toString('base64url')],
    ['a revision that is no number', Buffer.from('["x","1",0,"",""]').toString('base64url')],
    ['a negative revision', Buffer.from('["x",-1,0,"",""]').toString('base64url')],
    ['a revision that is no whole number', Buffer.from('["x",1.5,0,"",""]').toString('base64url')],
    ['a huge revision', Buffer.from('["x",1e300,0,"",""]').toString('base64url')],
    ['a scope that is no text', Buffer.from('["x",1,0,7,""]').toString('base64url')],
    ['600 bytes', 'a'.repeat(600)],
  ])('from a token that is %s is refused', async (_name, resumeToken) => {
    await expect(given.watch({ resumeToken }).ended).rejects.toMatchObject({ code: 'RESUME_TOKEN_INVALID' });
  });

  it('from a token of another incarnation is refused: the client must list anew', async () => {
    const resumeToken = Buffer.from(JSON.stringify(['another', 0, 0, '', ''])).toString('base64url');
    await expect(given.watch({ resumeToken }).ended).rejects.toMatchObject({ code: 'INCARNATION_CHANGED' });
  });

  it('from a revision that is no longer kept, or was never given, is refused', async () => {
    await affirmed(given.store, 'a');
    const first = given.watch();
    const [, bookmark] = await first.take(2);
    await first.stop();
    for (let count = 0; count < 3; count++)
      await given.turned('h-a').then(async () => commit(given.store, await round(given.store, 'h-a')));
    given.clock.advance(1);
    expect(await given.store.compact(given.store.now())).toBeGreaterThan(0);
    await given.renewFeed();
    await expect(given.watch({ resumeToken: bookmark?.resumeToken ?? '' }).ended).rejects.toMatchObject({
      code: 'REVISION_GONE',
    });
    const { incarnation } = given.store;
    const tokens = new ResumeTokens({ incarnation, filter: NO_FILTER, ...SIGNING });
    const future = tokens.encode({ revision: 10_000, confirmation: 0 });
    await expect(given.watch({ resumeToken: future }).ended).rejects.toMatchObject({ code: 'REVISION_GONE' });
  });
});

describe('a watch with a scope', () => {
  const label = (id: string, labels: Readonly<Record<string, string>>) =>
    given.store.updateHost(id, { labels }, { ...OPERATOR, version: null });

  it('is told that a host left when it is relabelled out of it, and of a new one when it is relabelled into it', async () => {
    await affirmed(given.store, 'a');
    await affirmed(given.store, 'b');
    await label('h-a', { tenant: 'red' });
    const watcher = given.watch({ filter: { scope: { tenant: 'red' } } });
    await watcher.take(2);
    await label('h-a', { tenant: 'blue' });
    await given.turned('h-a');
    await given.store.deleteHost('h-a', OPERATOR);
    await given.turned('h-b');
    await label('h-b', { tenant: 'red', rack: '1' });
    expect((await watcher.take(4)).map(brief)).toEqual([
      'initial h-a affirming 5',
      'synced',
      'removal h-a FILTERED',
      expect.stringMatching(/^change h-b contraindicated/),
    ]);
  });

  it('hears no confirmation of a host outside of it', async () => {
    for (const name of ['a', 'b']) await affirmed(given.store, name);
    await label('h-a', { tenant: 'red' });
    const watcher = given.watch({ filter: { scope: { tenant: 'red' } } });
    await watcher.take(2);
    for (const id of ['h-b', 'h-a']) await commit(given.store, await round(given.store, id));
    given.clock.advance(MINUTE);
    // A change wakes the watcher, also one that it does not hear.
    await given.turned('h-b');
    expect((await watcher.take(3)).map(brief)[2]).toBe('validity h-a 1');
    expect(watcher.events.map(brief).join()).not.toContain('h-b');
  });

  it('cannot be resumed in another scope, nor by another filter', async () => {
    await affirmed(given.store, 'a');
    await label('h-a', { tenant: 'red' });
    const scope = { tenant: 'red' };
    const [, bookmark] = await given.watch({ filter: { scope } }).take(2);
    const resumeToken = bookmark?.resumeToken ?? '';
    for (const other of [{}, { tenant: 'blue' }, { tenant: 'red', rack: '1' }]) {
      await expect(given.watch({ filter: { scope: other }, resumeToken }).ended).rejects.toMatchObject({
        code: 'SCOPE_CHANGED',
      });
    }
    for (const change of [
      { statuses: ['none' as const] },
      { hostIds: ['h-a'] },
      { matchLabels: scope },
      { policyIds: ['x'] },
    ]) {
      await expect(given.watch({ filter: { scope, ...change }, resumeToken }).ended).rejects.toMatchObject({
        code: 'RESUME_TOKEN_INVALID',
      });
    }
  });

  it('is resumed whatever the order in which its labels and hosts are named', async () => {
    await affirmed(given.store, 'a');
    const filter = { hostIds: ['h-a', 'h-b'], scope: {}, matchLabels: { a: '1', b: '2' } };
    const [bookmark] = await given.watch({ filter }).take(1);
    const turned = { hostIds: ['h-b', 'h-a'], scope: {}, matchLabels: { b: '2', a: '1' } };
    const resumed = given.watch({ filter: turned, resumeToken: bookmark?.resumeToken ?? '' });
    await expect.poll(() => resumed.idle.map(brief)).toEqual(['bookmark']);
  });
});

describe('a filtered watch', () => {
  it('is told when a host leaves it, or comes in, by the policy behind its verdict', async () => {
    const host = await affirmed(given.store, 'a');
    await affirmed(given.store, 'b');
    const watcher = given.watch({ filter: { policyIds: ['base'], hostIds: ['h-a'] } });
    await watcher.take(2);
    const judgedBy = async (policyId: string) =>
      commit(given.store, await round(given.store, 'h-a', { verdict: verdict(host, { policyId }) }));
    await judgedBy('edge');
    await judgedBy('core');
    await judgedBy('base');
    expect((await watcher.take(4)).map(brief).slice(2)).toEqual([
      'removal h-a FILTERED',
      expect.stringMatching(/^change h-a affirming/),
    ]);
  });

  it('hears of the hosts it names alone', async () => {
    await affirmed(given.store, 'a');
    await affirmed(given.store, 'b');
    const watcher = given.watch({ filter: { hostIds: ['h-b'] } });
    await watcher.take(2);
    await given.turned('h-a');
    await given.turned('h-b');
    expect((await watcher.take(3)).map(brief)).toEqual([
      'initial h-b affirming 4',
      'synced',
      'change h-b contraindicated 6',
    ]);
  });

  it('is told when a host leaves it by its status, and when one comes in', async () => {
    await affirmed(given.store, 'a');
    const watcher = given.watch({ filter: { statuses: ['affirming'] } });
    await watcher.take(2);
    await given.turned('h-a');
    await given.turned('h-a');
    await commit(given.store, await round(given.store, 'h-a'));
    const events = await watcher.take(4);
    expect(events.map(brief).slice(2)).toEqual([
      'removal h-a FILTERED',
      expect.stringMatching(/^change h-a affirming/),
    ]);
  });

  it('is told when a host leaves it by its labels, and not of a removal of what it never had', async () => {
    await affirmed(given.store, 'a');
    await affirmed(given.store, 'b');
    await given.store.updateHost('h-a', { labels: { zone: 'eu' } }, { ...OPERATOR, version: null });
    const watcher = given.watch({ filter: { matchLabels: { zone: 'eu' } } });
    await watcher.take(2);
    await given.store.deleteHost('h-b', OPERATOR);
    await given.store.updateHost('h-a', { labels: { zone: 'us' } }, { ...OPERATOR, version: null });
    await given.store.deleteHost('h-a', OPERATOR);
    await affirmed(given.store, 'c');
    await given.store.updateHost('h-c', { labels: { zone: 'eu' } }, { ...OPERATOR, version: null });
    expect((await watcher.take(4)).map(brief).slice(2)).toEqual([
      'removal h-a FILTERED',
      expect.stringMatching(/^change h-c/),
    ]);
  });

  it('is told when an affirmed host expires out of it', async () => {
    await affirmed(given.store, 'a');
    const watcher = given.watch({ filter: { statuses: ['affirming'] } });
    await watcher.take(2);
    given.clock.advance(10 * MINUTE);
    expect((await watcher.take(3)).map(brief)[2]).toBe('removal h-a FILTERED');
  });
});
