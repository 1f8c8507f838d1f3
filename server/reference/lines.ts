import { isUtf8 } from 'node:buffer';

import { malformed } from './import-error.ts';
import type { ReferenceImportError } from './import-error.ts';

/** Bytes of one line: a digest and a path whose every byte is escaped, with room to spare. */
export const MAX_LINE_BYTES = 16 * 1024;
const NEWLINE = 0x0a;

export interface Line {
  /** Counted from 1. */
  readonly number: number;
  readonly text: string;
}

/** Cuts a file that comes in chunks into its lines; holds one unfinished line and nothing else. */
export class LineReader {
  #rest: Buffer = Buffer.alloc(0);
  #number = 0;

  *push(chunk: Buffer): Generator<Line> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const line = chunk.subarray(start, end);
      yield this.#line(this.#rest.length === 0 ? line : Buffer.concat([this.#rest, line]));
      this.#rest = Buffer.alloc(0);
      start = end + 1;
    }
    if (this.#rest.length + chunk.length - start > MAX_LINE_BYTES) throw tooLong(this.#number + 1);
    // A copy: a view would keep the whole chunk.
    if (start < chunk.length) this.#rest = Buffer.concat([this.#rest, chunk.subarray(start)]);
  }

  /** The last line, where the file does not end with a line break. */
  *end(): Generator<Line> {
    if (this.#rest.length > 0) yield this.#line(this.#rest);
    this.#rest = Buffer.alloc(0);
  }

  #line(bytes: Buffer): Line {
    const number = ++this.#number;
    if (bytes.length > MAX_LINE_BYTES) throw tooLong(number);
    if (!isUtf8(bytes)) throw malformed({ line: number, column: 1 }, 'the line is not UTF-8');
    const text = bytes.toString('utf8');
    if (text.endsWith('\r')) throw malformed({ line: number, column: text.length }, 'the line ends with CR and LF');
    return { number, text };
  }
}

function tooLong(line: number): ReferenceImportError {
  return malformed({ line, column: MAX_LINE_BYTES + 1 }, `the line is longer than ${MAX_LINE_BYTES} bytes`);
}
