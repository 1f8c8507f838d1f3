import { describe, expect, it } from 'vitest';
import { AUDIT_CHAIN_START, findBrokenAudit } from '../../../../server/store/audit.ts';
import { ak, affirmed, commit, digest, enrollAgain, OPERATOR, policy, round, verdict } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeAudit(given: Given): void {
  describe('the audit log', () => {
    it('records every change of trust, policy, key and identity in an unbroken chain', async () => {
      const { store } = given;
      const host = await affirmed(store, 'a');
      await commit(store, await round(store, 'h-a'));
      await commit(store, await round(store, 'h-a', { verdict: verdict(host, { status: 'warning' }) }));
      await store.updateHost('h-a', { nodeName: 'n' }, { ...OPERATOR, version: null });
      const now = (await store.getHost('h-a')) ?? host;
      const held = await store.enroll(await enrollAgain(store, now, { ak: ak('next') }));
      const expectedVersion = 'host' in held ? held.host.version : 0;
      await store.approveHost('h-a', { ...OPERATOR, acknowledgeFindings: false, akCertificate: '', expectedVersion });
      await store.putPolicy(policy('base'), { ...OPERATOR, expected: null });
      await store.putPolicy(policy('base'), { ...OPERATOR, expected: 1 });
      await store.deletePolicy('base', { ...OPERATOR, expected: 2 });
      const anchor = { fingerprint: digest('ca'), subject: 'CN=ca', anchor: true, notAfter: 1, certificate: '30' };
      await store.addTrustAnchors([anchor], OPERATOR);
      await store.removeTrustAnchor(digest('ca'), { ...OPERATOR, expected: 'any' });
      const list = { fingerprint: digest('crl'), issuer: 'CN=ca', issuerKey: digest('key'), number: '', list: '30' };
      await store.addRevocationLists([{ ...list, thisUpdate: 1, nextUpdate: null, entries: 0 }], OPERATOR);
      await store.removeRevocationList(digest('crl'), { ...OPERATOR, expected: 'any' });
      await store.putInventory([{ fingerprint: digest('ek'), group: '', comment: '' }], OPERATOR);
      await store.removeInventory(digest('ek'), OPERATOR);
      await store.putIdentity(
        { name: 'bob', roles: ['auditor'], keySha256: digest('k'), expireTime: 9, scope: {} },
        OPERATOR,
      );
      await store.revokeIdentity('bob', OPERATOR);
      await store.addKey({ purpose: 'token', version: 1, certificate: '', sealed: 'aa' }, OPERATOR);
      await store.revokeHost('h-a', { ...OPERATOR, reason: 'stolen' });
      await store.deleteHost('h-a', OPERATOR);
      await store.acceptClock(OPERATOR);

      const records = await store.listAudit(0, 100);
      expect(records.map(({ action }) => action)).toEqual([
        'host.enroll.created',
        'result.change',
        'result.change',
        'host.update',
        'host.enroll.replacement_pending',
        'host.approve',
        'policy.create',
        'policy.update',
        'policy.delete',
        'trustAnchor.add',
        'trustAnchor.remove',
        'revocationList.add',
        'revocationList.remove',
        'inventory.put',
        'inventory.remove',
        'identity.issue',
        'identity.revoke',
        'key.add',
        'host.revoke',
        'host.delete',
        'clock.accept',
      ]);
      expect(records.map(({ sequence }) => sequence)).toEqual(records.map((_, index) => index + 1));
      expect(records.find(({ action }) => action === 'host.revoke')).toMatchObject({
        actor: 'operators/ada',
        target: 'hosts/h-a',
        detail: 'stolen',
        time: given.store.now(),
      });
      expect(findBrokenAudit(AUDIT_CHAIN_START, records)).toBeNull();
    });

    it('continues its chain after a restart and reads on from any record', async () => {
      await affirmed(given.store, 'a');
      await given.reopen();
      await affirmed(given.store, 'b');
      const records = await given.store.listAudit(0, 100);
      expect(records).toHaveLength(4);
      expect(findBrokenAudit(AUDIT_CHAIN_START, records)).toBeNull();
      expect(await given.store.listAudit(2, 1)).toEqual(records.slice(2, 3));
      expect(findBrokenAudit(records[1]?.hash ?? '', records.slice(2))).toBeNull();
    });
  });
}
