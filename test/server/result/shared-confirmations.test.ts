import { describe, expect, it } from 'vitest';

import { PAGE, SharedConfirmations } from '../../../server/result/shared-confirmations.ts';
import type { Confirmation } from '../../../server/store/records.ts';

/** A store of so many confirmations, whose clock and newest revision stand until they are moved. */
function given(count = 0) {
  const state = { now: 100, head: 10, broken: false };
  const written: Confirmation[] = [];
  const write = (many: number): void => {
    for (let index = 0; index < many; index += 1) written.push({ sequence: written.length + 1 } as Confirmation);
  };
  write(count);
  const shared = new SharedConfirmations({
    now: () => state.now,
    confirmationsSince: (sequence, limit) =>
      state.broken ? Promise.reject(new Error('disk')) : Promise.resolve(written.slice(sequence, sequence + limit)),
  });
  const read = async (sequence: number, { revision = 10, since = 0 } = {}) => {
    const page = await shared.after(sequence, { revision, since, head: state.head });
    return { ...page, confirmations: page.confirmations.map((confirmation) => confirmation.sequence) };
  };
  return { shared, state, write, read };
}

describe('a page of confirmations', () => {
  it('is read once for all who stand at its sequence, or within it', async () => {
    const { shared, read } = given(5);
    const pages = await Promise.all([read(0), read(0), read(3), read(5), read(9)]);
    expect(pages.map(({ confirmations }) => confirmations)).toEqual([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [4, 5], [], []]);
    expect(pages.every((page) => page.complete && page.asOf === 100)).toBe(true);
    expect(shared.reads).toBe(1);
  });

  it('that is full says nothing of what follows it', async () => {
    const { shared, read } = given(PAGE + 3);
    expect(await read(PAGE - 1)).toMatchObject({ confirmations: [PAGE, PAGE + 1, PAGE + 2, PAGE + 3], complete: true });
    const full = await read(0);
    expect(full).toMatchObject({ complete: false });
    expect(full.confirmations).toHaveLength(PAGE);
    expect(await read(PAGE)).toMatchObject({ confirmations: [PAGE + 1, PAGE + 2, PAGE + 3], complete: true });
    expect(shared.reads).toBe(2);
  });

  it('is read anew for who wants what was confirmed since', async () => {
    const { state, read, write } = given(1);
    await read(0);
    write(1);
    state.now = 200;
    expect(await read(0, { since: 100 })).toMatchObject({ confirmations: [1], asOf: 100 });
    expect(await read(0, { since: 101 })).toMatchObject({ confirmations: [1, 2], asOf: 200 });
    expect(await read(0, { since: 101 })).toMatchObject({ confirmations: [1, 2], asOf: 200 });
  });

  it('is read anew for who was told of changes that it may not know', async () => {
    const { shared, read, state } = given(1);
    await read(0, { revision: 7 });
    await read(0, { revision: 10 });
    expect(shared.reads).toBe(1);
    // Told by a read of its own, of what the feed has not seen yet.
    await read(0, { revision: 12 });
    await read(0, { revision: 11 });
    expect(shared.reads).toBe(2);
    state.head = 15;
    await read(0, { revision: 13 });
    await read(0, { revision: 15 });
    expect(shared.reads).toBe(3);
  });

  it('that cannot be read is asked for again', async () => {
    const { state, read } = given(1);
    state.broken = true;
    await expect(read(0)).rejects.toThrow('disk');
    state.broken = false;
    expect(await read(0)).toMatchObject({ confirmations: [1] });
  });
});
