import { describe, expect, it } from 'vitest';

import { PlacementIndex } from '../../../server/placement/placement-index.ts';
import type { Picking } from '../../../server/placement/placement-index.ts';
import type { PlacementRecord } from '../../../server/store/records.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { ANY, anyPicking, anyPlacement, NOW, picking, placement, scan, scanRefused } from './world.ts';

function indexOf(...records: readonly PlacementRecord[]): PlacementIndex {
  const index = new PlacementIndex();
  for (const record of records) index.apply(record);
  return index;
}

const ids = (index: PlacementIndex, change: Partial<Picking> = {}): readonly string[] =>
  index.pick(picking(change)).picked.map(({ hostId }) => hostId);

describe('the index of placement', () => {
  it.each([1, 2, 3, 4, 5, 6])('says what a look at every host says, whatever changes (seed %i)', (seed) => {
    const random = new SeededRandom(seed);
    const index = new PlacementIndex();
    const hosts = new Map<string, PlacementRecord>();
    let revision = 0;
    for (let step = 0; step < 400; step += 1) {
      const hostId = `h-${random.below(60)}`;
      const known = hosts.get(hostId);
      const deed = random.below(5);
      if (deed === 0) {
        hosts.delete(hostId);
        index.remove(hostId);
      } else if (deed === 1 && known !== undefined) {
        const confirmed = {
          ...known,
          challengeTime: known.challengeTime + 1_000,
          validUntil: known.validUntil === null ? null : known.validUntil + 1_000,
        };
        hosts.set(hostId, confirmed);
        index.move(confirmed);
      } else {
        revision += 1;
        const record = anyPlacement(random, hostId, revision);
        hosts.set(hostId, record);
        index.apply(record);
      }
      const all = [...hosts.values()];
      const query = anyPicking(random, all);
      const { picked, selectable } = index.pick(query);
      expect(picked.map((host) => host.hostId)).toEqual(scan(all, query));
      expect(selectable).toBe(scan(all, { ...query, count: 1000 }).length);
      const refused = finish(index.refused(query, 7));
      expect({ ids: refused.hosts.map((host) => host.hostId), counts: [...refused.counts] }).toEqual(
        scanRefused(all, query, 7),
      );
    }
    expect(index.size).toBe(hosts.size);
    expect(revision).toBeGreaterThan(100);
  });

  it('tells of refused hosts what held at the first step, whatever happens between steps', () => {
    const hosts = Array.from({ length: 20_000 }, (_, number) =>
      placement(`h-${number}`, { labels: { zone: number % 2 === 0 ? 'eu' : 'us' }, nodeName: `n${number}` }),
    );
    const index = indexOf(...hosts);
    const query = picking({ scope: { zone: 'eu' }, requirements: { ...ANY, policyId: 'edge' } });
    const steps = index.refused(query, 5);
    let taken = 1;
    for (let step = steps.next(); ; step = steps.next(), taken += 1) {
      if (step.done === true) {
        const found = { ids: step.value.hosts.map(({ hostId }) => hostId), counts: [...step.value.counts] };
        expect(found).toEqual(scanRefused(hosts, query, 5));
        break;
      }
      // Slots are given to hosts of another scope, and other queries use the same arrays.
      for (const { hostId } of hosts.slice(taken * 3_000, (taken + 2) * 3_000)) index.remove(hostId);
      for (let number = 0; number < 3_000; number += 1)
        index.apply(placement(`h-other-${taken}-${number}`, { labels: { zone: 'us' } }));
      index.pick(picking({ spreadBy: 'zone' }));
    }
    expect(taken).toBeGreaterThan(2);
  });

  it('keeps what is newer when something older comes after it', () => {
    const index = indexOf(placement('h-a', { revision: 7, status: 'contraindicated' }));
    index.apply(placement('h-a', { revision: 6 }));
    expect(ids(index)).toEqual([]);
    index.apply(placement('h-a', { revision: 8, challengeTime: NOW - 1 }));
    index.apply(placement('h-a', { revision: 8, challengeTime: NOW - 500 }));
    expect(index.pick(picking()).picked).toMatchObject([{ challengeTime: NOW - 1 }]);
  });

  it('takes the times of a confirmation of what it has, and of nothing else', () => {
    const index = indexOf(placement('h-a', { revision: 7, challengeTime: NOW - 500 }));
    const times = { challengeTime: NOW - 1, validUntil: NOW + 9 };
    index.move({ hostId: 'h-a', revision: 6, ...times });
    index.move({ hostId: 'h-a', revision: 8, ...times });
    index.move({ hostId: 'h-x', revision: 7, ...times });
    index.move({ hostId: 'h-a', revision: 7, ...times, challengeTime: NOW - 501 });
    expect(index.pick(picking()).picked).toMatchObject([{ hostId: 'h-a', challengeTime: NOW - 500 }]);
    index.move({ hostId: 'h-a', revision: 7, ...times });
    expect(index.pick(picking()).picked).toMatchObject([{ hostId: 'h-a', ...times }]);
    expect(index.size).toBe(1);
  });

  it('lets a host go at the moment when its validity ends, without being told', () => {
    const index = indexOf(placement('h-a', { validUntil: NOW + 1 }));
    expect(ids(index)).toEqual(['h-a']);
    expect(ids(index, { now: NOW + 1 })).toEqual([]);
  });

  it('finds a node name where it has moved', () => {
    const index = indexOf(placement('h-a', { nodeName: 'n1' }), placement('h-b'));
    index.apply(placement('h-b', { revision: 2, nodeName: 'n1' }));
    index.apply(placement('h-a', { revision: 3 }));
    const excluded = { ...ANY.excluded, nodeNames: new Set(['n1']) };
    expect(ids(index, { requirements: { ...ANY, excluded } })).toEqual(['h-a']);
  });

  it('holds labels that no other host has, in hundreds of pages', () => {
    const index = new PlacementIndex();
    const hosts = Array.from({ length: 3_000 }, (_, number) =>
      placement(`h-${String(number).padStart(5, '0')}`, { labels: { host: `n${number}`, odd: String(number % 2) } }),
    );
    for (const host of hosts) index.apply(host);
    expect(ids(index, { scope: { host: 'n2999', odd: '1' } })).toEqual(['h-02999']);
    expect(ids(index, { scope: { host: 'n2999', odd: '0' } })).toEqual([]);
    expect(ids(index, { spreadBy: 'host', count: 3 })).toEqual(['h-00000', 'h-00001', 'h-00002']);
    expect(index.pick(picking({ scope: { odd: '0' } })).selectable).toBe(1_500);
    index.clear();
    expect(index.size).toBe(0);
    expect(ids(index)).toEqual([]);
  });
});

describe('a spread', () => {
  const rack = (id: string, value: string, age: number): PlacementRecord =>
    placement(id, { challengeTime: NOW - age, ...(value !== '' && { labels: { rack: value } }) });

  it('takes as many of each value as there are, as evenly as that goes', () => {
    const index = indexOf(
      ...['a', 'b', 'c', 'd', 'e'].map((name, age) => rack(`h-${name}`, '1', age)),
      rack('h-x', '2', 50),
      rack('h-y', '', 60),
      rack('h-z', '', 70),
    );
    expect(ids(index, { spreadBy: 'rack', count: 3 })).toEqual(['h-a', 'h-x', 'h-y']);
    expect(ids(index, { spreadBy: 'rack', count: 5 })).toEqual(['h-a', 'h-x', 'h-y', 'h-b', 'h-z']);
    expect(ids(index, { spreadBy: 'rack', count: 7 })).toEqual(['h-a', 'h-x', 'h-y', 'h-b', 'h-z', 'h-c', 'h-d']);
    expect(ids(index, { spreadBy: 'rack', count: 100 })).toHaveLength(8);
    expect(ids(index, { count: 3 })).toEqual(['h-a', 'h-b', 'h-c']);
  });
});

function finish<T>(steps: Generator<void, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
