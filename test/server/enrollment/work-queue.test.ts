import { describe, expect, it } from 'vitest';

import { WorkQueue } from '../../../server/enrollment/work-queue.ts';

/** Hands work to a queue that must take it. */
function taken<T>(queue: WorkQueue, run: () => Promise<T>): Promise<T> {
  const result = queue.run(run);
  if (result === null) throw new Error('the queue is full');
  return result;
}

/** Work that ends when the test says so. */
function work() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const state = { started: false, resolve, reject };
  return {
    state,
    run: () => {
      state.started = true;
      return promise;
    },
  };
}

const turn = () => new Promise<void>((resolve) => void setImmediate(resolve));

describe('a queue of work', () => {
  it('runs so many at a time, in order, and refuses what would wait too long', async () => {
    const queue = new WorkQueue({ running: 2, waiting: 1 });
    const [one, two, three] = [work(), work(), work()];
    const results = [one, two, three].map(({ run }) => taken(queue, run));
    expect(queue.run(work().run)).toBeNull();
    expect([one, two, three].map(({ state }) => state.started)).toEqual([true, true, false]);
    one.state.resolve('first');
    expect(await results[0]).toBe('first');
    await turn();
    expect(three.state.started).toBe(true);
    two.state.resolve('second');
    three.state.resolve('third');
    expect(await Promise.all(results)).toEqual(['first', 'second', 'third']);
  });

  it('goes on after work that failed', async () => {
    const queue = new WorkQueue({ running: 1, waiting: 1 });
    const [bad, good] = [work(), work()];
    const failing = taken(queue, bad.run);
    const waiting = taken(queue, good.run);
    bad.state.reject(new Error('work'));
    await expect(failing).rejects.toThrow('work');
    good.state.resolve('done');
    expect(await waiting).toBe('done');
    const next = work();
    const last = taken(queue, next.run);
    next.state.resolve('last');
    expect(await last).toBe('last');
  });

  it('never runs more than it may while places free up and work comes in at once', async () => {
    const queue = new WorkQueue({ running: 2, waiting: 100 });
    let running = 0;
    let most = 0;
    const busy = async (): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await turn();
      running -= 1;
    };
    const all = Array.from({ length: 40 }, () => taken(queue, busy));
    for (let count = 0; count < 20; count++) {
      await turn();
      all.push(taken(queue, busy));
    }
    await Promise.all(all);
    expect(most).toBe(2);
  });
});
