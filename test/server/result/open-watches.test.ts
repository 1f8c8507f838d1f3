import { describe, expect, it } from 'vitest';

import { MAX_OF_CALLER, MAX_WATCHES, OpenWatches } from '../../../server/result/open-watches.ts';

const refusal = expect.objectContaining({ code: 'WATCH_LIMIT' });

/** Takes as many places as there are, up to a number. */
function enterAll(watches: OpenWatches, caller: string, count: number): (() => void)[] {
  return Array.from({ length: count }, () => watches.enter(caller));
}

describe('places for watches', () => {
  it('are so many for each caller, and others do not notice', () => {
    const watches = new OpenWatches();
    enterAll(watches, 'greedy', MAX_OF_CALLER);
    for (let again = MAX_OF_CALLER; again < 10_000; again++) expect(() => watches.enter('greedy')).toThrow(refusal);
    enterAll(watches, 'other', MAX_OF_CALLER);
  });

  it('are so many for all, whoever asks', () => {
    const watches = new OpenWatches();
    const callers = MAX_WATCHES / MAX_OF_CALLER;
    const leave = Array.from({ length: callers }, (_, index) => enterAll(watches, String(index), MAX_OF_CALLER)).flat();
    expect(leave).toHaveLength(MAX_WATCHES);
    expect(() => watches.enter('another')).toThrow(refusal);
    leave[0]?.();
    watches.enter('another');
    expect(() => watches.enter('another')).toThrow(refusal);
    expect(() => watches.enter('0')).toThrow(refusal);
  });

  it('are there again once they were given back, as often as that is', () => {
    const watches = new OpenWatches();
    for (let round = 0; round < 3; round++) {
      const leave = enterAll(watches, 'a', MAX_OF_CALLER);
      expect(() => watches.enter('a')).toThrow(refusal);
      for (const each of leave) each();
    }
    const [leave] = enterAll(watches, 'a', MAX_OF_CALLER);
    leave?.();
    watches.enter('a');
    expect(() => watches.enter('a')).toThrow(refusal);
  });
});
