import { describe, expect, it } from 'vitest';
import { affirmed, commit, enrolled, OPERATOR, policy, reasons, round, verdict } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describePolicies(given: Given): void {
  const create = { ...OPERATOR, expected: null };

  describe('policies', () => {
    it('keeps every version and counts the epoch with each change', async () => {
      const { policy: epoch } = await given.store.epochs();
      const first = await given.store.putPolicy(policy('base', { allHosts: true, precedence: 3 }), create);
      expect(first).toEqual({
        ...policy('base', { allHosts: true, precedence: 3 }),
        version: 1,
        createTime: given.store.now(),
      });
      given.clock.advance(5);
      const second = await given.store.putPolicy({ ...policy('base'), body: '{}' }, { ...OPERATOR, expected: 1 });
      expect(second).toMatchObject({ version: 2, body: '{}' });
      expect(await given.store.getPolicy('base', 1)).toEqual(first);
      expect(await given.store.getPolicy('base', null)).toEqual(second);
      expect(await given.store.getPolicy('base', 3)).toBeNull();
      expect(await given.store.allPolicies()).toEqual({
        epochs: await given.store.epochs(),
        policies: [second],
        references: [],
      });
      expect((await given.store.epochs()).policy).toBe(epoch + 2);
    });

    it('lists newest versions page by page', async () => {
      for (const id of ['c', 'a', 'b']) await given.store.putPolicy(policy(id), create);
      await given.store.putPolicy(policy('a'), { ...OPERATOR, expected: 'any' });
      expect(await given.store.listPolicies({ limit: 2, after: '' })).toMatchObject({
        items: [{ id: 'a', version: 2 }, { id: 'b' }],
        next: 'b',
      });
      expect(await given.store.listPolicies({ limit: 2, after: 'b' })).toMatchObject({
        items: [{ id: 'c' }],
        next: null,
      });
    });

    it('holds changes to the version that they expect', async () => {
      await given.store.putPolicy(policy('base'), create);
      const epochs = await given.store.epochs();
      const put = (id: string, expected: number | null): Promise<unknown> =>
        given.store.putPolicy(policy(id), { ...OPERATOR, expected });
      await expect(put('base', null)).rejects.toMatchObject({ code: 'already_exists' });
      await expect(put('base', 2)).rejects.toMatchObject({ code: 'etag_mismatch' });
      await expect(put('other', 1)).rejects.toMatchObject({ code: 'not_found' });
      const remove = (id: string, expected: number | 'any'): Promise<void> =>
        given.store.deletePolicy(id, { ...OPERATOR, expected });
      await expect(remove('base', 2)).rejects.toMatchObject({ code: 'etag_mismatch' });
      await expect(remove('other', 'any')).rejects.toMatchObject({ code: 'not_found' });
      expect(await given.store.epochs()).toEqual(epochs);
    });

    it('drops what another version of the appraisal judged, once, and fences its rounds', async () => {
      await given.store.judgeBy(1);
      const host = await affirmed(given.store, 'a');
      const inFlight = await round(given.store, host.id);
      expect(await given.store.judgeBy(1)).toBe(0);
      expect(await given.store.getResult(host.id)).toMatchObject({ status: 'affirming' });
      expect(await given.store.judgeBy(2)).toBe(1);
      const fallen = await given.store.getResult(host.id);
      expect(fallen).toMatchObject({ status: 'none', validUntil: null });
      expect(await reasons(given.store, host.id)).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await given.store.dueReappraisals(9, given.store.now())).toMatchObject([{ host: { id: host.id } }]);
      expect((await commit(given.store, inFlight)).outcome).toBe('fenced');
      expect(await given.store.judgeBy(2)).toBe(0);
      expect((await given.store.listAudit(0, 100)).map(({ action }) => action)).toContain('appraisal.change');
    });

    it('lets one of two simultaneous updates through', async () => {
      await given.store.putPolicy(policy('base'), create);
      const update = (): Promise<unknown> => given.store.putPolicy(policy('base'), { ...OPERATOR, expected: 1 });
      const settled = await Promise.allSettled([update(), update()]);
      expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    });

    it('never gives a version of a deleted policy to another content', async () => {
      await given.store.putPolicy(policy('base'), create);
      await given.store.deletePolicy('base', { ...OPERATOR, expected: 1 });
      expect(await given.store.getPolicy('base', null)).toBeNull();
      expect(await given.store.getPolicy('base', 1)).toMatchObject({ version: 1 });
      expect((await given.store.allPolicies()).policies).toEqual([]);
      expect(await given.store.putPolicy(policy('base'), create)).toMatchObject({ version: 2 });
    });

    it('drops the verdicts of the hosts that it judges, and of no other', async () => {
      await given.store.putPolicy(policy('base', { allHosts: true }), create);
      for (const name of ['plain', 'north', 'named']) await affirmed(given.store, name);
      await given.store.updateHost('h-north', { labels: { zone: 'n' } }, { ...OPERATOR, version: null });
      await given.store.updateHost('h-named', { trustPolicy: 'base' }, { ...OPERATOR, version: null });
      await enrolled(given.store, 'silent');
      const { revision } = await given.store.heads();

      await given.store.putPolicy(policy('north', { matchLabels: { zone: 'n' }, precedence: 1 }), create);
      expect(await given.store.changesSince(revision, 10)).toMatchObject([
        {
          hostId: 'h-north',
          cause: 'input_changed',
          prior: { status: 'affirming' },
          result: { status: 'none', validUntil: null },
        },
      ]);
      expect(await reasons(given.store, 'h-north')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await given.store.getResult('h-plain')).toMatchObject({ status: 'affirming' });

      await given.store.putPolicy(policy('base', { allHosts: true }), { ...OPERATOR, expected: 1 });
      const touched = (await given.store.changesSince(revision + 1, 10)).map(({ hostId }) => hostId);
      // The north host has nothing to lose any more, the silent one never had.
      expect(touched).toEqual(['h-named', 'h-plain']);
    });

    it('tells a host on a stream that had no policy to judge it that there is one now', async () => {
      const host = await affirmed(given.store, 'open');
      await commit(given.store, await round(given.store, 'h-open', { verdict: verdict(host, { status: 'none' }) }));
      await enrolled(given.store, 'silent');
      const { revision } = await given.store.heads();
      await given.store.putPolicy(policy('base', { allHosts: true }), create);
      expect(await given.store.changesSince(revision, 10)).toMatchObject([
        { hostId: 'h-open', cause: 'input_changed', prior: { status: 'none' }, result: { status: 'none' } },
      ]);
    });

    it('drops verdicts when two policies collide and when the judging one goes', async () => {
      await given.store.putPolicy(policy('base', { allHosts: true }), create);
      await affirmed(given.store, 'a');
      await given.store.putPolicy(policy('rival', { allHosts: true }), create);
      expect(await reasons(given.store, 'h-a')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      await given.store.deletePolicy('rival', { ...OPERATOR, expected: 'any' });
      await affirmed(given.store, 'b');
      await given.store.deletePolicy('base', { ...OPERATOR, expected: 'any' });
      expect(await reasons(given.store, 'h-b')).toEqual(['APPRAISAL_INPUT_CHANGED']);
    });

    it('leaves the ban of a revoked host alone', async () => {
      await given.store.putPolicy(policy('base', { allHosts: true }), create);
      await affirmed(given.store, 'a');
      await given.store.revokeHost('h-a', { ...OPERATOR, reason: '' });
      await given.store.putPolicy(policy('base', { allHosts: true }), { ...OPERATOR, expected: 1 });
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'contraindicated' });
    });
  });
}
