import { describe, expect, it } from 'vitest';
import { affirmed, commit, digest, ek, OPERATOR, reasons, round } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeEndorsements(given: Given): void {
  const anchor = (name: string) => ({
    fingerprint: digest(name),
    subject: `CN=${name}`,
    anchor: true,
    notAfter: 4_000_000_000_000,
    certificate: '3082',
  });
  const list = (name: string, change: object = {}) => ({
    fingerprint: digest(`list ${name}`),
    issuer: `CN=${name}`,
    issuerKey: digest(`key ${name}`),
    number: '01',
    thisUpdate: 1_000,
    nextUpdate: 2_000,
    entries: 1,
    list: '3082',
    ...change,
  });
  const summary = ({ list: _list, ...rest }: ReturnType<typeof list>, version = 1, id = rest.fingerprint) => ({
    ...rest,
    id,
    version,
    createTime: given.store.now(),
  });
  const entry = (name: string, group = '') => ({ fingerprint: ek(name).fingerprint, group, comment: '' });

  describe('endorsements', () => {
    it('keeps trust anchors and lists them page by page', async () => {
      const added = await given.store.addTrustAnchors([anchor('b'), anchor('a')], OPERATOR);
      expect(added).toEqual(['b', 'a'].map((name) => ({ ...anchor(name), version: 1, createTime: given.store.now() })));
      const all = await given.store.allTrustAnchors();
      expect(all.map(({ subject }) => subject).sort()).toEqual(['CN=a', 'CN=b']);
      const page = await given.store.listTrustAnchors({ limit: 1, after: '' });
      expect(page).toEqual({ items: all.slice(0, 1), next: all[0]?.fingerprint });
      await given.store.removeTrustAnchor(digest('a'), { ...OPERATOR, expected: 'any' });
      expect((await given.store.allTrustAnchors()).map(({ subject }) => subject)).toEqual(['CN=b']);
      await expect(given.store.removeTrustAnchor(digest('a'), { ...OPERATOR, expected: 'any' })).rejects.toMatchObject({
        code: 'not_found',
      });
    });

    it('changes nothing by an anchor that is there already', async () => {
      await given.store.addTrustAnchors([anchor('a')], OPERATOR);
      await affirmed(given.store, 'h');
      const before = [await given.store.epochs(), await given.store.heads(), await given.store.listAudit(0, 100)];
      expect(await given.store.addTrustAnchors([anchor('a')], OPERATOR)).toEqual([]);
      expect([await given.store.epochs(), await given.store.heads(), await given.store.listAudit(0, 100)]).toEqual(
        before,
      );
    });

    it('drops the verdicts of hosts with EK certificates and fences rounds in flight when anchors change', async () => {
      await affirmed(given.store, 'certified');
      await affirmed(given.store, 'bare', { eks: [ek('bare')], admission: 'inventory' });
      const judged = await round(given.store, 'h-bare');
      const { endorsement } = await given.store.epochs();
      await given.store.addTrustAnchors([anchor('a')], OPERATOR);
      expect((await given.store.epochs()).endorsement).toBe(endorsement + 1);
      expect(await reasons(given.store, 'h-certified')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await reasons(given.store, 'h-bare')).toEqual([]);
      expect(await commit(given.store, judged)).toEqual({ outcome: 'fenced' });

      await commit(given.store, await round(given.store, 'h-certified'));
      await given.store.removeTrustAnchor(digest('a'), { ...OPERATOR, expected: 'any' });
      expect(await reasons(given.store, 'h-certified')).toEqual(['APPRAISAL_INPUT_CHANGED']);
    });

    it('makes an anchor of an intermediate that is given as one, and no intermediate of an anchor', async () => {
      const intermediate = { ...anchor('a'), anchor: false };
      await given.store.addTrustAnchors([intermediate], OPERATOR);
      expect(await given.store.addTrustAnchors([anchor('a')], OPERATOR)).toMatchObject([{ anchor: true }]);
      expect(await given.store.addTrustAnchors([intermediate], OPERATOR)).toEqual([]);
      expect(await given.store.allTrustAnchors()).toMatchObject([{ anchor: true }]);
    });

    it('keeps revocation lists and lists them page by page, without their bytes', async () => {
      const lists = [list('b'), list('a', { number: '', nextUpdate: null })];
      expect(await given.store.addRevocationLists(lists, OPERATOR)).toEqual(lists.map((each) => summary(each)));
      await given.reopen();
      const all = await given.store.allRevocationLists();
      expect(all.map(({ issuer }) => issuer).sort()).toEqual(['CN=a', 'CN=b']);
      expect(all.every((each) => each.list === '3082')).toBe(true);
      const first = await given.store.listRevocationLists({ limit: 1, after: '' });
      const second = await given.store.listRevocationLists({ limit: 1, after: first.next ?? '' });
      expect([...first.items, ...second.items]).toEqual(all.map(({ list: _list, ...rest }) => rest));
      expect(second.next).toBeNull();
      await given.store.removeRevocationList(list('a').fingerprint, { ...OPERATOR, expected: 'any' });
      expect((await given.store.allRevocationLists()).map(({ issuer }) => issuer)).toEqual(['CN=b']);
      await expect(
        given.store.removeRevocationList(list('a').fingerprint, { ...OPERATOR, expected: 'any' }),
      ).rejects.toMatchObject({
        code: 'not_found',
      });
    });

    it('replaces the list of an issuer by a newer one, and tells issuers apart by name and key', async () => {
      const first = list('a');
      const second = { ...first, fingerprint: digest('second'), number: '02', list: '3083' };
      const otherKey = list('a', { fingerprint: digest('other'), issuerKey: digest('other key') });
      await given.store.addRevocationLists([first, otherKey, list('b')], OPERATOR);
      expect(await given.store.addRevocationLists([second], OPERATOR)).toEqual([summary(second, 2, first.fingerprint)]);
      const kept = (await given.store.allRevocationLists()).map(({ fingerprint }) => fingerprint);
      expect(kept.sort()).toEqual([second, otherKey, list('b')].map(({ fingerprint }) => fingerprint).sort());

      const third = { ...first, fingerprint: digest('third'), number: '03' };
      const fourth = { ...first, fingerprint: digest('fourth'), number: '04' };
      expect(await given.store.addRevocationLists([third, fourth], OPERATOR)).toEqual([
        summary(fourth, 4, first.fingerprint),
      ]);
    });

    it('refuses a list that is not newer than the one it would replace, and every other one with it', async () => {
      await given.store.addRevocationLists([list('a', { number: '05' })], OPERATOR);
      await affirmed(given.store, 'h');
      const state = async () => [
        await given.store.epochs(),
        await given.store.heads(),
        await given.store.listAudit(0, 100),
        await given.store.allRevocationLists(),
      ];
      const before = await state();
      const older = list('a', { fingerprint: digest('older'), number: '04' });
      await expect(given.store.addRevocationLists([list('b'), older], OPERATOR)).rejects.toMatchObject({
        code: 'outdated',
        message: expect.stringMatching(/CN=a number 0x04 .* 0x05/) as string,
      });
      expect(await state()).toEqual(before);
      expect(await given.store.addRevocationLists([list('a', { number: '05' })], OPERATOR)).toEqual([]);
      expect(await state()).toEqual(before);
    });

    it('drops the verdicts of hosts with EK certificates and fences rounds in flight when lists change', async () => {
      await affirmed(given.store, 'certified');
      await affirmed(given.store, 'bare', { eks: [ek('bare')], admission: 'inventory' });
      const judged = await round(given.store, 'h-bare');
      const { endorsement } = await given.store.epochs();
      await given.store.addRevocationLists([list('a'), list('b')], OPERATOR);
      expect((await given.store.epochs()).endorsement).toBe(endorsement + 1);
      expect(await reasons(given.store, 'h-certified')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await reasons(given.store, 'h-bare')).toEqual([]);
      expect(await commit(given.store, judged)).toEqual({ outcome: 'fenced' });

      await commit(given.store, await round(given.store, 'h-certified'));
      await given.store.removeRevocationList(list('a').fingerprint, { ...OPERATOR, expected: 'any' });
      expect(await reasons(given.store, 'h-certified')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect((await given.store.epochs()).endorsement).toBe(endorsement + 2);
    });

    it('keeps the inventory and counts what it adds and updates', async () => {
      expect(await given.store.putInventory([entry('a'), entry('b')], OPERATOR)).toEqual({ added: 2, updated: 0 });
      const { endorsement } = await given.store.epochs();
      expect(
        await given.store.putInventory([entry('a'), { ...entry('b'), comment: 'rack 4' }, entry('c')], OPERATOR),
      ).toEqual({
        added: 1,
        updated: 1,
      });
      expect((await given.store.epochs()).endorsement).toBe(endorsement + 1);
      expect(await given.store.putInventory([entry('a')], OPERATOR)).toEqual({ added: 0, updated: 0 });
      expect((await given.store.epochs()).endorsement).toBe(endorsement + 1);
      expect(await given.store.findInventory([ek('b').fingerprint, ek('x').fingerprint])).toEqual([
        { ...entry('b'), comment: 'rack 4', createTime: given.store.now() },
      ]);
      const page = await given.store.listInventory({ limit: 2, after: '' });
      expect(page.items).toHaveLength(2);
      expect((await given.store.listInventory({ limit: 2, after: page.next ?? '' })).items).toHaveLength(1);
    });

    it('drops the verdicts of hosts whose EK, or a neighbour of it, enters or leaves the inventory', async () => {
      for (const name of ['a', 'b', 'c']) await affirmed(given.store, name);
      await given.store.putInventory([entry('a', 'machine 1'), entry('new')], OPERATOR);
      expect(await reasons(given.store, 'h-a')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await reasons(given.store, 'h-b')).toEqual([]);

      await commit(given.store, await round(given.store, 'h-a'));
      await given.store.putInventory([entry('b', 'machine 1')], OPERATOR);
      expect(await reasons(given.store, 'h-a')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await reasons(given.store, 'h-b')).toEqual(['APPRAISAL_INPUT_CHANGED']);

      await commit(given.store, await round(given.store, 'h-b'));
      await given.store.removeInventory(ek('a').fingerprint, OPERATOR);
      expect(await reasons(given.store, 'h-b')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await reasons(given.store, 'h-c')).toEqual([]);
      await expect(given.store.removeInventory(ek('a').fingerprint, OPERATOR)).rejects.toMatchObject({
        code: 'not_found',
      });
    });
  });
}
