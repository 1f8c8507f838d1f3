import { describe, expect, it } from 'vitest';

import { Gathering } from '../../../server/attestation/gathering.ts';

/** Lets rounds join; the result fills as it is their turn. */
function joined(gathering: Gathering, count: number): number[] {
  const gone: number[] = [];
  for (let index = 0; index < count; index += 1) void gathering.join().then(() => gone.push(index));
  return gone;
}

describe('rounds whose evidence came together', () => {
  it('are judged one after another, after everything that the turn still brings', async () => {
    const gathering = new Gathering();
    const gone = joined(gathering, 3);
    await Promise.resolve();
    expect(gone).toEqual([]);
    await turn();
    expect(gone).toEqual([0, 1, 2]);
    expect(joined(gathering, 1)).toEqual([]);
  });

  it('let others have their turn when they are many, and keep their order', async () => {
    const gathering = new Gathering();
    const gone = joined(gathering, 100);
    await turn();
    expect(gone).toHaveLength(32);
    const late = joined(gathering, 1);
    for (let turns = 0; turns < 2; turns += 1) await turn();
    expect(gone).toHaveLength(96);
    expect(late).toEqual([]);
    await turn();
    expect(gone).toEqual(Array.from({ length: 100 }, (_, index) => index));
    expect(late).toEqual([0]);
  });
});

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
