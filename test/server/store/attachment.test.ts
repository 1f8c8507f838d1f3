import { describe, expect, it } from 'vitest';
import { resolvePolicy, sameResolution } from '../../../server/store/attachment.ts';
import type { PolicyAttachment, PolicyRecord } from '../../../server/store/records.ts';

function policy(id: string, attachment: Partial<PolicyAttachment>, version = 1): PolicyRecord {
  return {
    id,
    version,
    attachment: { matchLabels: {}, allHosts: false, precedence: 0, ...attachment },
    references: [],
    body: '{}',
    createTime: 0,
  };
}

const everywhere = policy('everywhere', { allHosts: true });
const north = policy('north', { matchLabels: { zone: 'north' }, precedence: 10 });
const rack = policy('rack', { matchLabels: { zone: 'north', rack: '4' }, precedence: 20 });
const unattached = policy('unattached', { precedence: 99 });
const rival = policy('rival', { matchLabels: { rack: '4' }, precedence: 20 });

describe('resolvePolicy', () => {
  it.each<{
    name: string;
    labels?: Record<string, string>;
    trustPolicy?: string;
    policies: readonly PolicyRecord[];
    expected: string;
  }>([
    { name: 'no policy at all', policies: [], expected: 'none' },
    { name: 'a policy for every host', policies: [everywhere], expected: 'everywhere' },
    { name: 'labels that match', labels: { zone: 'north', x: 'y' }, policies: [everywhere, north], expected: 'north' },
    {
      name: 'the highest precedence',
      labels: { zone: 'north', rack: '4' },
      policies: [rack, everywhere, north],
      expected: 'rack',
    },
    { name: 'labels that match in part', labels: { zone: 'north' }, policies: [rack], expected: 'none' },
    { name: 'a label with another value', labels: { zone: 'south' }, policies: [north], expected: 'none' },
    {
      name: 'a selector for a name that every object has',
      policies: [policy('p', { matchLabels: { constructor: 'x' } })],
      expected: 'none',
    },
    { name: 'an empty selector', labels: { zone: 'north' }, policies: [unattached], expected: 'none' },
    {
      name: 'two of the highest precedence',
      labels: { zone: 'north', rack: '4' },
      policies: [rival, north, rack],
      expected: 'rack, rival',
    },
    {
      name: 'two that collide below the highest',
      policies: [everywhere, policy('b', { allHosts: true }), policy('top', { allHosts: true, precedence: 1 })],
      expected: 'top',
    },
    {
      name: 'the policy that was named, against every selector',
      labels: { zone: 'north' },
      trustPolicy: 'unattached',
      policies: [north, unattached],
      expected: 'unattached',
    },
    {
      name: 'a named policy that is missing',
      labels: { zone: 'north' },
      trustPolicy: 'gone',
      policies: [north],
      expected: 'none',
    },
  ])('finds $expected for $name', ({ labels = {}, trustPolicy = '', policies, expected }) => {
    const resolved = resolvePolicy({ labels, trustPolicy }, policies);
    const found =
      resolved.kind === 'policy' ? resolved.policy.id : resolved.kind === 'none' ? 'none' : resolved.ids.join(', ');
    expect(found).toBe(expected);
  });

  it('tells another version of the same policy apart, and another collision', () => {
    const host = { labels: {}, trustPolicy: '' };
    const one = resolvePolicy(host, [everywhere]);
    expect(sameResolution(one, resolvePolicy(host, [everywhere, north]))).toBe(true);
    expect(sameResolution(one, resolvePolicy(host, [policy('everywhere', { allHosts: true }, 2)]))).toBe(false);
    expect(sameResolution(one, resolvePolicy(host, []))).toBe(false);
    const collision = (...ids: string[]) =>
      resolvePolicy(
        host,
        ids.map((id) => policy(id, { allHosts: true })),
      );
    expect(sameResolution(collision('a', 'b'), collision('b', 'a'))).toBe(true);
    expect(sameResolution(collision('a', 'b'), collision('a', 'c'))).toBe(false);
  });
});
