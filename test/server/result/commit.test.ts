import { describe, expect, it } from 'vitest';

import { CommitQueueFull, RoundCommitter } from '../../../server/result/commit.ts';
import { StoreError } from '../../../server/store/store.ts';
import type { RoundInput, RoundOutcome } from '../../../server/store/store.ts';

/** A store whose batches end when the test says so. */
class SlowStore {
  readonly batches: (readonly RoundInput[])[] = [];
  readonly #ends: {
    readonly resolve: (outcomes: readonly RoundOutcome[]) => void;
    readonly reject: (error: Error) => void;
  }[] = [];

  readonly commitRounds = (rounds: readonly RoundInput[]): Promise<readonly RoundOutcome[]> => {
    this.batches.push(rounds);
    const { promise, resolve, reject } = Promise.withResolvers<readonly RoundOutcome[]>();
    this.#ends.push({ resolve, reject });
    return promise;
  };

  /** Ends the batch that is in flight. */
  async end(outcome: Error | ((round: RoundInput) => RoundOutcome) = outcomeOf): Promise<void> {
    while (this.#ends.length === 0) await turn();
    const end = this.#ends.shift();
    const batch = this.batches.at(-1) ?? [];
    if (outcome instanceof Error) end?.reject(outcome);
    else end?.resolve(batch.map(outcome));
    await turn();
  }
}

const turn = () => new Promise<void>((resolve) => void setImmediate(resolve));
const round = (hostId: string) => ({ hostId }) as RoundInput;
const outcomeOf = ({ hostId }: RoundInput) =>
  ({ outcome: 'changed', result: { hostId }, moved: {} }) as unknown as RoundOutcome;
const names = (count: number, prefix = 'h') => Array.from({ length: count }, (_, index) => `${prefix}-${index}`);

/** Sizes of the batches of a round that comes alone, and of two that come close together behind it. */
async function twoCloseRounds(): Promise<readonly number[]> {
  const store = new SlowStore();
  const committer = new RoundCommitter(store, () => undefined);
  const alone = committer.commit(round('alone'));
  await turn();
  expect(store.batches).toHaveLength(1);
  await store.end();
  await alone;
  const first = committer.commit(round('a'));
  await turn();
  const rest = { done: false };
  const both = Promise.all([first, committer.commit(round('b'))]).then(() => void (rest.done = true));
  // oxlint-disable-next-line no-await-in-loop -- one batch after another
  while (!rest.done) await store.end();
  await both;
  return store.batches.map((batch) => batch.length);
}

describe('a committer', () => {
  it('writes what one turn of the loop brings as one batch, and answers each caller with its own', async () => {
    const store = new SlowStore();
    const committer = new RoundCommitter(store, () => undefined);
    const all = Promise.all(names(3).map((name) => committer.commit(round(name))));
    await store.end();
    expect(store.batches.map((batch) => batch.length)).toEqual([3]);
    expect((await all).map((outcome) => ('result' in outcome ? outcome.result.hostId : ''))).toEqual(names(3));
  });

  it('has one batch in flight; what arrives meanwhile is the next', async () => {
    const store = new SlowStore();
    const committer = new RoundCommitter(store, () => undefined);
    const first = committer.commit(round('first'));
    await turn();
    await turn();
    const later = Promise.all(names(40).map((name) => committer.commit(round(name))));
    await turn();
    expect(store.batches.map((batch) => batch.length)).toEqual([1]);
    await store.end();
    await first;
    await store.end();
    await later;
    expect(store.batches.map((batch) => batch.length)).toEqual([1, 40]);
  });

  it('writes 500 rounds in a batch at most, in the order in which they came', async () => {
    const store = new SlowStore();
    const committer = new RoundCommitter(store, () => undefined);
    const all = Promise.all(names(1_201).map((name) => committer.commit(round(name))));
    for (let batch = 0; batch < 3; batch++) await store.end();
    await all;
    expect(store.batches.map((batch) => batch.length)).toEqual([500, 500, 201]);
    expect(store.batches.flat().map(({ hostId }) => hostId)).toEqual(names(1_201));
  });

  it('hands a failure of the store to the callers of that batch, and goes on', async () => {
    const store = new SlowStore();
    const committer = new RoundCommitter(store, () => undefined);
    const failing = committer.commit(round('a'));
    const expectation = expect(failing).rejects.toMatchObject({ code: 'full' });
    await store.end(new StoreError('full', 'disk'));
    await expectation;
    const next = committer.commit(round('b'));
    await store.end();
    expect(await next).toMatchObject({ outcome: 'changed' });
  });

  it('shares a flush to disk among rounds that come close together, and lets one that comes alone wait for nothing', async () => {
    let batches: readonly number[] = [];
    // On a machine that is busy two rounds may be further apart than they share.
    for (let attempt = 0; attempt < 50 && batches.length !== 2; attempt += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one attempt after another
      batches = await twoCloseRounds();
    }
    expect(batches).toEqual([1, 2]);
  });

  it('tells readers of no batch that only confirmed: no result has changed', async () => {
    let told = 0;
    const store = new SlowStore();
    const committer = new RoundCommitter(store, () => void told++);
    const confirmed = committer.commit(round('a'));
    await store.end((input) => ({ ...outcomeOf(input), outcome: 'confirmed' }) as RoundOutcome);
    await confirmed;
    expect(told).toBe(0);
  });

  it('tells readers after each batch that is durable, and not after one that failed', async () => {
    let told = 0;
    const store = new SlowStore();
    const committer = new RoundCommitter(store, () => void told++);
    const one = committer.commit(round('a'));
    await turn();
    expect(told).toBe(0);
    await store.end();
    await one;
    expect(told).toBe(1);
    const two = committer.commit(round('b')).catch(() => undefined);
    await store.end(new Error('disk'));
    await two;
    expect(told).toBe(1);
  });

  it('refuses what would wait too long', async () => {
    const store = new SlowStore();
    const committer = new RoundCommitter(store, () => undefined);
    const waiting = names(20_000).map((name) => committer.commit(round(name)));
    await expect(committer.commit(round('late'))).rejects.toBeInstanceOf(CommitQueueFull);
    for (let batch = 0; batch < 40; batch++) await store.end();
    expect(await Promise.all(waiting)).toHaveLength(20_000);
    const after = committer.commit(round('after'));
    await store.end();
    await after;
  });

  it('drains: resolves when nothing is in flight any more', async () => {
    const store = new SlowStore();
    const committer = new RoundCommitter(store, () => undefined);
    await committer.drain();
    void committer.commit(round('a'));
    let drained = false;
    const draining = committer.drain().then(() => (drained = true));
    await turn();
    await turn();
    expect(drained).toBe(false);
    await store.end();
    await draining;
  });
});
