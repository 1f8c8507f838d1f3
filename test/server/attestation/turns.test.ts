import { expect, it } from 'vitest';

import { Turns } from '../../../server/attestation/turns.ts';

it('lets so many at once, the others in their order', async () => {
  const turns = new Turns(2);
  const order: number[] = [];
  const first = await turns.take();
  const second = await turns.take();
  const waiting = [3, 4].map(async (name) => {
    using _turn = await turns.take();
    order.push(name);
    await Promise.resolve();
  });
  await Promise.resolve();
  expect(order).toEqual([]);
  second[Symbol.dispose]();
  first[Symbol.dispose]();
  await Promise.all(waiting);
  expect(order).toEqual([3, 4]);
  using _again = await turns.take();
});
