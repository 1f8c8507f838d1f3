import { describe, expect, it } from 'vitest';
import { affirmed, commit, digest, entry, key, OPERATOR, policy, putSet, reasons, round } from '../fixtures.ts';
import type { Given } from './harness.ts';

const ANY = { ...OPERATOR, expected: 'any' } as const;

export function describeReferences(given: Given): void {
  const naming = (name: string, references: readonly string[]) =>
    given.store.putPolicy(policy(name, { matchLabels: { by: name } }, references), ANY);
  /** A host that this policy judges, affirmed. */
  const judged = async (name: string) => {
    await affirmed(given.store, name);
    await given.store.updateHost(`h-${name}`, { labels: { by: name } }, { ...OPERATOR, version: null });
    await commit(given.store, await round(given.store, `h-${name}`));
  };

  describe('what policies name', () => {
    it('must be there when a policy is written, and stays while one names it', async () => {
      const epochs = await given.store.epochs();
      await expect(naming('p', ['referenceSets/base'])).rejects.toMatchObject({ code: 'unknown_reference' });
      await expect(naming('p', ['keyrings/distro'])).rejects.toMatchObject({ code: 'unknown_reference' });
      expect(await given.store.epochs()).toEqual(epochs);
      expect(await given.store.getPolicy('p', null)).toBeNull();

      await putSet(given.store, 'base', [entry('a')]);
      await given.store.putKeyring('distro', [key('a')], { ...ANY, add: false });
      const names = ['referenceSets/base', 'keyrings/distro', 'keyrings/distro'];
      expect(await naming('p', names)).toMatchObject({ references: ['keyrings/distro', 'referenceSets/base'] });
      expect((await given.store.allPolicies()).references).toEqual([
        { name: 'keyrings/distro', version: 1 },
        { name: 'referenceSets/base', version: 1 },
      ]);
      await expect(given.store.deleteReferenceSet('base', ANY)).rejects.toMatchObject({ code: 'in_use' });
      await expect(given.store.deleteKeyring('distro', ANY)).rejects.toMatchObject({ code: 'in_use' });
      await naming('p', []);
      await given.store.deleteReferenceSet('base', ANY);
      await given.store.deleteKeyring('distro', ANY);
      await expect(naming('p', ['referenceSets/base'])).rejects.toMatchObject({ code: 'unknown_reference' });
    });

    it.each([
      { name: 'a set', change: () => putSet(given.store, 'base', [entry('b')]) },
      {
        name: 'a set that loses a digest',
        change: () => given.store.withdrawReferenceDigests('base', [digest('a')], ANY),
      },
      { name: 'a keyring', change: () => given.store.putKeyring('distro', [key('b')], { ...ANY, add: true }) },
      {
        name: 'a keyring that loses a key',
        change: () => given.store.removeKeyringKey('distro', key('a').fingerprint, ANY),
      },
    ])('takes down exactly the hosts whose policy names it: $name', async ({ change }) => {
      await putSet(given.store, 'base', [entry('a')]);
      await given.store.putKeyring('distro', [key('a')], { ...ANY, add: false });
      await naming('uses', ['referenceSets/base', 'keyrings/distro']);
      await naming('plain', []);
      await judged('uses');
      await judged('plain');
      const [inFlight, other] = [await round(given.store, 'h-uses'), await round(given.store, 'h-plain')];
      const { policy: epoch } = await given.store.epochs();
      const { revision } = await given.store.heads();

      await change();
      expect((await given.store.epochs()).policy).toBe(epoch + 1);
      expect(await given.store.changesSince(revision, 10)).toMatchObject([
        { hostId: 'h-uses', cause: 'input_changed', prior: { status: 'affirming' }, result: { status: 'none' } },
      ]);
      expect(await reasons(given.store, 'h-uses')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect(await reasons(given.store, 'h-plain')).toEqual([]);
      expect(await commit(given.store, inFlight)).toEqual({ outcome: 'fenced' });
      expect(await commit(given.store, other)).toEqual({ outcome: 'fenced' });
      expect((await given.store.listAudit(0, 100)).at(-1)?.detail).toMatch(/, 1 verdicts dropped$/);
      await commit(given.store, await round(given.store, 'h-uses'));
      expect(await reasons(given.store, 'h-uses')).toEqual([]);
    });

    it('fences nothing where no policy names what changes', async () => {
      await putSet(given.store, 'base', [entry('a')]);
      await naming('plain', []);
      await judged('plain');
      const inFlight = await round(given.store, 'h-plain');
      await putSet(given.store, 'base', [entry('b')]);
      expect(await commit(given.store, inFlight)).toMatchObject({ outcome: 'confirmed' });
    });
  });
}
