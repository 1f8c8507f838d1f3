import { describe, expect, it } from 'vitest';

import { dataIsHere } from '../../support/data.ts';
import { RULE } from '../../support/booted-machine.ts';
import { keptCommandLine, looseArguments, splitCommandLine } from '../../../tpm/eventlog/kernel-arguments.ts';
import { judge, line } from './boot-input.ts';

describe('a command line, taken apart as the kernel does it', () => {
  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    ['white space of every kind', 'a\tb\n\vc\f\rd', ['a', 'b', 'c', 'd']],
    ['quotes around an argument', '"a b" c', ['a b', 'c']],
    ['quotes around a value', 'a="b c" d', ['a=b c', 'd']],
    ['quotes around both', '"a="b c', ['a=b', 'c']],
    ['a quote too many', '"a="b"" c', ['a=b"', 'c']],
    ['quotes within a name, which stay', 'lock"down"=x', ['lock"down"=x']],
    ['quotes within a value, which stay', 'a=b"c"', ['a=b"c"']],
    ['a value that is quoted in part', 'a="b"c', ['a=b"c']],
    ['a quote without an end', 'a "b c', ['a', 'b c']],
    ['a no-break space, which separates by its second byte', 'a\u00a0b', ['a\ufffd', 'b']],
    ['a letter that ends in that byte', '\u00e0init=/bin/sh', ['\ufffd', 'init=/bin/sh']],
    ['space of other scripts, which is none to the kernel', 'a\u3000b\u2003c', ['a\u3000b\u2003c']],
    ['other letters', 'a=\u00fc', ['a=\u00fc']],
    ['nothing', '', []],
  ];

  it.each(rows)('reads %s', (_, text, expected) => {
    expect(splitCommandLine(text).kernel).toEqual(expected);
  });

  it('ends at the two dashes, quoted or not', () => {
    expect(splitCommandLine('a -- b')).toEqual({ kernel: ['a'], init: ['b'] });
    expect(splitCommandLine('a "--" b')).toEqual({ kernel: ['a'], init: ['b'] });
  });

  it('keeps no more of a line than the kernel does', () => {
    expect(keptCommandLine('x'.repeat(5000)).length).toBeLessThan(2048);
    expect(keptCommandLine('a b')).toBe('a b');
  });

  it('finds loosely what anybody may find', () => {
    expect(looseArguments('a="b nokaslr" \'c d\' in\\it e\u0001f')).toEqual([
      'a=b',
      'nokaslr',
      'c',
      'd',
      'init',
      'e',
      'f',
    ]);
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('a trick in a command line', () => {
  const required = { ...RULE, allowed: [], required: ['lockdown=confidentiality'], forbidden: [] };
  const forbidden = { ...RULE, allowed: [], required: [], forbidden: ['init', 'nokaslr'] };

  it.each([
    ['a name with quotes in it, which the kernel does not know', '/vmlinuz lock"down"=confidentiality'],
    ['a value with quotes in it', '/vmlinuz lockdown=confi"dentiality"'],
    ['space that is none to the kernel', '/vmlinuz x\u3000lockdown=confidentiality'],
    ['a no-break space behind the value, half of which stays with it', '/vmlinuz lockdown=confidentiality\u00a0x'],
    ['filling, so that the kernel cuts the argument off', `/vmlinuz ${'x '.repeat(1100)}lockdown=confidentiality`],
    ['the first process alone that gets it', '/vmlinuz "--" lockdown=confidentiality'],
  ])('gives no required argument: %s', (_, text) => {
    const verdict = judge({ commandLine: required }, line(text));
    expect(verdict.status).toBe('contraindicated');
    expect(verdict.checks[0]).toMatchObject({ reason: 'COMMAND_LINE_ARGUMENT_MISSING' });
  });

  it.each([
    ['behind a letter whose second byte is white space', '/vmlinuz \u00e0init=/bin/sh'],
    ['within quotes, which not all readers know', '/vmlinuz x="a nokaslr b"'],
    ['in single quotes', "/vmlinuz 'init=/bin/sh'"],
    ['behind a control character', '/vmlinuz a\u0001nokaslr'],
    ['behind the two dashes', '/vmlinuz -- init'],
    ['in two readings of its name', '/vmlinuz in"it"=/bin/sh'],
  ])('hides no forbidden argument: %s', (_, text) => {
    const verdict = judge({ commandLine: forbidden }, line(text));
    expect(verdict.status).toBe('contraindicated');
    expect(verdict.checks[0]).toMatchObject({ reason: 'COMMAND_LINE_ARGUMENT_FORBIDDEN' });
  });

  it('takes back no required argument unseen', () => {
    const text = '/vmlinuz lockdown=confidentiality x="a lockdown=none"';
    expect(judge({ commandLine: required }, line(text)).status).toBe('contraindicated');
  });
});
