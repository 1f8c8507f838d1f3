import { hash as oneShotHash } from 'node:crypto';

import type { ImaEntry } from '../../tpm/ima/entry.ts';
import { judgeEntry } from './judge-entry.ts';
import type { JudgedEntry, RuntimeJudge } from './judge-entry.ts';

/** Some 300 bytes each. */
const MAX_ENTRIES = 200_000;
/** An entry with a buffer is kept with the key that it adds: such a one is small, or not kept. */
const MAX_DATA = 16 * 1024;
/** Bytes of all these keys, for a host can add as many as its list has room for, each time that it boots. One more is not kept. */
const MAX_KEY_BYTES = 16 * 1024 * 1024;

/**
 * Equal entries are judged once over the whole fleet, by their data and by what judges them. The hash that a list claims is no
 * name for an entry: a host could give that of another. Bounded; what was not asked for longest goes first.
 */
export class EntryCache {
  readonly #judged = new Map<string, JudgedEntry>();
  readonly #limit: number;
  readonly #keyLimit: number;
  #keyBytes = 0;
  #misses = 0;

  constructor(limit = MAX_ENTRIES, keyLimit = MAX_KEY_BYTES) {
    this.#limit = limit;
    this.#keyLimit = keyLimit;
  }

  get size(): number {
    return this.#judged.size;
  }

  /** Entries that were judged because they were not known. */
  get misses(): number {
    return this.#misses;
  }

  judge(entry: ImaEntry, judge: RuntimeJudge): JudgedEntry {
    const key = keyOf(entry, judge);
    const known = this.#judged.get(key);
    if (known !== undefined) {
      this.#judged.delete(key);
      this.#judged.set(key, known);
      return known;
    }
    const judged = judgeEntry(entry, judge);
    this.#misses += 1;
    if (entry.data.length <= MAX_DATA) this.#keep(key, ownBytes(judged));
    return judged;
  }

  #keep(key: string, judged: JudgedEntry): void {
    if (this.#keyBytes + keyBytes(judged) > this.#keyLimit) return;
    this.#judged.set(key, judged);
    this.#keyBytes += keyBytes(judged);
    if (this.#judged.size <= this.#limit) return;
    const [oldest] = this.#judged;
    if (oldest === undefined) return;
    this.#judged.delete(oldest[0]);
    this.#keyBytes -= keyBytes(oldest[1]);
  }
}

function keyBytes({ added }: Pick<JudgedEntry, 'added'>): number {
  return added?.der.length ?? 0;
}

function keyOf({ template, layout, data, isViolation }: ImaEntry, { digest }: RuntimeJudge): string {
  const form = `${digest}\0${template.name}\0${layout.byteOrder}\0${isViolation ? 'violation' : ''}\0`;
  return form + oneShotHash('sha256', data, 'binary');
}

/** A view would keep the list that it stands in. */
function ownBytes(judged: JudgedEntry): JudgedEntry {
  const { added } = judged;
  if (added === null) return judged;
  const der = Buffer.alloc(added.der.length);
  added.der.copy(der);
  return { ...judged, added: { ...added, der } };
}
