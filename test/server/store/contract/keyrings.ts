import { describe, expect, it } from 'vitest';
import { key, OPERATOR } from '../fixtures.ts';
import type { Given } from './harness.ts';

const ANY = { ...OPERATOR, expected: 'any' } as const;
const FIRST = { limit: 1000, after: '' };

export function describeKeyrings(given: Given): void {
  describe('keyrings', () => {
    it('keep a version of each change', async () => {
      const made = await given.store.putKeyring('distro', [key('b'), key('a')], { ...ANY, add: false });
      expect(made.changed).toBe(true);
      const sorted = [key('a'), key('b')].toSorted((x, y) => (x.fingerprint < y.fingerprint ? -1 : 1));
      expect(made.keyring).toEqual({
        id: 'distro',
        version: 1,
        keyCount: 2,
        keys: sorted,
        createTime: given.store.now(),
      });
      expect(await given.store.putKeyring('distro', [key('a')], { ...ANY, add: true })).toEqual({
        keyring: made.keyring,
        changed: false,
      });
      const removed = await given.store.removeKeyringKey('distro', key('a').fingerprint, { ...OPERATOR, expected: 1 });
      expect(removed).toMatchObject({ version: 2, keys: [key('b')] });
      await given.reopen();
      expect(await given.store.getKeyring('distro', null)).toEqual(removed);
      expect(await given.store.getKeyring('distro', 1)).toEqual(made.keyring);
      const { keys: _keys, ...summary } = removed;
      expect(await given.store.listKeyrings(FIRST)).toEqual({ items: [summary], next: null });
      for (const name of ['c', 'd']) await given.store.putKeyring('distro', [key(name)], { ...ANY, add: false });
      expect(await given.store.getKeyring('distro', 1)).toBeNull();
    });

    it('refuse what is not there, or was changed', async () => {
      const put = (expected: number) =>
        given.store.putKeyring('distro', [key('a')], { ...OPERATOR, expected, add: false });
      await expect(put(1)).rejects.toMatchObject({ code: 'not_found' });
      await given.store.putKeyring('distro', [key('a')], { ...ANY, add: false });
      await expect(put(2)).rejects.toMatchObject({ code: 'etag_mismatch' });
      const remove = (id: string, name: string) => given.store.removeKeyringKey(id, key(name).fingerprint, ANY);
      await expect(remove('distro', 'b')).rejects.toMatchObject({ code: 'not_found' });
      await expect(remove('other', 'a')).rejects.toMatchObject({ code: 'not_found' });
      const many = Array.from({ length: 1001 }, (_, index) => key(String(index)));
      await expect(given.store.putKeyring('many', many, { ...ANY, add: false })).rejects.toMatchObject({
        code: 'too_large',
      });
      const large = ['x', 'y', 'z'].map((name) => ({ ...key(name), der: 'ab'.repeat(1024 * 1024) }));
      await expect(given.store.putKeyring('large', large, { ...ANY, add: false })).rejects.toMatchObject({
        code: 'too_large',
      });
      await given.store.putKeyring('large', large.slice(1), { ...ANY, add: false });
      await expect(given.store.putKeyring('large', large, { ...ANY, add: true })).rejects.toMatchObject({
        code: 'too_large',
      });
      await given.store.deleteKeyring('distro', { ...OPERATOR, expected: 1 });
      expect(await given.store.getKeyring('distro', 1)).toBeNull();
      expect(await given.store.putKeyring('distro', [key('a')], { ...ANY, add: false })).toMatchObject({
        keyring: { version: 2 },
      });
    });

    it('are 1000 at most, of which deleted ones are none', async () => {
      const put = (index: number) => given.store.putKeyring(`k${index}`, [key('a')], { ...ANY, add: false });
      await Promise.all(Array.from({ length: 1000 }, (_, index) => put(index)));
      await expect(put(1000)).rejects.toMatchObject({ code: 'too_large' });
      await put(999);
      await given.store.deleteKeyring('k0', ANY);
      await put(1000);
    });
  });
}
