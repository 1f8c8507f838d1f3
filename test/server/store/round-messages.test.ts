import { expect, it } from 'vitest';

import { RoundMessages } from '../../../server/store/round-messages.ts';
import type { RoundInput } from '../../../server/store/store.ts';
import { openTestStore } from '../../support/test-service.ts';
import { enrolled, round } from './fixtures.ts';

it('rounds cross to the store as one text, and those with verdicts of many megabytes as objects, with the same outcome', async () => {
  const { store, close } = await openTestStore();
  try {
    for (const [name, size, type] of [
      ['a', 1_000, 'string'],
      ['b', 5_000_000, 'object'],
    ] as const) {
      const { id } = await enrolled(store, name);
      const small = await round(store, id);
      const checks = small.verdict.checks.map((check) => ({ ...check, expected: 'x'.repeat(size) }));
      const input: RoundInput = { ...small, verdict: { ...small.verdict, checks } };
      expect(checks).not.toEqual([]);
      expect(typeof new RoundMessages().pack([input]).batch).toBe(type);
      expect(await store.commitRounds([input])).toMatchObject([{ outcome: 'changed' }]);
      expect((await store.getResult(id))?.checks).toEqual(checks);
    }
  } finally {
    await close();
  }
});
