import { Reappraiser } from '../../server/attestation/reappraiser.ts';
import type { House } from './test-service.ts';

/** Judges the hosts of a house anew from kept evidence, when a test says so. What goes wrong with it is a fault of the house. */
export class TestReappraiser implements AsyncDisposable {
  readonly #reappraiser: Reappraiser;

  constructor({ services, faults }: House) {
    this.#reappraiser = new Reappraiser({ services, onError: (error) => faults.push(error) });
  }

  judgePage(): Promise<number> {
    return this.#reappraiser.judgePage();
  }

  /** Until nobody is due; how many pages had somebody. */
  async settle(): Promise<number> {
    let pages = 0;
    while ((await this.#reappraiser.judgePage()) > 0) pages += 1;
    return pages;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#reappraiser.close();
  }
}
