import { REFERENCE_ALGORITHMS } from '../store/reference-store.ts';
import type { ReferenceAlgorithm, ReferenceSetRecord } from '../store/reference-store.ts';
import type { Store } from '../store/store.ts';
import { isReferenceAlgorithm } from './entry.ts';

/** Digests that one read of the store gives: at most 3.2 MB. */
const PAGE = 50_000;

/**
 * The digests of one version of a reference set, in memory: one sorted buffer for each algorithm, no object for an entry. 500,000
 * SHA-256 digests are 16 MB, read once and shared by all hosts.
 */
export class DigestSet {
  readonly id: string;
  readonly version: number;
  readonly #sorted: ReadonlyMap<ReferenceAlgorithm, Buffer>;

  private constructor(
    set: Pick<ReferenceSetRecord, 'id' | 'version'>,
    sorted: ReadonlyMap<ReferenceAlgorithm, Buffer>,
  ) {
    this.id = set.id;
    this.version = set.version;
    this.#sorted = sorted;
  }

  /** Throws StoreError not_found for a version that is not kept. */
  static async load(
    store: Pick<Store, 'readReferenceDigests'>,
    set: Pick<ReferenceSetRecord, 'id' | 'version'>,
  ): Promise<DigestSet> {
    const parts = new Map<ReferenceAlgorithm, Uint8Array[]>();
    for (let after: string | null = ''; after !== null;) {
      // oxlint-disable-next-line no-await-in-loop -- one page after another
      const page: Awaited<ReturnType<Store['readReferenceDigests']>> = await store.readReferenceDigests(
        { id: set.id, version: set.version },
        { limit: PAGE, after },
      );
      for (const [algorithm, digests] of Object.entries(page.digests)) {
        if (isReferenceAlgorithm(algorithm)) parts.set(algorithm, [...(parts.get(algorithm) ?? []), digests]);
      }
      after = page.next;
    }
    return new DigestSet(set, new Map([...parts].map(([algorithm, list]) => [algorithm, Buffer.concat(list)])));
  }

  /** How many different digests it holds. */
  get size(): number {
    return [...this.#sorted].reduce(
      (sum, [algorithm, { length }]) => sum + length / REFERENCE_ALGORITHMS[algorithm],
      0,
    );
  }

  /** Whether a file of this digest may be there. An algorithm that no set can hold, and a digest of a wrong length, is never in it. */
  has(algorithm: string, digest: Uint8Array): boolean {
    if (!isReferenceAlgorithm(algorithm) || digest.length !== REFERENCE_ALGORITHMS[algorithm]) return false;
    const sorted = this.#sorted.get(algorithm);
    if (sorted === undefined) return false;
    const size = digest.length;
    let low = 0;
    let high = sorted.length / size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = sorted.compare(digest, 0, size, middle * size, (middle + 1) * size);
      if (order === 0) return true;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return false;
  }
}
