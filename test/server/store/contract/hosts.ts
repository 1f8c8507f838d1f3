import { describe, expect, it } from 'vitest';
import {
  affirmed,
  commit,
  ek,
  enrolled,
  enrollment,
  NO_FILTER,
  OPERATOR,
  policy,
  reasons,
  round,
  digest,
} from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeHosts(given: Given): void {
  const anyVersion = { ...OPERATOR, version: null };

  describe('hosts', () => {
    it('lists by state and labels, page by page, in the order of ids', async () => {
      for (const name of ['c', 'a', 'd', 'b'])
        await enrolled(given.store, name, name === 'b' ? { state: 'pending' } : {});
      await given.store.updateHost('h-c', { labels: { zone: 'north', 'odd "key"': 'x' } }, anyVersion);
      await given.store.updateHost('h-d', { labels: { zone: 'north' } }, anyVersion);
      const list = async (after: string, states: ('pending' | 'active')[] = [], matchLabels = {}) => {
        const page = await given.store.listHosts({ limit: 2, after }, { states, matchLabels, scope: {} });
        return { ids: page.items.map((host) => host.id), next: page.next };
      };
      expect(await list('')).toEqual({ ids: ['h-a', 'h-b'], next: 'h-b' });
      expect(await list('h-b')).toEqual({ ids: ['h-c', 'h-d'], next: null });
      expect(await list('', ['active'])).toEqual({ ids: ['h-a', 'h-c'], next: 'h-c' });
      expect(await list('', [], { zone: 'north' })).toEqual({ ids: ['h-c', 'h-d'], next: null });
      expect(await list('', [], { 'odd "key"': 'x' })).toEqual({ ids: ['h-c'], next: null });
      expect(await list('', [], { zone: 'south' })).toEqual({ ids: [], next: null });
    });

    it('writes labels and node name as a revision that keeps the verdict', async () => {
      await affirmed(given.store, 'a');
      const host = await given.store.updateHost('h-a', { labels: { zone: 'n' }, nodeName: 'node-1' }, anyVersion);
      expect(host).toMatchObject({ labels: { zone: 'n' }, nodeName: 'node-1', version: 2 });
      expect(await given.store.getResult('h-a')).toMatchObject({
        status: 'affirming',
        nodeName: 'node-1',
        labels: { zone: 'n' },
      });
      expect((await given.store.changesSince(2, 10))[0]).toMatchObject({
        cause: 'updated',
        prior: { labels: {}, status: 'affirming' },
      });
      // The verdict is still the one that the next round confirms.
      expect(await commit(given.store, await round(given.store, 'h-a'))).toMatchObject({ outcome: 'confirmed' });
    });

    it('writes nothing when nothing changes', async () => {
      const host = await affirmed(given.store, 'a');
      const heads = await given.store.heads();
      expect(await given.store.updateHost('h-a', { labels: {}, nodeName: '' }, anyVersion)).toEqual(host);
      expect(await given.store.heads()).toEqual(heads);
    });

    it('holds an update to the version that it names, and node names to one host', async () => {
      await enrolled(given.store, 'a');
      await enrolled(given.store, 'b');
      await given.store.updateHost('h-a', { nodeName: 'n1' }, { ...OPERATOR, version: 1 });
      await expect(
        given.store.updateHost('h-a', { nodeName: 'n2' }, { ...OPERATOR, version: 1 }),
      ).rejects.toMatchObject({
        code: 'etag_mismatch',
      });
      await expect(given.store.updateHost('h-b', { nodeName: 'n1' }, anyVersion)).rejects.toMatchObject({
        code: 'already_exists',
      });
      await expect(given.store.updateHost('h-x', { nodeName: 'n1' }, anyVersion)).rejects.toMatchObject({
        code: 'not_found',
      });
    });

    it('drops the verdict when labels or a named policy put another policy over the host', async () => {
      await given.store.putPolicy(policy('north', { matchLabels: { zone: 'n' } }), { ...OPERATOR, expected: null });
      await affirmed(given.store, 'a');
      await affirmed(given.store, 'b');
      await given.store.updateHost('h-a', { labels: { zone: 'n' } }, anyVersion);
      await given.store.updateHost('h-b', { trustPolicy: 'north' }, anyVersion);
      for (const id of ['h-a', 'h-b']) expect(await reasons(given.store, id)).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await given.store.getResult('h-a')).toMatchObject({
        status: 'none',
        labels: { zone: 'n' },
        validUntil: null,
      });
      const causes = (await given.store.changesSince(4, 10)).map(({ cause }) => cause);
      expect(causes).toEqual(['input_changed', 'input_changed']);
    });

    it('drops the verdict when labels or name change that the policy itself looks at', async () => {
      const attachment = { matchLabels: {}, allHosts: true, precedence: 7, judgesNames: true };
      await given.store.putPolicy({ ...policy('names'), attachment }, { ...OPERATOR, expected: null });
      await affirmed(given.store, 'a');
      await affirmed(given.store, 'b');
      await given.store.updateHost('h-a', { labels: { zone: 'n' } }, anyVersion);
      await given.store.updateHost('h-b', { nodeName: 'node-b' }, anyVersion);
      for (const id of ['h-a', 'h-b']) expect(await reasons(given.store, id)).toEqual(['APPRAISAL_INPUT_CHANGED']);
    });

    it('fences a round that was judged under other labels', async () => {
      await affirmed(given.store, 'a');
      const judged = await round(given.store, 'h-a');
      await given.store.updateHost('h-a', { labels: { zone: 'n' } }, anyVersion);
      expect(await commit(given.store, judged)).toEqual({ outcome: 'fenced' });
    });

    it('approves a waiting host once, at the version that the operator saw', async () => {
      const host = await enrolled(given.store, 'a', { state: 'pending', admission: 'approval' });
      const options = { ...OPERATOR, acknowledgeFindings: false, akCertificate: 'ee', expectedVersion: host.version };
      await expect(given.store.approveHost('h-a', { ...options, expectedVersion: 9 })).rejects.toMatchObject({
        code: 'etag_mismatch',
      });
      const approved = await given.store.approveHost('h-a', options);
      expect(approved).toMatchObject({ state: 'active', admission: 'approval', version: 2, ak: { certificate: 'ee' } });
      expect(await reasons(given.store, 'h-a')).toEqual(['AWAITING_EVIDENCE']);
      expect((await given.store.changesSince(1, 10))[0]).toMatchObject({ cause: 'approved' });
      await expect(given.store.approveHost('h-a', { ...options, expectedVersion: 2 })).rejects.toMatchObject({
        code: 'wrong_state',
      });
    });

    it('bans a revoked host with every EK, for good', async () => {
      await affirmed(given.store, 'a', { eks: [ek('a'), ek('a2')] });
      const judged = await round(given.store, 'h-a');
      const host = await given.store.revokeHost('h-a', { ...OPERATOR, reason: 'stolen' });
      expect(host).toMatchObject({ state: 'revoked', version: 2 });
      expect(await commit(given.store, judged)).toEqual({ outcome: 'fenced' });
      expect(await given.store.enroll(await enrollment(given.store, 'b', { eks: [ek('a2'), ek('new')] }))).toEqual({
        outcome: 'banned',
      });
      const now = { ...(await round(given.store, 'h-a')) };
      expect(await commit(given.store, now)).toEqual({ outcome: 'fenced' });
      given.clock.advance(365 * 86_400_000);
      await given.store.expireResults(100);
      expect(await given.store.getResult('h-a')).toMatchObject({
        status: 'contraindicated',
        validUntil: null,
        vector: { instanceIdentity: 96 },
        checks: [{ reason: 'HOST_REVOKED', outcome: 'failed' }],
      });
      const heads = await given.store.heads();
      expect(await given.store.revokeHost('h-a', { ...OPERATOR, reason: 'again' })).toMatchObject({ version: 2 });
      expect(await given.store.heads()).toEqual(heads);
    });

    it('writes a revoked host its ban whichever of the ban and a round comes first', async () => {
      await affirmed(given.store, 'a');
      const judged = await round(given.store, 'h-a');
      await Promise.all([
        given.store.commitRounds([judged]),
        given.store.revokeHost('h-a', { ...OPERATOR, reason: 'stolen' }),
      ]);
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'contraindicated' });
    });

    it('forgets a deleted host, lifts its ban, and tells who watches', async () => {
      await affirmed(given.store, 'a');
      await given.store.revokeHost('h-a', { ...OPERATOR, reason: 'stolen' });
      await given.store.deleteHost('h-a', OPERATOR);
      expect(await given.store.getHost('h-a')).toBeNull();
      expect(await given.store.getResult('h-a')).toBeNull();
      expect((await given.store.snapshot(NO_FILTER)).results).toEqual([]);
      expect((await given.store.changesSince(3, 10))[0]).toMatchObject({
        revision: 4,
        cause: 'deleted',
        result: { status: 'contraindicated', hostId: 'h-a' },
        prior: { status: 'contraindicated' },
      });
      const history = await given.store.listHistory('h-a', { limit: 10, after: '' }, {});
      expect(history.items.map((result) => result.revision)).toEqual([3, 2, 1]);
      expect((await given.store.listAudit(0, 100)).at(-1)?.detail).toContain('lifted');
      await expect(given.store.deleteHost('h-a', OPERATOR)).rejects.toMatchObject({ code: 'not_found' });
    });

    it('puts a host in the place of another: names move, the former is banned, and the policy judges the new one', async () => {
      await affirmed(given.store, 'a');
      await affirmed(given.store, 'b');
      await given.store.putPolicy(policy('racks', { matchLabels: { rack: 'a1' } }), { ...OPERATOR, expected: null });
      const given_ = { nodeName: 'node-1', labels: { rack: 'a1' } };
      await given.store.updateHost('h-a', given_, anyVersion);
      const host = await given.store.replaceHost('h-a', 'h-b', { ...OPERATOR, reason: 'new mainboard' });
      expect(host).toMatchObject({ id: 'h-b', state: 'active', ...given_ });
      expect(await given.store.getHost('h-a')).toMatchObject({ state: 'revoked', nodeName: '', labels: {} });
      expect(await reasons(given.store, 'h-a')).toEqual(['HOST_REVOKED']);
      expect(await reasons(given.store, 'h-b')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await given.store.findByEks([ek('a').fingerprint])).toEqual({ owner: 'banned' });
      const actions = (await given.store.listAudit(0, 100)).map(({ action, target }) => `${action} ${target}`);
      expect(actions.slice(-4)).toEqual([
        'host.update hosts/h-a',
        'host.revoke hosts/h-a',
        'host.update hosts/h-b',
        'host.replace hosts/h-a',
      ]);
    });

    it.each([
      { name: 'itself', id: 'h-a', replacement: 'h-a', code: 'wrong_state' },
      { name: 'a banned host', id: 'h-a', replacement: 'h-banned', code: 'wrong_state' },
      { name: 'a host that is not there', id: 'h-a', replacement: 'h-x', code: 'not_found' },
    ])('puts nothing in the place of a host by $name', async ({ id, replacement, code }) => {
      await enrolled(given.store, 'a');
      await enrolled(given.store, 'banned');
      await given.store.revokeHost('h-banned', { ...OPERATOR, reason: '' });
      await given.store.updateHost('h-a', { nodeName: 'node-1' }, anyVersion);
      const before = [await given.store.getHost('h-a'), await given.store.heads()];
      await expect(given.store.replaceHost(id, replacement, { ...OPERATOR, reason: '' })).rejects.toMatchObject({
        code,
      });
      expect([await given.store.getHost('h-a'), await given.store.heads()]).toEqual(before);
    });

    it('takes a deleted host that enrols again for another one: its counts go on, and nothing else', async () => {
      await enrolled(given.store, 'a', { tlsKeySha256: digest('former') });
      expect(await given.store.getHost('h-a')).toMatchObject({ version: 1, tlsKeySha256: digest('former') });
      await given.store.deleteHost('h-a', OPERATOR);
      const again = await enrolled(given.store, 'a', { tlsKeySha256: digest('present') });
      expect(again).toMatchObject({ version: 2, akGeneration: 2, round: 0, tlsKeySha256: digest('present') });
      expect(await given.store.getHost('h-a')).toEqual(again);
    });

    it('takes no round and no etag of a deleted host for the one that came after it', async () => {
      await enrolled(given.store, 'a');
      const judged = await round(given.store, 'h-a');
      await given.store.deleteHost('h-a', OPERATOR);
      await enrolled(given.store, 'a');
      expect(await given.store.commitRounds([judged])).toEqual([{ outcome: 'fenced' }]);
      const update = given.store.updateHost('h-a', { nodeName: 'n' }, { ...OPERATOR, version: judged.fence.version });
      await expect(update).rejects.toMatchObject({ code: 'etag_mismatch' });
    });
  });
}
