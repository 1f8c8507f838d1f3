const NEWLINE = 0x0a;
const PLACE = /^line (\d+), (.*)$/s;

/** Which line of an import is which of its files: they go out one behind the other, and the service counts the lines of all. */
export class SentLines {
  readonly #files: { readonly file: string; readonly before: number }[] = [];
  #lines = 0;

  /** What is counted from now on is of this file. */
  begin(file: string): void {
    this.#files.push({ file, before: this.#lines });
  }

  count(bytes: Uint8Array): void {
    for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) this.#lines += 1;
  }

  /** `FILE: line 3, …` for `line 1234, …`; undefined where no line is named, or there is but one file. */
  locate(message: string): string | undefined {
    const [, line = '', rest = ''] = PLACE.exec(message) ?? [];
    const place = this.#files.findLast(({ before }) => before < Number(line));
    if (place === undefined || this.#files.length < 2) return undefined;
    return `${place.file}: line ${Number(line) - place.before}, ${rest}`;
  }
}
