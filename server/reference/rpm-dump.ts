import type { ReferenceEntryRecord } from '../store/reference-store.ts';
import { readEntry } from './entry.ts';
import { malformed } from './import-error.ts';
import type { Line } from './lines.ts';
import { lineParser } from './parser.ts';
import type { ReferenceParser } from './parser.ts';

/** path size mtime digest mode owner group isconfig isdoc rdev symlink (rpm(8), `--dump`); only path and symlink hold spaces. */
const DUMP = /^(.*) (\d+) (-?\d+) ([0-9a-fA-F]*) (0[0-7]{1,7}) (\S+) (\S+) [01] [01] (\d+) (.*)$/su;
const FILE_TYPE = 0o170000;
const REGULAR = 0o100000;

/** Lines as `rpm -qa --dump` writes them. Directories, links and ghost files carry no digest of a content. */
export function rpmDumpParser(): ReferenceParser {
  let skipped = 0;
  return lineParser(
    (line) => {
      if (line.text === '' || line.text === '(contains no files)') return null;
      const entry = readLine(line);
      if (entry === null) skipped++;
      return entry;
    },
    () => (skipped === 0 ? [] : [`${skipped} lines that are no regular file or carry no digest`]),
  );
}

function readLine({ number, text }: Line): ReferenceEntryRecord | null {
  const [, path, size, time, digest, mode] = DUMP.exec(text) ?? [];
  if (path === undefined || size === undefined || time === undefined || digest === undefined || mode === undefined)
    throw malformed({ line: number, column: 1 }, 'not a line of rpm --dump');
  if ((Number.parseInt(mode, 8) & FILE_TYPE) !== REGULAR || /^0*$/.test(digest)) return null;
  const read = readEntry(digest, path);
  if ('entry' in read) return read.entry;
  const column = read.at === 'path' ? 1 : path.length + size.length + time.length + 4;
  throw malformed({ line: number, column }, read.problem);
}
