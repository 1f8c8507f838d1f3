/** A regular file of an archive, its content as it comes. It must be read to its end before the next file is asked for. */
export interface TarFile {
  /** As the archive writes it, such as `./usr/bin/ls`. */
  readonly path: string;
  readonly size: number;
  readonly content: AsyncIterable<Buffer>;
}

/** What is wrong with an archive. */
export class TarError extends Error {
  override readonly name = 'TarError';
}

const BLOCK = 512;
/** A long name, or the attributes of one file. */
const MAX_EXTENSION = 64 * 1024;
const REGULAR: ReadonlySet<string> = new Set(['0', '\0', '7']);

/** What a header before a file says of it (POSIX pax; `L` of GNU). */
interface Extension {
  readonly path?: string;
  readonly size?: number;
}

/** The regular files of a tar archive (ustar, pax and GNU long names), in its order. A hard link has the content of another entry and is none. */
export async function* readTar(bytes: AsyncIterable<Buffer>): AsyncGenerator<TarFile> {
  const source = new Source(bytes);
  let extension: Extension = {};
  for (;;) {
    const header = await source.take(BLOCK);
    if (header.every((byte) => byte === 0)) return;
    checkSum(header);
    const type = String.fromCharCode(header[156] ?? 0);
    const size = extension.size ?? octal(header, 124, 12);
    const padding = (BLOCK - (size % BLOCK)) % BLOCK;
    if (type === 'x' || type === 'L' || type === 'K' || type === 'g') {
      if (size > MAX_EXTENSION) throw new TarError('a name or attribute of the archive is too long');
      const data = await source.take(size);
      await source.skip(padding);
      if (type === 'x') extension = { ...extension, ...paxOf(data) };
      if (type === 'L') extension = { ...extension, path: textOf(data) };
      continue;
    }
    const path = extension.path ?? headerPath(header);
    extension = {};
    if (REGULAR.has(type)) {
      let left = size;
      const content = async function* (): AsyncGenerator<Buffer> {
        while (left > 0) {
          const part = await source.some(left);
          left -= part.length;
          yield part;
        }
      };
      yield { path, size, content: content() };
      await source.skip(left + padding);
    } else await source.skip(size + padding);
  }
}

/** Bytes of a stream, taken as they are needed. */
class Source {
  readonly #bytes: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(bytes: AsyncIterable<Buffer>) {
    this.#bytes = bytes[Symbol.asyncIterator]();
  }

  /** At least one byte, at most `limit`. */
  async some(limit: number): Promise<Buffer> {
    while (this.#held.length === 0) {
      const next = await this.#bytes.next();
      if (next.done === true) throw new TarError('the archive ends too early');
      this.#held = next.value;
    }
    const part = this.#held.subarray(0, limit);
    this.#held = this.#held.subarray(part.length);
    return part;
  }

  async take(size: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = size; left > 0;) {
      const part = await this.some(left);
      left -= part.length;
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  async skip(size: number): Promise<void> {
    for (let left = size; left > 0;) left -= (await this.some(left)).length;
  }
}

function headerPath(header: Buffer): string {
  const name = textOf(header.subarray(0, 100));
  const prefix = header.subarray(257, 263).toString('latin1') === 'ustar\0' ? textOf(header.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** Records of `LENGTH KEY=VALUE\n`. */
function paxOf(data: Buffer): Extension {
  let extension: Extension = {};
  for (let start = 0; start < data.length;) {
    const space = data.indexOf(0x20, start);
    const length = Number(data.toString('latin1', start, Math.max(start, space)));
    if (space === -1 || !Number.isSafeInteger(length) || length <= space - start || start + length > data.length)
      throw new TarError('an attribute of the archive is malformed');
    const [key = '', ...value] = data.toString('utf8', space + 1, start + length - 1).split('=');
    if (key === 'path') extension = { ...extension, path: value.join('=') };
    if (key === 'size') extension = { ...extension, size: sizeOf(value.join('=')) };
    start += length;
  }
  return extension;
}

function sizeOf(text: string): number {
  const size = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(size)) throw new TarError('a size of the archive is malformed');
  return size;
}

function octal(header: Buffer, start: number, length: number): number {
  const text = textOf(header.subarray(start, start + length)).trim();
  if (!/^[0-7]*$/.test(text)) throw new TarError('a number of the archive is malformed');
  return text === '' ? 0 : Number.parseInt(text, 8);
}

function textOf(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}

/** The header's sum counts its own field as spaces. */
function checkSum(header: Buffer): void {
  const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0);
  if (sum !== Number.parseInt(textOf(header.subarray(148, 156)).trim(), 8)) throw new TarError('not a tar archive');
}
