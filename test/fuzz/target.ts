import type { SeededRandom } from '../support/seeded-random.ts';
import { mutant } from './mutate.ts';

/** Something that reads what others wrote. */
export interface Target extends AsyncDisposable {
  /** Sound inputs; what is tried is made of them. */
  readonly corpus: readonly Buffer[];
  /** The next input. */
  next(random: SeededRandom): Buffer;
  /** Reads an input. It may refuse it by an error of its own; any other exception is a find. */
  run(input: Buffer): Promise<'taken' | 'refused'> | 'taken' | 'refused';
}

type ErrorClass = abstract new (...args: never[]) => Error;

/** A reader of bytes that throws nothing but the given errors. */
export function reader(
  corpus: readonly Buffer[],
  errors: readonly ErrorClass[],
  read: (input: Buffer) => unknown,
): Target {
  return {
    corpus,
    next: (random) => mutant(corpus, random),
    run: (input) => {
      try {
        read(input);
        return 'taken';
      } catch (error) {
        if (errors.some((known) => error instanceof known)) return 'refused';
        throw error;
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** A promise of a target that was not kept. */
export class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise';
}
