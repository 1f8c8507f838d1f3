import { describe, expect, it } from 'vitest';
import { affirmed, commit, enrolled, MINUTE, NO_FILTER, OPERATOR, reasons, round } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeClock(given: Given): void {
  describe('the clock', () => {
    it('runs on when the wall clock is set back, so that nothing is valid longer', async () => {
      await affirmed(given.store, 'a');
      given.clock.wall -= 60 * MINUTE;
      expect(given.store.clockBehind()).toBe(60 * MINUTE);
      given.clock.advance(10 * MINUTE);
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'none' });
      expect(await given.store.expireResults(10)).toBe(1);
    });

    it('runs on from the mark after a restart with a wall clock behind it', async () => {
      await affirmed(given.store, 'a');
      given.clock.advance(9 * MINUTE);
      await enrolled(given.store, 'b');
      const mark = given.store.now();
      given.clock.wall -= 60 * MINUTE;
      await given.reopen();
      expect(given.store.now()).toBe(mark);
      expect(given.store.clockBehind()).toBe(60 * MINUTE);
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'affirming' });
      given.clock.advance(MINUTE);
      expect(given.store.now()).toBe(mark + MINUTE);
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'none' });
    });

    it('keeps its mark while nothing but expiry is asked for', async () => {
      await enrolled(given.store, 'a');
      given.clock.advance(30 * MINUTE);
      await given.store.expireResults(10);
      const mark = given.store.now();
      given.clock.wall -= 60 * MINUTE;
      await given.reopen();
      expect(given.store.now()).toBe(mark);
    });

    it('is set back only when an operator accepts the wall clock, and every result that can lapse does', async () => {
      await affirmed(given.store, 'a');
      await affirmed(given.store, 'b');
      await given.store.revokeHost('h-b', { ...OPERATOR, reason: '' });
      await enrolled(given.store, 'c');
      const { revision } = await given.store.heads();
      given.clock.wall -= 60 * MINUTE;
      await given.store.acceptClock(OPERATOR);
      expect(given.store.now()).toBe(given.clock.wall);
      expect(given.store.clockBehind()).toBe(0);
      expect(await reasons(given.store, 'h-a')).toEqual(['RESULT_EXPIRED']);
      const changes = await given.store.changesSince(revision, 10);
      expect(changes.map(({ hostId, cause }) => `${hostId} ${cause}`)).toEqual(['h-a expired', 'h-b disconnected']);
      expect((await given.store.snapshot({ ...NO_FILTER, statuses: ['contraindicated'] })).results).toHaveLength(1);

      await given.reopen();
      expect(given.store.now()).toBe(given.clock.wall);
      expect(await commit(given.store, await round(given.store, 'h-a'))).toMatchObject({
        outcome: 'changed',
        result: { status: 'affirming', revisionTime: given.clock.wall },
      });
    });

    it('keeps who it is over restarts', async () => {
      const { incarnation, deployment } = given.store;
      expect(incarnation).toMatch(/^[0-9a-f]{32}$/);
      await given.reopen();
      expect(given.store.incarnation).toBe(incarnation);
      expect(given.store.deployment).toBe(deployment);
    });

    it('refuses calls once it is closed', async () => {
      await given.store.close();
      await expect(given.store.getHost('h-a')).rejects.toMatchObject({ code: 'closed' });
      await given.store.close();
    });
  });
}
