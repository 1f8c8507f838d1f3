/** Patterns of paths: `*` stands for any bytes, also for "/", all else for itself, and the whole path must fit. */

/** Its pieces between the asterisks, one character a byte. */
export type PathPattern = readonly string[];

const MAX_BYTES = 512;
const MAX_ASTERISKS = 8;
const MAX_PATTERNS = 256;

/** What is wrong with a pattern, or null. */
export function pathPatternProblem(text: string): string | null {
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > MAX_BYTES) return `must have 1 to ${MAX_BYTES} bytes`;
  if (!text.isWellFormed() || text.includes('\0')) return 'is no text that a path can hold';
  const asterisks = text.split('*').length - 1;
  if (asterisks > MAX_ASTERISKS) return `has more than ${MAX_ASTERISKS} asterisks`;
  return /^[*/.]*$/.test(text) ? 'fits nearly every path: name a folder or an ending' : null;
}

/** What is wrong with a list of patterns that stands in a field. */
export function pathPatternProblems(
  patterns: readonly string[],
  field: string,
): readonly { readonly field: string; readonly message: string }[] {
  if (patterns.length > MAX_PATTERNS) return [{ field, message: `holds more than ${MAX_PATTERNS} patterns` }];
  return patterns.flatMap((pattern, index) => {
    const message = pathPatternProblem(pattern);
    return message === null ? [] : [{ field: `${field}[${index}]`, message }];
  });
}

export function parsePathPattern(text: string): PathPattern {
  return Buffer.from(text).toString('latin1').split('*');
}

/**
 * Does the whole path fit? Each piece is taken at its first place behind the one before, which is enough where nothing but `*`
 * stands between them: the time is that of one pass, whatever path or pattern are.
 */
export function matchesPath(pattern: PathPattern, path: Buffer): boolean {
  const text = path.toString('latin1');
  const [first = '', ...others] = pattern;
  const last = others.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const piece of others) {
    const found = text.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
