import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';

import { CrashingService } from './crashing-service.ts';
import { checkFiles, checkWhole } from './model/check-whole.ts';
import { readHistory } from './model/history.ts';
import type { Point } from './plan.ts';

/** More than there are steps of the schema, keys and operators together. */
const MOST_KILLS = 40;

async function killedAt(service: CrashingService, point: Point, count: number): Promise<boolean> {
  const { end, output } = await service.run(['init'], { crash: { point, count, delay: 0 } });
  if (end.signal !== 'SIGKILL' && end.code !== 0) throw new Error(`init did not survive a crash of before: ${output}`);
  return end.signal === 'SIGKILL';
}

it('assayd init that is killed again and again goes on where it was, and makes every key once', async () => {
  await using service = await CrashingService.make();
  for (const [point, count] of [
    ['before-link', 1],
    ['linked', 1],
    ['begun', 1],
    ['before-commit', 1],
    ['amid-commit', 1],
  ] as const) {
    expect([point, await killedAt(service, point, count)]).toEqual([point, true]);
  }
  // Of two commits of a start one at least does the next thing that was not done: a step of the schema, a key, the operator.
  let kills = 0;
  for (; kills < MOST_KILLS && (await killedAt(service, 'committed', 2)); kills++) {
    const copy = await service.copyStore();
    expect(checkFiles(copy)).toEqual([]);
    await service.removeCopy(copy);
  }
  expect(kills).toBeGreaterThanOrEqual(5);
  expect(kills).toBeLessThan(MOST_KILLS);

  const { output } = await service.run(['init']);
  expect(readdirSync(service.data).filter((name) => name.endsWith('.new'))).toEqual([]);
  service.pin = /sha256:[0-9a-f]{64}/.exec(output)?.[0] ?? '';
  expect(await service.serve()).toBe(true);
  expect(service.child.output).toContain(service.pin);
  const client = await service.client();
  expect((await client.identities.page('')).items.map(({ name }) => name)).toEqual(['identities/operator']);
  client.close();
  await service.child.kill('SIGTERM');

  const history = await readHistory(service.data);
  expect(checkWhole(history)).toEqual([]);
  const keys = history.audit.filter(({ action }) => action === 'key.add').map(({ target }) => target);
  expect(new Set(keys).size).toBe(keys.length);
  expect(keys).toContain('keys/authority/1');
  expect(history.audit.filter(({ target }) => target === 'identities/operator')).toHaveLength(1);
});

it.each([
  ['before-link', 2],
  ['linked', 2],
  ['before-commit', 6],
  ['committed', 6],
] as const)(
  'the operator has a profile that works, when init was killed at %s %i, as it made it',
  async (point, count) => {
    await using service = await CrashingService.make();
    // The first link is the root key, the second the profile; the sixth commit makes the operator known.
    expect(await killedAt(service, point, count)).toBe(true);
    expect((await service.run(['init'])).end.code).toBe(0);
    expect(await service.serve()).toBe(true);
    const client = await service.client();
    expect((await client.policies.page('')).items).toEqual([]);
    client.close();
  },
);
