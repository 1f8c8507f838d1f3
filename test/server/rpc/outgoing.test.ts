import { describe, expect, test } from 'vitest';

import { outgoing } from '../../../server/rpc/outgoing.ts';

describe('the messages that a stream sends', () => {
  test('come in order, each when the one before it has been taken', async () => {
    const sent: number[] = [];
    const stream = outgoing<number>(async (send) => {
      for (const message of [1, 2, 3]) {
        await send(message);
        sent.push(message);
      }
    })[Symbol.asyncIterator]();
    expect(await stream.next()).toEqual({ done: false, value: 1 });
    await turn();
    expect(sent).toEqual([]);
    expect(await stream.next()).toEqual({ done: false, value: 2 });
    expect(sent).toEqual([1]);
    expect(await stream.next()).toEqual({ done: false, value: 3 });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(sent).toEqual([1, 2, 3]);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  test('are not made before the first is asked for', async () => {
    let begun = false;
    const stream = outgoing<number>(() => {
      begun = true;
      return Promise.resolve();
    })[Symbol.asyncIterator]();
    await turn();
    expect(begun).toBe(false);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(begun).toBe(true);
  });

  test('end with what they failed with, once', async () => {
    const stream = outgoing<number>(async (send) => {
      await send(1);
      throw new Error('broken');
    })[Symbol.asyncIterator]();
    await stream.next();
    await expect(stream.next()).rejects.toThrow('broken');
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  test('end where nobody takes them any more, and what they hold is let go first', async () => {
    let open = true;
    const stream = outgoing<number>(async (send) => {
      try {
        await send(1);
        await send(2);
      } finally {
        await turn();
        open = false;
      }
    })[Symbol.asyncIterator]();
    await stream.next();
    expect(await stream.return?.()).toEqual({ done: true, value: undefined });
    expect(open).toBe(false);
  });

  test('are refused where one is sent before the one before it was taken, or two ask at once', async () => {
    const twice = outgoing<number>(async (send) => {
      const first = send(1);
      await expect(send(2)).rejects.toThrow('before the one before it was taken');
      await first;
    })[Symbol.asyncIterator]();
    await twice.next();
    expect(await twice.next()).toEqual({ done: true, value: undefined });
    const silent = outgoing<number>(() => new Promise(() => undefined))[Symbol.asyncIterator]();
    void silent.next();
    await expect(silent.next()).rejects.toThrow('two takers');
  });
});

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
