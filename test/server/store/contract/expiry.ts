import { describe, expect, it } from 'vitest';
import { affirmed, commit, enrolled, MINUTE, NO_FILTER, OPERATOR, reasons, round, verdict } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeExpiry(given: Given): void {
  describe('expiry', () => {
    it('reads as no verdict at the moment that validity ends, for every reader, before anything is written', async () => {
      await affirmed(given.store, 'a');
      const affirming = { ...NO_FILTER, statuses: ['affirming' as const] };
      const none = { ...NO_FILTER, statuses: ['none' as const] };
      const ids = async (filter: typeof affirming | typeof none): Promise<string[]> =>
        (await given.store.listResults({ limit: 10, after: '' }, filter)).items.map(({ hostId }) => hostId);
      given.clock.advance(10 * MINUTE - 1);
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'affirming' });
      expect(await ids(affirming)).toEqual(['h-a']);
      given.clock.advance(1);
      const expired = {
        revision: 2,
        status: 'none',
        vector: { instanceIdentity: 0, configuration: 0, executables: 0, hardware: 0 },
        connectivity: 'unreachable',
        policyId: 'base',
      };
      expect(await given.store.getResult('h-a')).toMatchObject(expired);
      expect(await reasons(given.store, 'h-a')).toEqual(['RESULT_EXPIRED']);
      expect(await ids(affirming)).toEqual([]);
      expect(await ids(none)).toEqual(['h-a']);
      expect((await given.store.snapshot(none)).results).toMatchObject([expired]);
      expect((await given.store.snapshot(affirming)).results).toEqual([]);
      expect((await given.store.heads()).revision).toBe(2);
    });

    it('is written once, and reads the same as before it was', async () => {
      await affirmed(given.store, 'a');
      given.clock.advance(10 * MINUTE);
      const unwritten = await given.store.getResult('h-a');
      expect(await Promise.all([given.store.expireResults(10), given.store.expireResults(10)])).toEqual([1, 0]);
      expect(await given.store.getResult('h-a')).toEqual({
        ...unwritten,
        revision: 3,
        revisionTime: given.store.now(),
      });
      expect(await given.store.getHost('h-a')).toMatchObject({ connected: false });
      expect(await given.store.changesSince(2, 10)).toMatchObject([
        { cause: 'expired', prior: { status: 'affirming' } },
      ]);
    });

    it('writes no more at once than was asked for', async () => {
      for (const name of ['a', 'b', 'c']) await affirmed(given.store, name);
      given.clock.advance(10 * MINUTE);
      expect(await given.store.expireResults(2)).toBe(2);
      expect(await given.store.expireResults(2)).toBe(1);
      expect(await given.store.expireResults(2)).toBe(0);
    });

    it('is never undone by a confirmation: what comes after it is a revision', async () => {
      await affirmed(given.store, 'a');
      given.clock.advance(10 * MINUTE);
      const late = await round(given.store, 'h-a');
      expect(await commit(given.store, late)).toMatchObject({
        outcome: 'changed',
        result: { revision: 3, status: 'affirming' },
      });
      expect(await given.store.expireResults(10)).toBe(0);

      given.clock.advance(10 * MINUTE);
      const later = await round(given.store, 'h-a');
      const [expired, outcomes] = await Promise.all([given.store.expireResults(10), given.store.commitRounds([later])]);
      expect(expired).toBe(1);
      expect(outcomes).toMatchObject([{ outcome: 'changed', result: { revision: 5, status: 'affirming' } }]);
    });

    it('does not expire what was confirmed in time', async () => {
      await affirmed(given.store, 'a');
      given.clock.advance(9 * MINUTE);
      await commit(given.store, await round(given.store, 'h-a'));
      given.clock.advance(9 * MINUTE);
      expect(await given.store.expireResults(10)).toBe(0);
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'affirming' });
    });

    it('tells that a host without a verdict has gone silent', async () => {
      const host = await enrolled(given.store, 'a');
      await commit(given.store, await round(given.store, 'h-a', { verdict: verdict(host, { status: 'none' }) }));
      given.clock.advance(10 * MINUTE);
      expect(await given.store.expireResults(10)).toBe(1);
      expect(await given.store.changesSince(2, 10)).toMatchObject([
        { cause: 'disconnected', result: { status: 'none', connectivity: 'unreachable' } },
      ]);
    });

    it('reads as ended after the grace of a lost stream', async () => {
      await affirmed(given.store, 'a');
      await given.store.streamLost('h-a', 7, MINUTE);
      given.clock.advance(MINUTE);
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'none' });
    });

    it('is what a stream that is lost afterwards writes', async () => {
      await affirmed(given.store, 'a');
      given.clock.advance(10 * MINUTE);
      await given.store.streamLost('h-a', 7, MINUTE);
      expect(await given.store.changesSince(2, 10)).toMatchObject([{ cause: 'expired' }]);
    });

    it('keeps names that changed meanwhile', async () => {
      await affirmed(given.store, 'a');
      await given.store.updateHost('h-a', { labels: { zone: 'n' } }, { ...OPERATOR, version: null });
      given.clock.advance(10 * MINUTE);
      await given.store.expireResults(10);
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'none', labels: { zone: 'n' } });
    });
  });
}
