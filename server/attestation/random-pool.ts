const BLOCK_BYTES = 4096;

/**
 * The same random bytes, drawn in blocks: a draw costs far more than the bytes that it brings. Each byte is given once, and is no
 * longer in the block when it is. For nonces, which are told to the caller; keys are drawn from the source itself.
 */
export function pooledRandom(source: (size: number) => Buffer): (size: number) => Buffer {
  let block: Buffer = Buffer.alloc(0);
  return (size) => {
    if (size > BLOCK_BYTES) return source(size);
    // What is left of a block that is too short goes unused.
    if (block.length < size) block = source(BLOCK_BYTES);
    if (block.length < size) throw new TypeError('the random source gave too few bytes');
    const drawn = Buffer.from(block.subarray(0, size));
    block.fill(0, 0, size);
    block = block.subarray(size);
    return drawn;
  };
}
