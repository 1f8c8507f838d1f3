import { expect, test } from 'vitest';
import { Shell } from '../support/shell.ts';

test('a simulation sends candidates by their resource names, alone or beside a change', async () => {
  const shell = await Shell.open();
  const asked: unknown[] = [];
  shell.client = {
    policies: {
      simulate: async function* (change: unknown, { substitutes }: { readonly substitutes: unknown }) {
        asked.push([change, substitutes]);
        yield { kind: 'summary', summary: { worseCount: 1n, unknownTrustedCount: 0n, json: {} } };
      },
    },
  };
  const candidates = ['--set', 'base=next', '--keyring', 'distro=keyrings/distro-next', '--output', 'json'];
  const substitutes = [
    { name: 'referenceSets/base', candidate: 'referenceSets/next' },
    { name: 'keyrings/distro', candidate: 'keyrings/distro-next' },
  ];
  // Hosts get worse.
  expect([await shell.assay('policy', 'simulate', ...candidates), shell.err]).toEqual([1, '']);
  expect(await shell.assay('policy', 'simulate', '--delete', 'old', ...candidates)).toBe(1);
  expect(asked).toEqual([
    [null, substitutes],
    [{ deleted: 'old' }, substitutes],
  ]);
});

test('of two candidates for one set none is taken', async () => {
  const shell = await Shell.open();
  const code = await shell.assay('policy', 'simulate', '--set', 'base=next', '--set', 'base=other');
  expect([code, shell.err]).toEqual([2, expect.stringContaining('It must name each set or keyring once.')]);
});
