import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';

import { pooledRandom } from '../../../server/attestation/random-pool.ts';

it('gives each byte of its source once, whatever sizes are drawn', () => {
  const blocks: Buffer[] = [];
  const copies: Buffer[] = [];
  const random = pooledRandom((size) => {
    const block = randomBytes(size);
    blocks.push(block);
    copies.push(Buffer.from(block));
    return block;
  });
  const drawn: Buffer[] = [];
  for (let at = 0; at < 1000; at += 1) drawn.push(random([32, 4, 6, 16][at % 4] ?? 0));
  expect(drawn.map(({ length }) => length).slice(0, 4)).toEqual([32, 4, 6, 16]);
  // In the order of the source, without the rests of blocks that were too short.
  let [block, offset] = [0, 0];
  for (const bytes of drawn) {
    if (offset + bytes.length > (copies[block]?.length ?? 0)) [block, offset] = [block + 1, 0];
    expect(copies[block]?.subarray(offset, offset + bytes.length)).toEqual(bytes);
    offset += bytes.length;
  }
  expect(copies.length).toBe(block + 1);
  expect(copies.length).toBeGreaterThan(2);
  // What was given is no longer in the block, and what was given is nobody's memory but the caller's.
  expect(blocks[0]?.subarray(0, 58).every((byte) => byte === 0)).toBe(true);
  expect(drawn[0]).toEqual(copies[0]?.subarray(0, 32));
});

it('asks the source for what is larger than a block, and believes no source that gives too little', () => {
  const asked: number[] = [];
  const random = pooledRandom((size) => {
    asked.push(size);
    return randomBytes(size);
  });
  expect(random(5000)).toHaveLength(5000);
  expect(asked).toEqual([5000]);
  expect(() => pooledRandom(() => Buffer.alloc(8))(32)).toThrow(TypeError);
});
