import { describe, expect, it } from 'vitest';

import { matchesPath, parsePathPattern, pathPatternProblem } from '../../../server/policy/path-pattern.ts';

const matches = (pattern: string, path: string | Buffer): boolean =>
  matchesPath(parsePathPattern(pattern), Buffer.from(path));

describe('a path pattern', () => {
  it.each([
    ['/var/log/messages', '/var/log/messages', true],
    ['/var/log/messages', '/var/log/messages2', false],
    ['/var/log/*', '/var/log/a/b', true],
    ['/var/log/*', '/var/log/', true],
    ['/var/log/*', '/var/logs/a', false],
    ['/var/log/*', '/x/var/log/a', false],
    ['*.pyc', '/usr/lib/a.pyc', true],
    ['*.pyc', '/usr/lib/a.pyc.sh', false],
    ['/home/*/.cache/*', '/home/ada/.cache/x', true],
    ['/home/*/.cache/*', '/home/ada/cache/x', false],
    ['/a*a', '/a', false],
    ['/a*a', '/aa', true],
    ['/a*b*b', '/ab', false],
    ['/a*b*b', '/abb', true],
    ['/a**b', '/ab', true],
    ['/a.c', '/abc', false],
    ['/ü*', '/ü/x', true],
  ])('%s and %s: %s', (pattern, path, expected) => {
    expect(matches(pattern, path)).toBe(expected);
  });

  it('goes by bytes, not by what they would be as text', () => {
    expect(matches('/a\ufffd', Buffer.from([0x2f, 0x61, 0xff]))).toBe(false);
  });

  it('takes no longer for a path that nearly fits everywhere', () => {
    const start = performance.now();
    expect(matches(`/${'a*'.repeat(8)}b`, `/${'a'.repeat(1_000_000)}`)).toBe(false);
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  it.each([
    ['', 'must have 1 to 512 bytes'],
    ['x'.repeat(513), 'must have 1 to 512 bytes'],
    ['/a\0', 'is no text that a path can hold'],
    ['/a\ud800', 'is no text that a path can hold'],
    ['/*a*b*c*d*e*f*g*h*', 'has more than 8 asterisks'],
    ['*', 'fits nearly every path: name a folder or an ending'],
    ['/*', 'fits nearly every path: name a folder or an ending'],
    ['/usr/*', null],
  ])('%j: %s', (text, problem) => {
    expect(pathPatternProblem(text)).toBe(problem);
  });
});
