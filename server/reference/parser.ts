import type { ReferenceEntryRecord } from '../store/reference-store.ts';
import type { Line } from './lines.ts';
import { LineReader } from './lines.ts';

/** Reads a file that comes in chunks of any length. Throws ReferenceImportError with the place. */
export interface ReferenceParser {
  /** Entries that are complete with this chunk. */
  push(chunk: Buffer): readonly ReferenceEntryRecord[];
  /** Those that the end completes. */
  end(): readonly ReferenceEntryRecord[];
  /** What of the file is not taken, a sentence each; known at the end. */
  notImported(): readonly string[];
}

/** A parser of lines of which each holds one entry or, null, none. */
export function lineParser(
  readLine: (line: Line) => ReferenceEntryRecord | null,
  notImported: () => readonly string[] = () => [],
): ReferenceParser {
  const lines = new LineReader();
  const entriesOf = (read: Iterable<Line>): readonly ReferenceEntryRecord[] =>
    Array.from(read, readLine).filter((entry) => entry !== null);
  return { push: (chunk) => entriesOf(lines.push(chunk)), end: () => entriesOf(lines.end()), notImported };
}
