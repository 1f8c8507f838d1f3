import { describe, expect, it } from 'vitest';
import type { RuntimeChange } from '../../../../server/store/store.ts';
import { enrolled, OPERATOR, round } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeRuntimes(given: Given): void {
  describe('what is known of the run time', () => {
    const list = (offset: number, text: string) => ({ kind: 'ima', offset, data: Buffer.from(text) }) as const;

    async function send(runtime: RuntimeChange | undefined, change: Parameters<typeof round>[2] = {}) {
      const input = await round(given.store, 'h-a', { ...change, ...(runtime === undefined ? {} : { runtime }) });
      return (await given.store.commitRounds([input]))[0]?.outcome;
    }
    const kept = async (): Promise<string> => Buffer.from(await given.store.readLog('h-a', 'ima', 0, 100)).toString();

    it('is counted from 1 with every record that takes the place of another', async () => {
      await enrolled(given.store, 'a');
      expect(await given.store.getRuntime('h-a')).toBeNull();
      await send({ expected: 0, body: 'first' });
      expect(await given.store.getRuntime('h-a')).toMatchObject({ sequence: 1, body: 'first' });
      await send({ expected: 1, body: 'second' });
      expect(await given.store.getRuntime('h-a')).toMatchObject({ sequence: 2, body: 'second' });
    });

    it('stays where a round confirms it, or says nothing', async () => {
      await enrolled(given.store, 'a');
      await send({ expected: 0, body: 'first' });
      await send({ expected: 1 });
      await send(undefined);
      expect(await given.store.getRuntime('h-a')).toMatchObject({ sequence: 1, body: 'first' });
    });

    it.each([
      ['none was there', 1],
      ['another came between', 0],
    ])('fences a round where %s', async (name, expected) => {
      await enrolled(given.store, 'a');
      if (name.startsWith('another')) await send({ expected: 0, body: 'first' });
      expect(await send({ expected, body: 'mine' }, { logs: [list(0, 'list')] })).toBe('fenced');
      expect((await given.store.getRuntime('h-a'))?.body).not.toBe('mine');
      expect(await kept()).toBe('');
    });

    it('is dropped on demand, and with its host', async () => {
      await enrolled(given.store, 'a');
      await send({ expected: 0, body: 'first' });
      await send({ expected: 1, body: null });
      expect(await given.store.getRuntime('h-a')).toBeNull();
      await send({ expected: 0, body: 'second' });
      await given.store.deleteHost('h-a', OPERATOR);
      expect(await given.store.getRuntime('h-a')).toBeNull();
    });

    it('outlives a restart, whose logs go', async () => {
      await enrolled(given.store, 'a');
      await send({ expected: 0, body: 'first' }, { logs: [list(0, 'list')] });
      const input = await round(given.store, 'h-a');
      await given.store.commitRounds([
        { ...input, clock: { ...input.clock, restartCount: input.clock.restartCount + 1 } },
      ]);
      expect(await kept()).toBe('');
      expect(await given.store.getRuntime('h-a')).toMatchObject({ sequence: 1 });
    });

    it.each([
      ['between two parts', 4, 'one '],
      ['inside a part', 6, 'one tw'],
      ['before all', 0, ''],
      ['behind all', 99, 'one two three'],
    ])('cuts the list %s, and goes on from there', async (_name, keepBytes, left) => {
      await enrolled(given.store, 'a');
      await send(undefined, { logs: [list(0, 'one ')] });
      await send(undefined, { logs: [list(4, 'two ')] });
      await send({ expected: 0, keepBytes }, { logs: [list(8, 'three')] });
      expect(await kept()).toBe(left);
      await send(undefined, { logs: [list(left.length, 'next')] });
      expect(await kept()).toBe(`${left}next`);
    });
  });
}
