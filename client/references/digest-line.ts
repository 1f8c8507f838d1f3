/** A line as `sha256sum` writes it: a path with a backslash or a line break is escaped and marked by a backslash in front. */
export function digestLine(digest: string, path: string): string {
  const escaped = path.replace(/[\\\n\r]/g, (character) => ESCAPES[character] ?? character);
  return `${escaped === path ? '' : '\\'}${digest}  ${escaped}\n`;
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r' };
