import { describe, expect, it } from 'vitest';

import { rpmDumpParser } from '../../../server/reference/rpm-dump.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { readAll, refusal } from './read-all.ts';

const SHA256 = 'ab'.repeat(32);
const line = (change: { path?: string; digest?: string; mode?: string; link?: string } = {}) => {
  const { path = '/usr/bin/ls', digest = SHA256, mode = '0100755', link = 'X' } = change;
  return `${path} 137744 1720000000 ${digest} ${mode} root root 0 0 0 ${link}\n`;
};

describe('a dump of rpm', () => {
  it('gives the regular files and counts what carries no digest of a content', () => {
    const parser = rpmDumpParser();
    const file = [
      line(),
      line({ path: '/usr/share/a file with 1 2 3 spaces' }),
      line({ path: '/usr/bin', digest: '0'.repeat(64), mode: '040755' }),
      line({ path: '/usr/bin/sh', digest: '0'.repeat(64), mode: '0120777', link: 'bash of old' }),
      line({ path: '/var/log/ghost', digest: '0'.repeat(64) }),
      line({ path: '/var/empty', digest: '' }),
      '(contains no files)\n',
      line({ path: '/usr/bin/suid', mode: '0104755' }),
    ].join('');
    const entries = readAll(parser, file, 11);
    expect(entries.map(({ path }) => path)).toEqual([
      '/usr/bin/ls',
      '/usr/share/a file with 1 2 3 spaces',
      '/usr/bin/suid',
    ]);
    expect(entries[0]).toEqual({ algorithm: 'sha256', digest: SHA256, path: '/usr/bin/ls' });
    expect(parser.notImported()).toEqual(['4 lines that are no regular file or carry no digest']);
  });

  it.each([
    ['no dump', '/usr/bin/ls\n', 'line 1, column 1: not a line of rpm --dump'],
    [
      'MD5 digests',
      line() + line({ digest: 'ab'.repeat(16) }),
      'line 2, column 31: an MD5 digest: IMA measures files by SHA-1 or SHA-2, hash the files anew',
    ],
    ['a file without a path', line({ path: '' }), 'line 1, column 1: the path is empty'],
    ['a mode that is none', line({ mode: '0999999' }), 'line 1, column 1: not a line of rpm --dump'],
  ])('with %s is refused at its place', (_name, file, message) => {
    expect(refusal(rpmDumpParser(), file)).toBe(message);
  });

  it('that is damaged is read or refused, and nothing else', () => {
    const random = new SeededRandom(11);
    const good = Buffer.from(line() + line({ path: '/usr/bin', digest: '0'.repeat(64), mode: '040755' }));
    for (let round = 0; round < 2000; round++) {
      const bad = Buffer.from(good);
      for (let turn = 0; turn < 1 + random.below(4); turn++) bad[random.below(bad.length)] = random.below(256);
      expect(refusal(rpmDumpParser(), bad, 1 + random.below(90)) ?? 'line 1, column 1: ok').toMatch(
        /^line [1-9]\d*, column [1-9]\d*: ./,
      );
    }
  });

  it('of many spaces costs no more than its length', () => {
    const started = performance.now();
    for (let turn = 0; turn < 20; turn++) refusal(rpmDumpParser(), `${'1 '.repeat(8000)}\n`);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
