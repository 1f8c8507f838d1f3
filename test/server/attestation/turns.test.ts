import { expect, it } from 'vitest';

import { Turns } from '../../../server/attestation/turns.ts';

it('lets so many at once, the others in their order', async () => {
  const turns = new Turns(2);
  const order: number[] = [];
  const first = await turns.take('a');
  const second = await turns.take('b');
  const waiting = [3, 4].map(async (name) => {
    using _turn = await turns.take(String(name));
    order.push(name);
    await Promise.resolve();
  });
  await Promise.resolve();
  expect(order).toEqual([]);
  second[Symbol.dispose]();
  first[Symbol.dispose]();
  await Promise.all(waiting);
  expect(order).toEqual([3, 4]);
  using _again = await turns.take('a');
});

it('lets each holder once: whoever comes again waits, and nobody waits for him', async () => {
  const turns = new Turns(2);
  const order: string[] = [];
  const first = await turns.take('a');
  const waiting = ['a', 'a', 'b', 'c'].map(async (holder) => {
    const turn = await turns.take(holder);
    order.push(holder);
    return turn;
  });
  const [second, third, other, last] = waiting;
  (await other)?.[Symbol.dispose]();
  await last;
  expect(order).toEqual(['b', 'c']);
  first[Symbol.dispose]();
  (await second)?.[Symbol.dispose]();
  await third;
  expect(order).toEqual(['b', 'c', 'a', 'a']);
});
