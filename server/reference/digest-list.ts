import type { ReferenceEntryRecord } from '../store/reference-store.ts';
import { isReferenceAlgorithm, readEntry } from './entry.ts';
import { malformed } from './import-error.ts';
import type { Line } from './lines.ts';
import { lineParser } from './parser.ts';
import type { ReferenceParser } from './parser.ts';

/** `DIGEST  PATH` or `DIGEST *PATH`; a backslash before the digest says that the path is escaped. */
const GNU = /^(\\?)([0-9a-fA-F]+) [ *](.*)$/su;
/** `SHA256 (PATH) = DIGEST`, with the same backslash. */
const TAGGED = /^(\\?)([A-Z0-9]+) \((.*)\) = (\S*)$/su;

/** Lines as `sha256sum` and its kin write them (coreutils, "md5sum invocation"); empty lines and those of `#` hold nothing. */
export function digestListParser(): ReferenceParser {
  return lineParser((line) => (line.text === '' || line.text.startsWith('#') ? null : readLine(line)));
}

function readLine({ number, text }: Line): ReferenceEntryRecord {
  const [, escaped, digest, path] = GNU.exec(text) ?? [];
  if (escaped !== undefined && digest !== undefined && path !== undefined) {
    const start = escaped.length + 1;
    return entryOf({ line: number, digest, digestColumn: start, path, pathColumn: start + digest.length + 2, escaped });
  }
  const [, mark, tag, tagged, hex] = TAGGED.exec(text) ?? [];
  if (mark === undefined || tag === undefined || tagged === undefined || hex === undefined)
    throw malformed({ line: number, column: 1 }, 'neither "DIGEST  PATH" nor "SHA256 (PATH) = DIGEST"');
  const pathColumn = mark.length + tag.length + 3;
  const digestColumn = pathColumn + tagged.length + 4;
  const entry = entryOf({ line: number, digest: hex, digestColumn, path: tagged, pathColumn, escaped: mark });
  const algorithm = tag.toLowerCase();
  if (!isReferenceAlgorithm(algorithm))
    throw malformed(
      { line: number, column: mark.length + 1 },
      `${tag} is none of SHA1, SHA224, SHA256, SHA384, SHA512`,
    );
  if (entry.algorithm !== algorithm)
    throw malformed({ line: number, column: digestColumn }, `a digest of ${hex.length} digits is none of ${tag}`);
  return entry;
}

interface Found {
  readonly line: number;
  readonly digest: string;
  readonly digestColumn: number;
  readonly path: string;
  readonly pathColumn: number;
  /** A backslash where the path is escaped. */
  readonly escaped: string;
}

function entryOf({ line, digest, digestColumn, path, pathColumn, escaped }: Found): ReferenceEntryRecord {
  const read = readEntry(digest, escaped === '' ? path : unescapePath(path, { line, column: pathColumn }));
  if ('entry' in read) return read.entry;
  throw malformed({ line, column: read.at === 'digest' ? digestColumn : pathColumn }, read.problem);
}

const ESCAPES: Readonly<Record<string, string>> = { '\\\\': '\\', '\\n': '\n', '\\r': '\r' };

function unescapePath(path: string, { line, column }: { readonly line: number; readonly column: number }): string {
  return path.replace(/\\.?/gsu, (escape: string, offset: number) => {
    const character = ESCAPES[escape];
    if (character === undefined)
      throw malformed({ line, column: column + offset }, `unknown escape ${escape} in the path`);
    return character;
  });
}
