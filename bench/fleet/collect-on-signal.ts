/**
 * Loaded before a measured program (`node --expose-gc --import`): SIGUSR2 collects garbage, so that RSS holds what is in use, and
 * says how large the heap is then.
 */
process.on('SIGUSR2', () => {
  globalThis.gc?.();
  globalThis.gc?.();
  console.error(`collected: heap of ${Math.round(process.memoryUsage().heapUsed / 1024)} kB`);
});
