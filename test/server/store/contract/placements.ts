import { describe, expect, it } from 'vitest';
import { PLACEMENT_START } from '../../../../server/store/placement-store.ts';
import type { PlacementRecord } from '../../../../server/store/records.ts';
import { affirmed, commit, enrolled, MINUTE, OPERATOR, round } from '../fixtures.ts';
import type { Given } from './harness.ts';

/** What an index is kept from. */
export function describePlacements(given: Given): void {
  describe('results for placement', () => {
    /** Reads on in steps of `limit` until nothing is left, into what was known. */
    async function follow(known = new Map<string, PlacementRecord>(), from = PLACEMENT_START, limit = 2) {
      for (let position = from; ;) {
        const changes = await given.store.placementsSince(position, limit);
        for (const id of changes.gone) known.delete(id);
        for (const record of changes.present) known.set(record.hostId, record);
        for (const move of changes.moved) {
          const record = known.get(move.hostId);
          if (record?.revision === move.revision) known.set(move.hostId, { ...record, ...move });
        }
        ({ position } = changes);
        if (changes.complete) return { known, position };
      }
    }

    async function expectAll(known: ReadonlyMap<string, PlacementRecord>): Promise<void> {
      const results = (
        await given.store.snapshot({ hostIds: [], statuses: [], policyIds: [], matchLabels: {}, scope: {} })
      ).results;
      expect([...known.keys()].toSorted()).toEqual(results.map(({ hostId }) => hostId));
      for (const result of results) expect(result).toMatchObject({ ...known.get(result.hostId) });
    }

    it('have times that confirmations move, by the ids of hosts', async () => {
      for (const name of ['a', 'b', 'c']) await affirmed(given.store, name);
      await enrolled(given.store, 'd');
      const times = async (...ids: string[]) => {
        const read = await given.store.resultTimes(ids);
        return read.toSorted((a, b) => (a.hostId < b.hostId ? -1 : 1));
      };
      const judged = { challengeTime: given.store.now(), validUntil: given.store.now() + 10 * MINUTE };
      const unjudged = { hostId: 'h-d', revision: 7, challengeTime: 0, validUntil: null };
      expect(await times('h-d', 'h-b', 'h-x')).toEqual([{ hostId: 'h-b', revision: 4, ...judged }, unjudged]);
      expect(await times()).toEqual([]);
      given.clock.advance(1_000);
      await commit(given.store, await round(given.store, 'h-b'));
      await given.store.updateHost('h-a', { labels: { zone: 'eu' } }, { ...OPERATOR, version: null });
      await given.store.deleteHost('h-c', OPERATOR);
      expect(await times('h-a', 'h-b', 'h-c')).toEqual([
        { hostId: 'h-a', revision: 8, ...judged },
        {
          hostId: 'h-b',
          revision: 4,
          challengeTime: given.store.now(),
          validUntil: given.store.now() + 10 * MINUTE,
        },
      ]);
    });

    it('are all present ones in brief, and then what was written, confirmed and deleted', async () => {
      for (const name of ['a', 'b', 'c']) await affirmed(given.store, name);
      await enrolled(given.store, 'd');
      const first = await follow();
      expect(first.known.get('h-a')).toEqual({
        hostId: 'h-a',
        revision: 2,
        status: 'affirming',
        policyId: 'base',
        policyVersion: 1,
        challengeTime: given.store.now(),
        validUntil: given.store.now() + 10 * MINUTE,
        nodeName: '',
        labels: {},
        connectivity: 'connected',
      });
      await expectAll(first.known);
      given.clock.advance(1_000);
      for (const id of ['h-a', 'h-b', 'h-a']) await commit(given.store, await round(given.store, id));
      await given.store.updateHost('h-c', { labels: { zone: 'eu' }, nodeName: 'c1' }, { ...OPERATOR, version: null });
      await given.store.deleteHost('h-b', OPERATOR);
      await enrolled(given.store, 'b');
      await given.store.deleteHost('h-d', OPERATOR);
      const second = await follow(first.known, first.position);
      await expectAll(second.known);
      expect(second.known.get('h-a')?.challengeTime).toBe(given.store.now());
      expect(await given.store.placementsSince(second.position, 10)).toEqual({
        present: [],
        moved: [],
        gone: [],
        position: second.position,
        complete: true,
      });
    });

    it('of a confirmation are its times alone, and the result as it stands where it was not read before', async () => {
      await affirmed(given.store, 'a');
      const first = await follow();
      given.clock.advance(1_000);
      await commit(given.store, await round(given.store, 'h-a'));
      const times = { challengeTime: given.store.now(), validUntil: given.store.now() + 10 * MINUTE };
      const { present, moved } = await given.store.placementsSince(first.position, 10);
      expect({ present, moved }).toEqual({ present: [], moved: [{ hostId: 'h-a', revision: 2, ...times }] });
      expect((await given.store.placementsSince(PLACEMENT_START, 10)).present).toMatchObject([
        { revision: 2, ...times },
      ]);
    });

    it('are read on across a restart, and refused where deletions may be forgotten', async () => {
      for (const name of ['a', 'b']) await affirmed(given.store, name);
      const { known, position } = await follow();
      await given.reopen();
      await given.store.deleteHost('h-a', OPERATOR);
      given.clock.advance(MINUTE);
      await expectAll((await follow(new Map(known), position)).known);
      await given.store.compact(given.store.now());
      await expect(given.store.placementsSince(position, 10)).rejects.toMatchObject({ code: 'out_of_range' });
      const future = { ...position, revision: 1_000 };
      await expect(given.store.placementsSince(future, 10)).rejects.toMatchObject({ code: 'out_of_range' });
      // The present result of h-b is older than all that is kept of changes.
      await expectAll((await follow(new Map(), PLACEMENT_START, 1)).known);
    });
  });
}
