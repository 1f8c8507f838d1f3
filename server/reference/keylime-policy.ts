import type { ReferenceEntryRecord } from '../store/reference-store.ts';
import { readEntry } from './entry.ts';
import { malformed, ReferenceImportError } from './import-error.ts';
import type { Place } from './import-error.ts';
import { formatJsonPath, JsonReader } from './json-reader.ts';
import type { JsonPath, JsonScalar } from './json-reader.ts';
import type { ReferenceParser } from './parser.ts';

/** Parts of a runtime policy that carry rules which an import does not take, with the word for one item of theirs. */
const RULES: ReadonlyMap<string, string> = new Map([
  ['excludes', 'patterns'],
  ['keyrings', 'digests'],
  ['ima', 'settings'],
  ['ima-buf', 'digests'],
  ['verification-keys', 'keys'],
]);
/** Parts that carry no rule. */
const FACTS: ReadonlySet<string> = new Set(['meta', 'release', 'digests']);
const VERSION = 1;

/** A runtime policy of Keylime, version 1: the digests of files by their paths. A path that stands twice has the digests of both. */
export function keylimePolicyParser(): ReferenceParser {
  const reading = new Reading();
  const reader = new JsonReader({
    scalar: (path, value, place) => reading.scalar(path, value, place),
    enter: (path, kind, place) => reading.enter(path, kind, place),
    isLarge: (path) => path.length === 1 && path[0] === 'digests',
  });
  return {
    push: (chunk) => {
      reader.push(chunk);
      return reading.takeEntries();
    },
    end: () => {
      reader.end();
      reading.checkWhole();
      return reading.takeEntries();
    },
    notImported: () => reading.notImported(),
  };
}

class Reading {
  #entries: ReferenceEntryRecord[] = [];
  readonly #left = new Map<string, number>();
  #version: JsonScalar | undefined;
  #hasDigests = false;

  enter(path: JsonPath, kind: 'object' | 'array', place: Place): void {
    const [part] = path;
    const expected = path.length === 0 || (part === 'digests' && path.length === 1) ? 'object' : 'array';
    if ((path.length === 0 || part === 'digests') && (kind !== expected || path.length > 2))
      throw at(path, place, path.length > 2 ? 'a digest expected' : `${expected} expected`);
    if (path.length === 1 && part === 'digests') this.#hasDigests = true;
    if (path.length === 1) this.#checkPart(path, place);
  }

  scalar(path: JsonPath, value: JsonScalar, place: Place): void {
    const [part, key] = path;
    if (path.length === 0) throw at(path, place, 'object expected');
    if (path.length === 1) this.#checkPart(path, place);
    if (part === 'meta' && key === 'version' && path.length === 2) this.#checkVersion(path, value, place);
    else if (part === 'digests') this.#digest(path, value, place);
    else if (typeof part === 'string' && RULES.has(part) && value !== null && value !== '')
      this.#left.set(part, (this.#left.get(part) ?? 0) + 1);
  }

  takeEntries(): readonly ReferenceEntryRecord[] {
    const taken = this.#entries;
    this.#entries = [];
    return taken;
  }

  checkWhole(): void {
    if (this.#version === undefined)
      throw new ReferenceImportError('malformed', '$.meta.version: is missing, must be 1');
    if (!this.#hasDigests) throw new ReferenceImportError('malformed', '$.digests: is missing');
  }

  notImported(): readonly string[] {
    return [...this.#left].map(([part, count]) => `${part}: ${count} ${RULES.get(part) ?? 'items'}`);
  }

  /** What an import neither takes nor names would change the meaning of the set unseen. */
  #checkPart(path: JsonPath, place: Place): void {
    const part = String(path[0]);
    if (!FACTS.has(part) && !RULES.has(part)) throw at(path, place, 'is not a part of a runtime policy of version 1');
  }

  #checkVersion(path: JsonPath, value: JsonScalar, place: Place): void {
    if (value !== VERSION) throw at(path, place, `must be ${VERSION}`);
    this.#version = value;
  }

  #digest(path: JsonPath, value: JsonScalar, place: Place): void {
    const [, file, index] = path;
    if (typeof file !== 'string' || typeof index !== 'number' || typeof value !== 'string')
      throw at(path, place, path.length === 3 ? 'a digest expected' : 'an array of digests expected');
    const read = readEntry(value, file);
    if ('problem' in read) throw at(path, place, read.problem);
    this.#entries.push(read.entry);
  }
}

function at(path: JsonPath, place: Place, message: string): ReferenceImportError {
  return malformed(place, `${formatJsonPath(path)}: ${message}`);
}
