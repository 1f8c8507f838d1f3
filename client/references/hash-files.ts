import { createHash } from 'node:crypto';
import { digestLine } from './digest-line.ts';
import { readTar } from './tar.ts';

export const HASHES = ['sha1', 'sha256', 'sha384', 'sha512'] as const;
export type HashName = (typeof HASHES)[number];

/** What hashing needs of files; main.ts has the real ones. */
export interface FileSource {
  /** Bytes of a file; `-` is standard input. Rejects where it cannot be opened. */
  readonly openFile: (path: string) => Promise<AsyncIterable<Buffer>>;
  readonly absolutePath: (path: string) => string;
  /** Absolute paths of the regular files below a directory, in order. Links are not followed. */
  readonly listFiles: (directory: string) => AsyncIterable<string>;
  /** What a Debian package installs, as a tar archive. */
  readonly unpackDeb: (path: string) => AsyncIterable<Buffer>;
}

/** A digest list of a directory tree. Paths are absolute; those below `root` are as a host sees them whose root it is. */
export async function* hashTree(
  source: FileSource,
  directory: string,
  { hash, root }: { readonly hash: HashName; readonly root: string },
): AsyncGenerator<Buffer> {
  const base = source.absolutePath(root);
  const prefix = base.endsWith('/') ? base.slice(0, -1) : base;
  for await (const path of source.listFiles(directory)) {
    const digest = await hashOf(await source.openFile(path), hash);
    const shown = path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : path;
    yield Buffer.from(digestLine(digest, shown));
  }
}

/** A digest list of the files that a Debian package installs. Its own list is of MD5, which no kernel measures by. */
export async function* hashDeb(source: FileSource, path: string, hash: HashName): AsyncGenerator<Buffer> {
  for await (const file of readTar(source.unpackDeb(path))) {
    const digest = await hashOf(file.content, hash);
    yield Buffer.from(digestLine(digest, file.path.replace(/^\.?\/*/, '/')));
  }
}

async function hashOf(content: AsyncIterable<Buffer>, name: HashName): Promise<string> {
  const hash = createHash(name);
  for await (const part of content) hash.update(part);
  return hash.digest('hex');
}
