/** Targets with the faults that fuzzing is to find, so that it is known to find them. */
import { reader } from './target.ts';
import type { Target } from './target.ts';

const corpus = [Buffer.from('a sound input')];
const kept: unknown[] = [];

/** Is it another input than the sound one? */
const changed = (input: Buffer): boolean => !corpus[0]?.equals(input);

export function allTargets(): Promise<ReadonlyMap<string, () => Target>> {
  const targets: Readonly<Record<string, (input: Buffer) => unknown>> = {
    throws: (input) => {
      if (changed(input)) throw new RangeError('out of range');
    },
    hangs: (input) => {
      while (changed(input));
    },
    allocates: (input) => (changed(input) ? Buffer.alloc(200 * 1024 * 1024, 1).length : 0),
    fills: (input) => {
      while (changed(input)) kept.push(Array.from({ length: 100_000 }, (_, index) => ({ index })));
    },
    sound: (input) => {
      if (changed(input)) throw new SyntaxError('refused');
    },
  };
  return Promise.resolve(
    new Map(Object.entries(targets).map(([name, read]) => [name, () => reader(corpus, [SyntaxError], read)])),
  );
}
