import type { Picking, PlacementQuery } from '../../../server/placement/placement-index.ts';
import { refusalBits } from '../../../server/placement/requirements.ts';
import type { PlacementRequirements } from '../../../server/placement/requirements.ts';
import { matchesLabels } from '../../../server/store/attachment.ts';
import type { PlacementRecord } from '../../../server/store/records.ts';
import type { SeededRandom } from '../../support/seeded-random.ts';

export const ANY: PlacementRequirements = {
  minimumTier: 'affirming',
  policyId: '',
  minimumPolicyVersion: 0,
  maximumAge: null,
  matchLabels: {},
  excluded: { hostIds: new Set(), nodeNames: new Set(), labels: [] },
};

export const NOW = 1_000_000;

/** A selectable host. */
export function placement(hostId: string, change: Partial<PlacementRecord> = {}): PlacementRecord {
  return {
    hostId,
    revision: 1,
    status: 'affirming',
    policyId: 'base',
    policyVersion: 1,
    challengeTime: NOW - 1_000,
    validUntil: NOW + 60_000,
    nodeName: '',
    labels: {},
    connectivity: 'connected',
    ...change,
  };
}

export function picking(change: Partial<Picking> = {}): Picking {
  return {
    requirements: ANY,
    scope: {},
    now: NOW,
    count: 10,
    spreadBy: '',
    order: 'freshest',
    without: new Set(),
    ...change,
  };
}

const ZONES = ['eu', 'us', 'ap'];
const RACKS = ['1', '2', '3', '4', '5'];

function someLabels(random: SeededRandom): Record<string, string> {
  return {
    ...(random.below(4) > 0 && { zone: random.pick(ZONES) }),
    ...(random.below(3) > 0 && { rack: random.pick(RACKS) }),
  };
}

/** Any state that a host can be in. */
export function anyPlacement(random: SeededRandom, hostId: string, revision: number): PlacementRecord {
  const status = random.pick(['affirming', 'affirming', 'affirming', 'warning', 'contraindicated', 'none'] as const);
  const challengeTime = NOW - random.below(20) * 1_000;
  return placement(hostId, {
    revision,
    status,
    policyId: status === 'none' ? random.pick(['', 'base']) : random.pick(['base', 'edge']),
    policyVersion: 1 + random.below(3),
    challengeTime,
    validUntil: status === 'none' ? null : NOW + (random.below(12) - 2) * 1_000,
    nodeName: random.below(2) === 0 ? '' : `node-${hostId}`,
    labels: someLabels(random),
  });
}

export function anyPicking(random: SeededRandom, hosts: readonly PlacementRecord[]): Picking {
  const policyId = random.pick(['', '', 'base', 'edge', 'core']);
  const someIds = hosts.filter(() => random.below(10) === 0).map(({ hostId }) => hostId);
  return picking({
    requirements: {
      minimumTier: random.pick(['affirming', 'warning']),
      policyId,
      minimumPolicyVersion: policyId === '' ? 0 : random.below(4),
      maximumAge: random.pick([null, 5_000, 15_000]),
      matchLabels: random.pick([{}, {}, someLabels(random)]),
      excluded: {
        hostIds: new Set(random.pick([[], someIds])),
        nodeNames: new Set(random.pick([[], ['node-h-3', 'node-h-x']])),
        labels: random.pick([
          [],
          [{ key: 'rack', value: '1' }],
          [
            { key: 'zone', value: 'eu' },
            { key: 'no', value: '' },
          ],
        ]),
      },
    },
    scope: random.pick([{}, {}, { zone: 'eu' }, { zone: 'mars' }]),
    count: 1 + random.below(12),
    spreadBy: random.pick(['', 'zone', 'rack', 'unknown']),
    order: random.pick(['freshest', 'longest_valid']),
    without: new Set(random.pick([[], ['h-1', 'h-2']])),
  });
}

/** The same by a plain look at every host. */
export function scan(hosts: readonly PlacementRecord[], query: Picking): readonly string[] {
  const good = hosts
    .filter((host) => matchesLabels(host.labels, query.scope) && !query.without.has(host.hostId))
    .filter((host) => refusalBits(host, query.requirements, query.now) === 0)
    .toSorted((a, b) => {
      const key = ({ challengeTime, validUntil }: PlacementRecord): number =>
        query.order === 'freshest' ? challengeTime : (validUntil ?? 0);
      return key(b) - key(a) || (a.hostId < b.hostId ? -1 : 1);
    });
  const turns = new Map<string, number>();
  const ranked = good.map((host) => {
    const value = query.spreadBy === '' ? '' : `=${host.labels[query.spreadBy] ?? ''}${query.spreadBy in host.labels}`;
    const turn = turns.get(value) ?? 0;
    turns.set(value, turn + 1);
    return { hostId: host.hostId, turn: query.spreadBy === '' ? 0 : turn };
  });
  return ranked
    .toSorted((a, b) => a.turn - b.turn)
    .slice(0, query.count)
    .map(({ hostId }) => hostId);
}

export function scanRefused(hosts: readonly PlacementRecord[], query: PlacementQuery, limit: number) {
  const refused = hosts
    .filter((host) => matchesLabels(host.labels, query.scope))
    .map((host) => ({ id: host.hostId, bits: refusalBits(host, query.requirements, query.now) }))
    .filter(({ bits }) => bits !== 0);
  const weight = (bits: number): number => bits.toString(2).replaceAll('0', '').length;
  const counts: number[] = [];
  for (const { bits } of refused) {
    for (let bit = 0; bit < 8; bit += 1) if ((bits & (1 << bit)) !== 0) counts[bit] = (counts[bit] ?? 0) + 1;
  }
  const ordered = refused.toSorted((a, b) => weight(a.bits) - weight(b.bits) || (a.id < b.id ? -1 : 1));
  return { ids: ordered.slice(0, limit).map(({ id }) => id), counts };
}
