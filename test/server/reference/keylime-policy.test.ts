import { describe, expect, it } from 'vitest';

import { keylimePolicyParser } from '../../../server/reference/keylime-policy.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { readAll, refusal } from './read-all.ts';

const SHA1 = '11'.repeat(20);
const SHA256 = 'ab'.repeat(32);
const policy = (change: object = {}) => ({
  meta: { version: 1, generator: 6, timestamp: '2026-11-25 10:00:00' },
  release: 0,
  digests: { '/bin/sh': [SHA256, SHA1], boot_aggregate: [SHA256], '/ä "x"\n': [SHA256.toUpperCase()], '/none': [] },
  excludes: ['^/var/.*', '^/tmp/.*'],
  keyrings: { '.ima': [SHA256] },
  ima: { ignored_keyrings: [], log_hash_alg: 'sha1', dm_policy: null },
  'ima-buf': { dm_table_load: [SHA256] },
  'verification-keys': '',
  ...change,
});
const text = (change: object = {}, space?: number) => JSON.stringify(policy(change), undefined, space);

describe('a runtime policy of Keylime', () => {
  it('gives digests by path and names what is not imported, in chunks of any size', () => {
    for (const space of [0, 2]) {
      for (const size of [Infinity, 1, 2, 3, 17]) {
        const parser = keylimePolicyParser();
        expect(readAll(parser, text({}, space), size)).toEqual([
          { algorithm: 'sha256', digest: SHA256, path: '/bin/sh' },
          { algorithm: 'sha1', digest: SHA1, path: '/bin/sh' },
          { algorithm: 'sha256', digest: SHA256, path: 'boot_aggregate' },
          { algorithm: 'sha256', digest: SHA256, path: '/ä "x"\n' },
        ]);
        expect(parser.notImported()).toEqual([
          'excludes: 2 patterns',
          'keyrings: 1 digests',
          'ima: 1 settings',
          'ima-buf: 1 digests',
        ]);
      }
    }
  });

  it.each([
    ['of another version', text({ meta: { version: 2 } }), 'line 1, column 20: $.meta.version: must be 1'],
    ['without a version', text({ meta: {} }), '$.meta.version: is missing, must be 1'],
    ['without digests', text({ digests: undefined }), '$.digests: is missing'],
    [
      'with an unknown part',
      text({ allowlist: [] }),
      /: \$\.allowlist: is not a part of a runtime policy of version 1$/,
    ],
    ['with digests in a list', text({ digests: [] }), /: \$\.digests: object expected$/],
    [
      'with a digest outside of a list',
      text({ digests: { '/a': SHA256 } }),
      /: \$\.digests\["\/a"\]: an array of digests expected$/,
    ],
    ['with an object of digests', text({ digests: { '/a': {} } }), /: \$\.digests\["\/a"\]: array expected$/],
    [
      'with a list for a digest',
      text({ digests: { '/a': [[SHA256]] } }),
      /: \$\.digests\["\/a"\]\[0\]: a digest expected$/,
    ],
    [
      'with a number for a digest',
      text({ digests: { '/a': [SHA256, 7] } }),
      /: \$\.digests\["\/a"\]\[1\]: a digest expected$/,
    ],
    ['with an MD5 digest', text({ digests: { a: ['11'.repeat(16)] } }), /: \$\.digests\.a\[0\]: an MD5 digest/],
    ['with an empty path', text({ digests: { '': [SHA1] } }), /: \$\.digests\[""\]\[0\]: the path is empty$/],
    ['that is a list', '[]', 'line 1, column 1: $: object expected'],
    ['that is a string', '"x"', 'line 1, column 1: $: object expected'],
    ['that is empty', '', /^line 1, column 1: \$: the text ends too early$/],
    ['that is cut off', '{"meta": {"ver', /the text ends too early$/],
    ['that goes on', '{} {}', 'line 1, column 4: $: something follows the value'],
    [
      'with a part that stands twice',
      '{"meta": {}, "meta": {}}',
      'line 1, column 14: $.meta: the key "meta" stands twice',
    ],
    ['with a comma too much', '{"meta": {"version": 1,}}', 'line 1, column 24: $.meta.version: key expected'],
    ['with a comma too little', '{"meta": {"version": 1 "a": 2}}', 'line 1, column 24: $.meta.version: comma expected'],
    [
      'with a value that is none',
      '{\n  "meta": {"version": nil}}',
      'line 2, column 23: $.meta.version: neither a value nor a number',
    ],
    ['with a bad escape', '{"a\\x": 1}', 'line 1, column 2: $[""]: a bad escape in a string'],
    [
      'with half a character',
      '{"meta": {"version": 1}, "digests": {"\\ud800": ["' + SHA1 + '"]}}',
      /the path is not Unicode$/,
    ],
    ['with a line break in a string', '{"a\n": 1}', 'line 1, column 4: $[""]: a control character in a string'],
    ['that is nested without end', `{"ima": ${'['.repeat(40)}`, /: nested deeper than 32$/],
    ['with a string without end', `{"ima": ["${'x'.repeat(1024 * 1024 + 1)}`, /: the value is too long$/],
    ['that is not UTF-8', Buffer.from('{"a": "\xff"}', 'latin1'), 'after line 1: the text is not UTF-8'],
    ['that begins with a mark', '\ufeff{}', 'line 1, column 1: $: value expected'],
  ] as const)('%s is refused at its place', (_name, file, message) => {
    const refused = refusal(keylimePolicyParser(), file);
    if (typeof message === 'string') expect(refused).toBe(message);
    else expect(refused).toMatch(message);
  });

  it('takes what JSON.parse takes and refuses what it refuses, wherever bytes are damaged', () => {
    const random = new SeededRandom(5);
    const good = Buffer.from(text({ digests: { '/bin/sh': [SHA1] } }));
    let taken = 0;
    for (let round = 0; round < 4000; round++) {
      const bad = Buffer.from(good);
      for (let turn = 0; turn < random.below(3); turn++) bad[random.below(bad.length)] = random.below(256);
      const message = refusal(keylimePolicyParser(), bad, 1 + random.below(60));
      if (message !== null) {
        expect(message).toMatch(/^(?:line [1-9]\d*, column [1-9]\d*: \$|after line |\$\.)/);
        continue;
      }
      taken++;
      const parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bad)) as { digests: object };
      const entries = Object.entries(parsed.digests).flatMap(([path, list]) =>
        (list as string[]).map((digest) => ({ path, digest: digest.toLowerCase() })),
      );
      expect(readAll(keylimePolicyParser(), bad).map(({ path, digest }) => ({ path, digest }))).toEqual(entries);
    }
    expect(taken).toBeGreaterThan(500);
  });
});
