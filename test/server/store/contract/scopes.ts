import { describe, expect, it } from 'vitest';
import { affirmed, commit, digest, enrolled, NO_FILTER, OPERATOR, round, verdict } from '../fixtures.ts';
import type { Given } from './harness.ts';

/** What a reader or an operator with a scope is kept from. */
export function describeScopes(given: Given): void {
  const red = { tenant: 'red' };
  const redOperator = { actor: 'identities/red', scope: red };
  const anyVersion = { ...OPERATOR, version: null };
  const label = (id: string, labels: Readonly<Record<string, string>>) =>
    given.store.updateHost(id, { labels }, anyVersion);

  /** h-a and h-d are red, h-b is blue, h-c has no label. */
  async function twoTenants(): Promise<void> {
    for (const name of ['a', 'b', 'c', 'd']) await affirmed(given.store, name);
    await label('h-a', { ...red, rack: '1' });
    await label('h-b', { tenant: 'blue' });
    await label('h-d', red);
    await given.store.updateHost('h-b', { nodeName: 'blue-1' }, anyVersion);
    await given.store.updateHost('h-a', { nodeName: 'red-1' }, anyVersion);
  }

  describe('scopes', () => {
    it('let nobody find a host outside of them', async () => {
      await twoTenants();
      for (const id of ['h-b', 'h-c', 'h-x']) {
        expect(await given.store.findHost(id, red)).toBeNull();
        expect(await given.store.findResult({ hostId: id }, red)).toBeNull();
      }
      for (const nodeName of ['blue-1', 'green-1', '']) {
        expect(await given.store.findResult({ nodeName }, red)).toBeNull();
      }
      expect(await given.store.findHost('h-a', red)).toEqual(await given.store.getHost('h-a'));
      const result = await given.store.getResult('h-a');
      expect(await given.store.findResult({ hostId: 'h-a' }, red)).toEqual(result);
      expect(await given.store.findResult({ nodeName: 'red-1' }, red)).toEqual(result);
      expect(await given.store.findResult({ nodeName: '' }, {})).toBeNull();
      expect(await given.store.findHost('h-c', {})).toMatchObject({ id: 'h-c' });
    });

    it('fill pages with what is in them', async () => {
      await twoTenants();
      const page = { limit: 2, after: '' };
      const results = await given.store.listResults(page, { ...NO_FILTER, scope: red });
      expect(results).toMatchObject({ items: [{ hostId: 'h-a' }, { hostId: 'h-d' }], next: null });
      const hosts = await given.store.listHosts(page, { states: [], matchLabels: {}, scope: red });
      expect(hosts).toMatchObject({ items: [{ id: 'h-a' }, { id: 'h-d' }], next: null });
      const named = { ...NO_FILTER, hostIds: ['h-a', 'h-b', 'h-c'], scope: red };
      expect((await given.store.snapshot(named)).results.map(({ hostId }) => hostId)).toEqual(['h-a']);
      const blue = { ...NO_FILTER, matchLabels: { tenant: 'blue' }, scope: red };
      expect((await given.store.snapshot(blue)).results).toEqual([]);
    });

    it('show of the history of a host what was in them, and nothing once it has left', async () => {
      const host = await affirmed(given.store, 'a');
      await label('h-a', { tenant: 'blue' });
      await label('h-a', red);
      await commit(given.store, await round(given.store, 'h-a', { verdict: verdict(host, { status: 'warning' }) }));
      const history = async (scope: Readonly<Record<string, string>>) => {
        const page = await given.store.listHistory('h-a', { limit: 10, after: '' }, scope);
        return page.items.map(({ revision }) => revision);
      };
      expect(await history(red)).toEqual([5, 4]);
      expect(await history({ tenant: 'blue' })).toEqual([]);
      expect(await history({})).toEqual([5, 4, 3, 2, 1]);
      await label('h-a', {});
      expect(await history(red)).toEqual([]);
    });

    it('keep operators from hosts outside of them, with the words for a host that is not there', async () => {
      await twoTenants();
      const approval = { ...redOperator, acknowledgeFindings: true, akCertificate: '', expectedVersion: 3 };
      const acts: readonly ((id: string) => Promise<unknown>)[] = [
        (id) => given.store.updateHost(id, { nodeName: 'x' }, { ...redOperator, version: null }),
        (id) => given.store.updateHost(id, { nodeName: 'x' }, { ...redOperator, version: 1 }),
        (id) => given.store.approveHost(id, approval),
        (id) => given.store.revokeHost(id, { ...redOperator, reason: '' }),
        (id) => given.store.replaceHost(id, 'h-a', { ...redOperator, reason: '' }),
        (id) => given.store.replaceHost('h-a', id, { ...redOperator, reason: '' }),
        (id) => given.store.deleteHost(id, redOperator),
      ];
      const heads = await given.store.heads();
      for (const act of acts) {
        for (const id of ['h-b', 'h-x']) {
          await expect(act(id)).rejects.toMatchObject({ code: 'not_found', message: `host ${id} is not known` });
        }
      }
      expect(await given.store.heads()).toEqual(heads);
    });

    it('let no operator take a host out of his own', async () => {
      await twoTenants();
      for (const labels of [{}, { tenant: 'blue' }, { rack: '1' }]) {
        const change = given.store.updateHost('h-a', { labels }, { ...redOperator, version: null });
        await expect(change).rejects.toMatchObject({ code: 'out_of_scope' });
      }
      await given.store.updateHost('h-a', { labels: { ...red, rack: '2' } }, { ...redOperator, version: null });
      await given.store.replaceHost('h-a', 'h-d', { ...redOperator, reason: 'mainboard' });
      expect(await given.store.getHost('h-d')).toMatchObject({ nodeName: 'red-1', labels: { ...red, rack: '2' } });
      await given.store.revokeHost('h-d', { ...redOperator, reason: '' });
      await given.store.deleteHost('h-d', redOperator);
    });

    it('of an identity stay until another is given', async () => {
      const identity = { name: 'bob', roles: ['auditor' as const], keySha256: digest('bob'), expireTime: 4e12 };
      const scopeAfter = async (scope: Readonly<Record<string, string>> | null) =>
        (await given.store.putIdentity({ ...identity, scope }, OPERATOR)).scope;
      expect(await scopeAfter(red)).toEqual(red);
      expect(await scopeAfter(null)).toEqual(red);
      await given.reopen();
      expect((await given.store.getIdentity('bob'))?.scope).toEqual(red);
      expect(await scopeAfter({})).toEqual({});
      expect((await given.store.putIdentity({ ...identity, name: 'eve', scope: null }, OPERATOR)).scope).toEqual({});
      expect((await given.store.listAudit(0, 10))[0]?.detail).toContain('{"tenant":"red"}');
    });
  });

  describe('the policy behind a verdict', () => {
    it('filters results, and is told with changes and confirmations', async () => {
      const host = await affirmed(given.store, 'a');
      await affirmed(given.store, 'b');
      await enrolled(given.store, 'c');
      const edge = verdict(host, { policyId: 'edge' });
      await commit(given.store, await round(given.store, 'h-a', { verdict: edge }));
      await commit(given.store, await round(given.store, 'h-a', { verdict: edge }));
      const list = async (policyIds: readonly string[]) =>
        (await given.store.snapshot({ ...NO_FILTER, policyIds })).results.map(({ hostId }) => hostId);
      expect(await list(['edge'])).toEqual(['h-a']);
      expect(await list(['base', 'edge'])).toEqual(['h-a', 'h-b']);
      expect(await list(['core'])).toEqual([]);
      expect(await list([])).toEqual(['h-a', 'h-b', 'h-c']);
      const changes = await given.store.changesSince(0, 10);
      expect(changes.map(({ hostId, prior }) => `${hostId} ${prior?.policyId ?? 'new'}`)).toEqual([
        'h-a new',
        'h-a ',
        'h-b new',
        'h-b ',
        'h-c new',
        'h-a base',
      ]);
      expect(await given.store.confirmationsSince(0, 10)).toMatchObject([{ hostId: 'h-a', policyId: 'edge' }]);
    });
  });
}
