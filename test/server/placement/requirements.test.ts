import { describe, expect, it } from 'vitest';

import { refusalBits, refusalsOf } from '../../../server/placement/requirements.ts';
import type { PlacementRequirements } from '../../../server/placement/requirements.ts';
import type { PlacementRecord } from '../../../server/store/records.ts';
import { ANY, NOW, placement } from './world.ts';

const excluding = (change: Partial<PlacementRequirements['excluded']>): Partial<PlacementRequirements> => ({
  excluded: { ...ANY.excluded, ...change },
});

describe('a host', () => {
  it.each<[string, Partial<PlacementRecord>, Partial<PlacementRequirements>, readonly string[]]>([
    ['affirmed', {}, {}, []],
    ['not judged', { status: 'none', validUntil: null }, {}, ['STATUS_NONE']],
    [
      'not judged, where WARNING is enough',
      { status: 'none', validUntil: null },
      { minimumTier: 'warning' },
      ['STATUS_NONE'],
    ],
    ['contraindicated', { status: 'contraindicated' }, { minimumTier: 'warning' }, ['STATUS_CONTRAINDICATED']],
    ['banned', { status: 'contraindicated', validUntil: null }, {}, ['STATUS_CONTRAINDICATED']],
    ['contraindicated and over', { status: 'contraindicated', validUntil: NOW - 1 }, {}, ['STATUS_CONTRAINDICATED']],
    ['with a warning', { status: 'warning' }, {}, ['STATUS_WARNING']],
    ['with a warning, where that is enough', { status: 'warning' }, { minimumTier: 'warning' }, []],
    ['whose validity ends now', { validUntil: NOW }, {}, ['STATUS_NONE']],
    ['whose validity ends in a millisecond', { validUntil: NOW + 1 }, {}, []],
    ['affirmed without an end', { validUntil: null }, {}, ['STATUS_NONE']],
    ['of another policy', {}, { policyId: 'edge' }, ['POLICY_DIFFERS']],
    ['of another policy and version', {}, { policyId: 'edge', minimumPolicyVersion: 9 }, ['POLICY_DIFFERS']],
    ['of an older version', {}, { policyId: 'base', minimumPolicyVersion: 2 }, ['POLICY_VERSION_OLD']],
    ['of this version', {}, { policyId: 'base', minimumPolicyVersion: 1 }, []],
    ['challenged too long ago', {}, { maximumAge: 999 }, ['EVIDENCE_TOO_OLD']],
    ['challenged just recently enough', {}, { maximumAge: 1_000 }, []],
    [
      'never challenged',
      { status: 'none', challengeTime: 0 },
      { maximumAge: 1e5 },
      ['STATUS_NONE', 'EVIDENCE_TOO_OLD'],
    ],
    ['without the label', { labels: { zone: 'us' } }, { matchLabels: { zone: 'eu' } }, ['LABELS_DIFFER']],
    ['with a label that every object has', {}, { matchLabels: { constructor: '' } }, ['LABELS_DIFFER']],
    ['excluded by id', {}, excluding({ hostIds: new Set(['h-a']) }), ['HOST_EXCLUDED']],
    ['excluded by node name', { nodeName: 'n' }, excluding({ nodeNames: new Set(['n']) }), ['HOST_EXCLUDED']],
    [
      'excluded by label',
      { labels: { rack: '7' } },
      excluding({ labels: [{ key: 'rack', value: '7' }] }),
      ['HOST_EXCLUDED'],
    ],
    [
      'not excluded by another value',
      { labels: { rack: '8' } },
      excluding({ labels: [{ key: 'rack', value: '7' }] }),
      [],
    ],
    [
      'of whom nothing is as it should be',
      { status: 'none', validUntil: null, policyId: '', challengeTime: 0 },
      { policyId: 'base', maximumAge: 1, matchLabels: { a: 'b' }, ...excluding({ hostIds: new Set(['h-a']) }) },
      ['STATUS_NONE', 'POLICY_DIFFERS', 'EVIDENCE_TOO_OLD', 'LABELS_DIFFER', 'HOST_EXCLUDED'],
    ],
  ])('%s', (_name, change, requirements, refusals) => {
    expect(refusalsOf(refusalBits(placement('h-a', change), { ...ANY, ...requirements }, NOW))).toEqual(refusals);
  });
});
