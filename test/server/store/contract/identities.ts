import { describe, expect, it } from 'vitest';
import { digest, OPERATOR } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeIdentities(given: Given): void {
  const identity = (name: string) => ({
    name,
    roles: ['operator' as const],
    keySha256: digest(name),
    expireTime: 4e12,
    scope: {},
  });
  const key = (version: number) => ({ purpose: 'token', version, certificate: '', sealed: 'aa' });

  describe('identities and keys', () => {
    it('issues, renews and lists identities', async () => {
      const issued = await given.store.putIdentity(identity('ada'), OPERATOR);
      expect(issued).toEqual({ ...identity('ada'), createTime: given.store.now(), revoked: false });
      given.clock.advance(1000);
      const renewed = await given.store.putIdentity({ ...identity('ada'), roles: ['auditor', 'operator'] }, OPERATOR);
      expect(renewed).toEqual({ ...issued, roles: ['auditor', 'operator'] });
      expect(await given.store.getIdentity('ada')).toEqual(renewed);
      expect(await given.store.getIdentity('eve')).toBeNull();
      await given.store.putIdentity(identity('bob'), OPERATOR);
      const page = await given.store.listIdentities({ limit: 1, after: '' });
      expect(page).toMatchObject({ items: [{ name: 'ada' }], next: 'ada' });
      expect(await given.store.listIdentities({ limit: 1, after: 'ada' })).toMatchObject({
        items: [{ name: 'bob' }],
        next: null,
      });
    });

    it('keeps a revoked identity revoked', async () => {
      await given.store.putIdentity(identity('ada'), OPERATOR);
      expect(await given.store.revokeIdentity('ada', OPERATOR)).toMatchObject({ revoked: true });
      const audit = await given.store.listAudit(0, 10);
      expect(await given.store.revokeIdentity('ada', OPERATOR)).toMatchObject({ revoked: true });
      expect(await given.store.listAudit(0, 10)).toEqual(audit);
      await expect(given.store.putIdentity(identity('ada'), OPERATOR)).rejects.toMatchObject({ code: 'wrong_state' });
      await expect(given.store.revokeIdentity('eve', OPERATOR)).rejects.toMatchObject({ code: 'not_found' });
    });

    it('makes one key of each version, whoever comes first', async () => {
      const settled = await Promise.allSettled([
        given.store.addKey(key(1), OPERATOR),
        given.store.addKey(key(1), OPERATOR),
      ]);
      expect(settled).toMatchObject([
        { status: 'fulfilled' },
        { status: 'rejected', reason: { code: 'already_exists' } },
      ]);
      await given.store.addKey(key(2), OPERATOR);
      await expect(given.store.addKey(key(4), OPERATOR)).rejects.toMatchObject({ code: 'out_of_range' });
      expect((await given.store.listKeys('token')).map(({ version }) => version)).toEqual([2, 1]);
      expect(await given.store.listKeys('authority')).toEqual([]);
    });

    it('withdraws a former version of a key for good, and never the newest', async () => {
      for (const version of [1, 2]) await given.store.addKey(key(version), OPERATOR);
      const withdraw = (version: number) => given.store.withdrawKey('token', version, OPERATOR);
      await expect(withdraw(2)).rejects.toMatchObject({ code: 'wrong_state' });
      await expect(withdraw(3)).rejects.toMatchObject({ code: 'not_found' });
      const time = given.store.now();
      expect(await withdraw(1)).toMatchObject({ version: 1, withdrawTime: time });
      given.clock.advance(1000);
      expect(await withdraw(1)).toMatchObject({ version: 1, withdrawTime: time });
      await given.reopen();
      expect((await given.store.listKeys('token')).map(({ withdrawTime }) => withdrawTime)).toEqual([null, time]);
      const audit = await given.store.listAudit(0, 10);
      expect(audit.map(({ action, target }) => `${action} ${target}`)).toEqual([
        ...['key.add keys/token/1', 'key.add keys/token/2', 'key.withdraw keys/token/1'],
      ]);
    });
  });
}
