import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { digestListParser } from '../../../server/reference/digest-list.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { readAll, refusal } from './read-all.ts';

const SHA1 = '11'.repeat(20);
const SHA224 = '22'.repeat(28);
const SHA256 = 'aB'.repeat(32);
const SHA384 = '44'.repeat(48);
const SHA512 = '55'.repeat(64);
const read = (file: Buffer | string, size?: number) => readAll(digestListParser(), file, size);

const folder = mkdtempSync(join(tmpdir(), 'assay-digests-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a list of digests', () => {
  it.each([
    ['sha1', SHA1],
    ['sha224', SHA224],
    ['sha256', SHA256],
    ['sha384', SHA384],
    ['sha512', SHA512],
  ])('tells %s by its length', (algorithm, digest) => {
    const entry = { algorithm, digest: digest.toLowerCase(), path: '/bin/a b' };
    expect(read(`${digest}  /bin/a b\n`)).toEqual([entry]);
    expect(read(`${digest} */bin/a b`)).toEqual([entry]);
    expect(read(`${algorithm.toUpperCase()} (/bin/a b) = ${digest}\n`)).toEqual([entry]);
  });

  it('is read the same in chunks of any size, with comments and empty lines', () => {
    const file = `# made by hand\n\n${SHA256}  /ä/€/😀\n\\${SHA1}  /a\\nb\\\\c\\rd\n\\SHA1 (/x\\ny) = ${SHA1}\n${SHA1}  /(a) = b`;
    const whole = read(file);
    expect(whole.map(({ path }) => path)).toEqual(['/ä/€/😀', '/a\nb\\c\rd', '/x\ny', '/(a) = b']);
    for (const size of [1, 2, 3, 7, 64]) expect(read(file, size)).toEqual(whole);
  });

  it.each([
    ['no digest', 'hello world\n', 'line 1, column 1: neither "DIGEST  PATH" nor "SHA256 (PATH) = DIGEST"'],
    ['one space only', `${SHA1} /a\n`, 'line 1, column 1: neither "DIGEST  PATH" nor "SHA256 (PATH) = DIGEST"'],
    [
      'an MD5 digest',
      `\n${'11'.repeat(16)}  /a\n`,
      'line 2, column 1: an MD5 digest: IMA measures files by SHA-1 or SHA-2, hash the files anew',
    ],
    [
      'an MD5 tag',
      `MD5 (/a) = ${'11'.repeat(16)}\n`,
      'line 1, column 12: an MD5 digest: IMA measures files by SHA-1 or SHA-2, hash the files anew',
    ],
    ['a digest of odd length', `${SHA1}1  /a\n`, 'line 1, column 1: a digest of 41 digits is none of SHA-1 or SHA-2'],
    [
      'a tag that is none',
      `SHA3 (/a) = ${SHA256}\n`,
      'line 1, column 1: SHA3 is none of SHA1, SHA224, SHA256, SHA384, SHA512',
    ],
    [
      'a tag of another length',
      `SHA256 (/a) = ${SHA1}\n`,
      'line 1, column 15: a digest of 40 digits is none of SHA256',
    ],
    ['a tag without digits', 'SHA256 (/a) = x\n', 'line 1, column 15: the digest is not hexadecimal'],
    ['no path', `${SHA1}  \n`, 'line 1, column 43: the path is empty'],
    ['a zero byte', `${SHA1}  /a\0b\n`, 'line 1, column 43: the path holds a zero byte'],
    ['a long path', `${SHA1}  ${'x'.repeat(4097)}\n`, 'line 1, column 43: the path is longer than 4096 bytes'],
    ['an unknown escape', `\\${SHA1}  /a\\t\n`, 'line 1, column 46: unknown escape \\t in the path'],
    ['an escape that is cut off', `\\${SHA1}  /a\\`, 'line 1, column 46: unknown escape \\ in the path'],
    ['a line of Windows', `${SHA1}  /a\r\n`, 'line 1, column 45: the line ends with CR and LF'],
    ['bytes that are no text', Buffer.from([0xff, 0x0a]), 'line 1, column 1: the line is not UTF-8'],
    ['an endless line', 'x'.repeat(16 * 1024 + 1), 'line 1, column 16385: the line is longer than 16384 bytes'],
  ])('with %s is refused at its place', (_name, file, message) => {
    expect(refusal(digestListParser(), file)).toBe(message);
    expect(refusal(digestListParser(), file, 5)).toBe(message);
  });

  it('is read as the tools of the system write it', () => {
    const names = ['plain', 'with space', 'back\\slash', 'new\nline', '*star', '(a) = b'];
    for (const name of names) writeFileSync(join(folder, name), name);
    const paths = names.map((name) => join(folder, name));
    for (const tool of ['sha1sum', 'sha256sum', 'sha384sum', 'sha512sum']) {
      const algorithm = tool.slice(0, -3);
      for (const options of [[], ['--binary'], ['--tag']]) {
        const entries = read(execFileSync(tool, [...options, ...paths]));
        expect(entries).toEqual(
          names.map((name, index) => ({
            algorithm,
            digest: createHash(algorithm).update(name).digest('hex'),
            path: paths[index],
          })),
        );
      }
    }
  });

  it('that is damaged is read or refused, and nothing else', () => {
    const random = new SeededRandom(7);
    const good = Buffer.from(`${SHA256}  /bin/sh\n\\SHA1 (/x\\ny) = ${SHA1}\n${SHA512} */usr/bin/ä\n`);
    for (let round = 0; round < 3000; round++) {
      const bad = Buffer.from(good);
      for (let turn = 0; turn < 1 + random.below(4); turn++) bad[random.below(bad.length)] = random.below(256);
      const cut = bad.subarray(0, random.below(bad.length + 1));
      const message = refusal(digestListParser(), cut, 1 + random.below(40));
      if (message === null) for (const { digest } of read(cut)) expect(digest).toMatch(/^[0-9a-f]+$/);
      else expect(message).toMatch(/^line [1-9]\d*, column [1-9]\d*: ./);
    }
  });
});
