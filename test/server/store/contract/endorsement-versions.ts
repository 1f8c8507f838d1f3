import { describe, expect, it } from 'vitest';
import { digest, ek, OPERATOR } from '../fixtures.ts';
import type { Given } from './harness.ts';

/** Versions of what vouches for TPMs, and who made them. */
export function describeEndorsementVersions(given: Given): void {
  const ANY = { ...OPERATOR, expected: 'any' } as const;
  const ALL = { limit: 100, after: '' };
  const anchor = { fingerprint: digest('a'), subject: 'CN=a', anchor: true, notAfter: 1, certificate: '3082' };
  const list = (number: string) => ({
    fingerprint: digest(`list ${number}`),
    issuer: 'CN=a',
    issuerKey: digest('key a'),
    number,
    thisUpdate: 1_000,
    nextUpdate: null,
    entries: 1,
    list: `30${number}`,
  });
  const changes = async (resource = '') => (await given.store.listEndorsementChanges(ALL, resource)).changes.items;

  describe('versions of endorsements', () => {
    it('count on with every change of an anchor, also across a removal, and former ones stay readable', async () => {
      await given.store.addTrustAnchors([{ ...anchor, anchor: false }], OPERATOR);
      given.clock.advance(1000);
      const second = await given.store.addTrustAnchors([anchor], OPERATOR);
      expect(second).toMatchObject([{ version: 2, anchor: true, createTime: given.store.now() }]);
      await given.store.removeTrustAnchor(anchor.fingerprint, ANY);
      expect(await given.store.allTrustAnchors()).toEqual([]);
      expect(await given.store.getTrustAnchor(anchor.fingerprint, null)).toBeNull();
      expect(await given.store.addTrustAnchors([anchor], OPERATOR)).toMatchObject([{ version: 3 }]);
      await given.reopen();
      const kept = [1, 2, 3, 4].map((version) => given.store.getTrustAnchor(anchor.fingerprint, version));
      expect(await Promise.all(kept)).toMatchObject(
        [
          { version: 1, anchor: false },
          { version: 2, anchor: true, certificate: '3082' },
          { version: 3, anchor: true },
          null,
        ].map((each) => each ?? expect.toSatisfy((value) => value === null)),
      );
      expect(await given.store.getTrustAnchor(anchor.fingerprint, null)).toMatchObject({ version: 3 });
    });

    it('count the lists of an issuer under one id, and the newest three stay readable', async () => {
      const id = list('01').fingerprint;
      for (const number of ['01', '02', '03']) await given.store.addRevocationLists([list(number)], OPERATOR);
      await given.store.removeRevocationList(id, ANY);
      expect(await given.store.getRevocationList(id, null)).toBeNull();
      expect(await given.store.getRevocationList(id, 3)).toMatchObject({ number: '03', list: '3003' });
      // After a removal an issuer may begin its numbers anew.
      expect(await given.store.addRevocationLists([list('00')], OPERATOR)).toMatchObject([{ id, version: 4 }]);
      const kept = [1, 2, 3, 4].map((version) => given.store.getRevocationList(id, version));
      expect((await Promise.all(kept)).map((each) => each?.number)).toEqual([undefined, '02', '03', '00']);
      expect(await given.store.allRevocationLists()).toMatchObject([{ id, version: 4, list: '3000' }]);
    });

    it('let only what was read be removed', async () => {
      await given.store.addTrustAnchors([{ ...anchor, anchor: false }], OPERATOR);
      await given.store.addTrustAnchors([anchor], OPERATOR);
      await given.store.addRevocationLists([list('01'), list('02')], OPERATOR);
      const before = [await given.store.epochs(), await given.store.listAudit(0, 100)];
      const id = list('01').fingerprint;
      const stale = { ...OPERATOR, expected: 1 };
      await expect(given.store.removeTrustAnchor(anchor.fingerprint, stale)).rejects.toMatchObject({
        code: 'etag_mismatch',
      });
      await expect(given.store.removeRevocationList(id, stale)).rejects.toMatchObject({ code: 'etag_mismatch' });
      expect([await given.store.epochs(), await given.store.listAudit(0, 100)]).toEqual(before);
      await given.store.removeTrustAnchor(anchor.fingerprint, { ...OPERATOR, expected: 2 });
      await given.store.removeRevocationList(id, { ...OPERATOR, expected: 2 });
      await expect(given.store.removeRevocationList(id, { ...OPERATOR, expected: 2 })).rejects.toMatchObject({
        code: 'not_found',
      });
    });

    it('are told of, newest first: who made which, when, and the epoch that verdicts rest on', async () => {
      const { endorsement } = await given.store.epochs();
      await given.store.addTrustAnchors([anchor], OPERATOR);
      given.clock.advance(1000);
      await given.store.addRevocationLists([list('01')], { actor: 'identities/bob' });
      await given.store.addRevocationLists([list('02')], OPERATOR);
      await given.store.putInventory([{ fingerprint: ek('x').fingerprint, group: '', comment: '' }], OPERATOR);
      await given.store.removeTrustAnchor(anchor.fingerprint, ANY);
      const revocations = `revocationLists/${list('01').fingerprint}`;
      const told = await changes();
      expect(
        told.map(({ action, resource, version, epoch }) => [action, resource, version, epoch - endorsement]),
      ).toEqual([
        ['trustAnchor.remove', `trustAnchors/${anchor.fingerprint}`, 1, 5],
        ['inventory.put', 'inventory', 0, 4],
        ['revocationList.add', revocations, 2, 3],
        ['revocationList.add', revocations, 1, 2],
        ['trustAnchor.add', `trustAnchors/${anchor.fingerprint}`, 1, 1],
      ]);
      expect((await given.store.epochs()).endorsement).toBe(told[0]?.epoch);
      const audit = await given.store.listAudit(0, 100);
      for (const { auditSequence: sequence, actor, action, resource: target, detail, time } of told) {
        const record = { sequence, actor, action, target, detail, time };
        expect(audit).toContainEqual(expect.objectContaining(record));
      }
      expect(told[3]).toMatchObject({ actor: 'identities/bob', time: given.store.now() });
      expect((await changes(revocations)).map(({ version }) => version)).toEqual([2, 1]);
      expect(await changes('revocationLists/other')).toEqual([]);
    });

    it('are told of page by page; what was made together has one epoch', async () => {
      const others = ['b', 'c'].map((name) => ({ ...anchor, fingerprint: digest(name) }));
      await given.store.addTrustAnchors([anchor, ...others], OPERATOR);
      const first = await given.store.listEndorsementChanges({ limit: 2, after: '' }, '');
      const second = await given.store.listEndorsementChanges({ limit: 2, after: first.changes.next ?? '' }, '');
      const all = [...first.changes.items, ...second.changes.items];
      expect(all).toEqual(await changes());
      expect(second.changes.next).toBeNull();
      expect(new Set(all.map(({ epoch }) => epoch))).toEqual(new Set([first.epoch]));
      const forged = given.store.listEndorsementChanges({ limit: 2, after: 'x' }, '');
      await expect(forged).rejects.toMatchObject({ code: 'page_token' });
    });
  });
}
