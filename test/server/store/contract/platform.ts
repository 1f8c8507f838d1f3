import { describe, expect, it } from 'vitest';
import type { PlatformRecord } from '../../../../server/store/records.ts';
import { affirmed, commit, enrolled, MINUTE, OPERATOR, policy, round, verdict } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describePlatform(given: Given): void {
  describe('all hosts together', () => {
    type Labels = Readonly<Record<string, string>>;
    const read = (selectors: Labels | readonly Labels[] = {}, exceptions = 10): Promise<PlatformRecord> =>
      given.store.platform([selectors].flat(), { exceptions, policies: 10 });
    const groups = ({ groups: found }: PlatformRecord): readonly string[] =>
      found.map(({ policyId, policyVersion, status, hosts }) => `${policyId}@${policyVersion} ${status} ${hosts}`);
    const fallen = ({ exceptions }: PlatformRecord): readonly string[] =>
      exceptions.map(({ hostId, status }) => `${hostId} ${status}`);

    /** A host whose newest verdict has this status. */
    async function judged(name: string, status: 'warning' | 'contraindicated', policyVersion = 1): Promise<void> {
      const host = await enrolled(given.store, name);
      const found = verdict(host, { status, policyVersion });
      await commit(given.store, await round(given.store, host.id, { verdict: found }));
    }

    it('are counted by policy and status, and those not affirming are told, the worst first', async () => {
      await given.store.putPolicy(policy('base'), { ...OPERATOR, expected: null });
      await affirmed(given.store, 'a');
      await judged('c', 'warning');
      await judged('b', 'contraindicated');
      await enrolled(given.store, 'd');
      const record = await read();
      expect(groups(record)).toEqual([
        '@0 none 1',
        'base@1 affirming 1',
        'base@1 contraindicated 1',
        'base@1 warning 1',
      ]);
      expect(fallen(record)).toEqual(['h-b contraindicated', 'h-c warning', 'h-d none']);
      expect(record.policies.map(({ id, version }) => `${id}@${version}`)).toEqual(['base@1']);
      expect(record).toMatchObject({ time: given.store.now(), revision: (await given.store.heads()).revision });
    });

    it('are none when there is none', async () => {
      const empty = { groups: [], exceptions: [], policies: [], oldestChallenge: null, earliestValidUntil: null };
      expect(await read()).toMatchObject(empty);
    });

    it('are those with the labels alone', async () => {
      await affirmed(given.store, 'a');
      await affirmed(given.store, 'b');
      await enrolled(given.store, 'c');
      await given.store.updateHost('h-b', { labels: { zone: 'n', rack: '1' } }, { ...OPERATOR, version: null });
      expect(groups(await read({ zone: 'n' }))).toEqual(['base@1 affirming 1']);
      expect(fallen(await read({ zone: 'n' }))).toEqual([]);
      expect(groups(await read({ zone: 's' }))).toEqual([]);
      expect(groups(await read([{ zone: 'n' }, { rack: '1' }, {}]))).toEqual(['base@1 affirming 1']);
      expect(groups(await read([{ zone: 'n' }, { zone: 's' }]))).toEqual([]);
      expect(groups(await read([]))).toEqual(['@0 none 1', 'base@1 affirming 2']);
    });

    it('count as none from the moment on in which their validity ends, before anybody writes it and after', async () => {
      const start = given.store.now();
      await affirmed(given.store, 'a');
      given.clock.advance(MINUTE);
      await affirmed(given.store, 'b');
      expect(await read()).toMatchObject({ oldestChallenge: start, earliestValidUntil: start + 10 * MINUTE });
      given.clock.advance(9 * MINUTE - 1);
      expect(groups(await read())).toEqual(['base@1 affirming 2']);
      given.clock.advance(1);
      for (const when of ['before', 'after']) {
        const record = await read();
        expect(groups(record), when).toEqual(['base@1 affirming 1', 'base@1 none 1']);
        expect(record, when).toMatchObject({
          oldestChallenge: start + MINUTE,
          earliestValidUntil: start + 11 * MINUTE,
        });
        expect(record.exceptions, when).toMatchObject([
          { hostId: 'h-a', status: 'none', revisionTime: start + 10 * MINUTE, validUntil: null },
        ]);
        await given.store.expireResults(10);
      }
    });

    it('are told with the time since when they have their status, whatever was written since', async () => {
      const start = given.store.now();
      for (const name of ['a', 'b']) await affirmed(given.store, name);
      const since = async (): Promise<readonly string[]> =>
        (await read()).exceptions.map(
          ({ hostId, status, revisionTime }) => `${hostId} ${status} ${revisionTime - start}`,
        );
      for (const policyVersion of [1, 2]) {
        given.clock.advance(MINUTE);
        const host = await given.store.getHost('h-a');
        if (host === null) throw new Error('no host');
        const found = verdict(host, { status: 'contraindicated', policyVersion });
        await commit(given.store, await round(given.store, 'h-a', { verdict: found }));
      }
      await given.store.updateHost('h-a', { labels: { zone: 'n' } }, { ...OPERATOR, version: null });
      expect((await given.store.listHistory('h-a', { limit: 10, after: '' }, {})).items).toHaveLength(5);
      expect(await since()).toEqual([`h-a contraindicated ${MINUTE}`]);
      await commit(given.store, await round(given.store, 'h-a'));
      expect(await since()).toEqual([]);
      given.clock.advance(9 * MINUTE);
      await given.store.expireResults(10);
      await given.store.updateHost('h-b', { nodeName: 'other' }, { ...OPERATOR, version: null });
      expect(await since()).toEqual([`h-b none ${10 * MINUTE}`]);
    });

    it('have a version of a policy that was since replaced or deleted', async () => {
      await given.store.putPolicy(policy('base'), { ...OPERATOR, expected: null });
      await given.store.putPolicy(policy('base'), { ...OPERATOR, expected: 'any' });
      await judged('a', 'contraindicated', 1);
      await judged('b', 'contraindicated', 2);
      await given.store.deletePolicy('base', { ...OPERATOR, expected: 'any' });
      expect((await read()).policies.map(({ version }) => version)).toEqual([1, 2]);
    });

    it('are told as far as asked, and counted all', async () => {
      for (const name of ['a', 'b', 'c']) await enrolled(given.store, name);
      const record = await read({}, 2);
      expect(fallen(record)).toEqual(['h-a none', 'h-b none']);
      expect(groups(record)).toEqual(['@0 none 3']);
    });

    it('with one that is revoked, whose verdict does not lapse', async () => {
      await affirmed(given.store, 'a');
      await given.store.revokeHost('h-a', { ...OPERATOR, reason: '' });
      given.clock.advance(60 * MINUTE);
      expect(fallen(await read())).toEqual(['h-a contraindicated']);
    });
  });
}
