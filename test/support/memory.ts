/** How much memory something takes that stays, and how much while it happens. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes that are reachable now: the heap and the buffers outside of it. */
export async function memoryInUse(): Promise<number> {
  // Buffers are given back by finalisers, which run between turns.
  for (let turn = 0; turn < 3; turn += 1) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** By how many bytes the buffers of this process grew at most while something ran. */
export async function peakOfBuffers(run: () => Promise<unknown>): Promise<number> {
  await memoryInUse();
  const { arrayBuffers: before } = process.memoryUsage();
  let peak = 0;
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage().arrayBuffers - before)), 1);
  try {
    await run();
  } finally {
    clearInterval(timer);
  }
  return peak;
}
