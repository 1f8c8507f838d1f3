import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { absolutePath, listFiles, openFile } from '../../../client/config.ts';
import { digestLine } from '../../../client/references/digest-line.ts';
import { hashDeb, hashTree } from '../../../client/references/hash-files.ts';
import { readTar, TarError } from '../../../client/references/tar.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

const LONG = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(200)}`;
const NAMES = ['bin/sh', 'bin/with space', 'empty', 'new\nline', 'back\\slash', 'ä€', LONG];
let folder: string;
let tree: string;

const contentOf = (name: string) => (name === 'empty' ? '' : `content of ${name} `.repeat(100));
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const below = (root: string) => NAMES.map((name) => digestLine(sha256(contentOf(name)), `${root}/${name}`)).sort();

async function linesOf(list: AsyncIterable<Buffer>): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of list) lines.push(line.toString());
  return lines;
}

async function* inParts(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

const source = (archive: string, size = 700) => ({
  openFile,
  absolutePath,
  listFiles,
  unpackDeb: () => inParts(readFileSync(archive), size),
});

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'assay-tree-'));
  tree = join(folder, 'tree');
  for (const name of NAMES) {
    mkdirSync(join(tree, name, '..'), { recursive: true });
    writeFileSync(join(tree, name), contentOf(name));
  }
  symlinkSync('sh', join(tree, 'bin', 'link'));
  symlinkSync('/', join(tree, 'loop'));
  execFileSync('mkfifo', [join(tree, 'pipe')]);
  for (const format of ['gnu', 'pax', 'posix', 'v7']) {
    const exclude = format === 'v7' ? ['--exclude', './ddd*', '--exclude', './pipe'] : [];
    execFileSync('tar', [`--format=${format}`, ...exclude, '-cf', join(folder, `${format}.tar`), '-C', tree, '.']);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a directory tree', () => {
  it('gives the digest of every regular file, and follows no link', async () => {
    const options = { hash: 'sha256', root: '/' } as const;
    expect((await linesOf(hashTree(source(''), tree, options))).sort()).toEqual(below(tree));
    expect((await linesOf(hashTree(source(''), tree, { ...options, root: `${tree}/` }))).sort()).toEqual(below(''));
    const apart = await linesOf(hashTree(source(''), join(tree, 'bin'), { ...options, root: tree }));
    expect(apart).toEqual(below('').filter((line) => line.includes('/bin/')));
  });

  it('that is not there, or no directory, is an error', async () => {
    const options = { hash: 'sha256', root: '/' } as const;
    await expect(linesOf(hashTree(source(''), join(tree, 'gone'), options))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(linesOf(hashTree(source(''), join(tree, 'empty'), options))).rejects.toMatchObject({
      code: 'ENOTDIR',
    });
    await expect(openFile(tree)).rejects.toMatchObject({ code: 'EISDIR' });
  });
});

describe('a package', () => {
  it.each(['gnu', 'pax', 'posix'])('of %s tar gives the digest of every file, in parts of any size', async (format) => {
    for (const size of [1, 511, 4096, Infinity]) {
      const lines = await linesOf(hashDeb(source(join(folder, `${format}.tar`), size), '', 'sha256'));
      expect(lines.sort()).toEqual(below(''));
    }
  });

  it('of old tar is read too', async () => {
    const lines = await linesOf(hashDeb(source(join(folder, 'v7.tar')), '', 'sha256'));
    expect(lines.sort()).toEqual(below('').filter((line) => !line.includes('/ddd')));
  });

  it('that is cut off or damaged is an error or a list, and nothing else', async () => {
    const good = readFileSync(join(folder, 'pax.tar'));
    const random = new SeededRandom(13);
    const read = async (archive: Buffer) => {
      let files = 0;
      for await (const { content } of readTar(inParts(archive, 3000))) {
        for await (const _ of content);
        files++;
      }
      return files;
    };
    expect(await read(good)).toBe(NAMES.length);
    for (const end of [100, 512, 2000, 5000]) {
      await expect(read(good.subarray(0, end))).rejects.toThrow(TarError);
    }
    for (let round = 0; round < 300; round++) {
      const bad = Buffer.from(good);
      for (let turn = 0; turn < 3; turn++) bad[random.below(bad.length)] = random.below(256);
      await read(bad).catch((error: unknown) => expect(error).toBeInstanceOf(TarError));
    }
    await expect(read(Buffer.alloc(1024, 'x'))).rejects.toThrow('not a tar archive');
  });
});
