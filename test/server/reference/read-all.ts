import type { ReferenceEntryRecord } from '../../../server/store/reference-store.ts';
import type { ReferenceParser } from '../../../server/reference/parser.ts';

/** Everything that a parser makes of a file that comes in chunks of a size. */
export function readAll(parser: ReferenceParser, file: Buffer | string, size = Infinity): ReferenceEntryRecord[] {
  const bytes = Buffer.from(file);
  const entries: ReferenceEntryRecord[] = [];
  for (let start = 0; start < bytes.length; start += size) {
    entries.push(...parser.push(bytes.subarray(start, Math.min(bytes.length, start + size))));
  }
  return [...entries, ...parser.end()];
}

/** What reading it fails with; null where it does not. */
export function refusal(parser: ReferenceParser, file: Buffer | string, size = Infinity): string | null {
  try {
    readAll(parser, file, size);
    return null;
  } catch (error) {
    if (error instanceof Error && error.name === 'ReferenceImportError') return error.message;
    throw error;
  }
}
