import { beforeEach, describe, expect, test } from 'vitest';
import { commonName, ext, makeCertificate, SIGNATURE, testKey } from '../../support/test-ca.ts';
import { makeLog, makeSignatureList, makeVariable, u32, u64, X509_TYPE } from '../../tpm/eventlog/make-log.ts';
import type { MadeEvent } from '../../tpm/eventlog/make-log.ts';
import { Shell } from '../support/shell.ts';

const GLOBAL = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
const SECURITY = 'd719b2cb-3d3a-4596-a3bc-dad00e67656f';

/** Clears the screen, turns the direction, hides, rings, ends the line. */
const TRICKS = ['\u001b', '\u202e', '\u2066', '\u200b', '\u0007', '\u009b', '\r', '\u2028'] as const;
/** Data with control characters is taken for bytes; with these alone it is text, which is shown. */
const UNSEEN = ['\u202e', '\u2066', '\u200b', '\u2028'] as const;
const hostile = `x${TRICKS.join('y')}z`;
const unseen = `x${UNSEEN.join('y')}z`;
const utf16 = (text: string): Buffer => Buffer.from(`${text}\0`, 'utf16le');

const key = testKey('P-256', 'db');
const certificate = makeCertificate({
  issuer: commonName(hostile),
  subject: commonName(hostile),
  notBefore: new Date('2020-01-01T00:00:00Z'),
  notAfter: new Date('2040-01-01T00:00:00Z'),
  spki: key.spki,
  extensions: [ext.ca()],
  signature: SIGNATURE.ecdsaSha256,
  signer: key.privateKey,
});

function eventsWith(hostile: string): readonly (readonly [string, MadeEvent])[] {
  /** EFI_LOAD_OPTION: attributes, length of the path, description, path. */
  const bootOption = Buffer.concat([u32(1), Buffer.from([4, 0]), utf16(hostile), Buffer.from('7fff0400', 'hex')]);
  /** A file of a device path: type 4, subtype 4. */
  const filePath = (() => {
    const name = utf16(hostile);
    return Buffer.concat([
      Buffer.from([4, 4, (4 + name.length) & 0xff, (4 + name.length) >> 8]),
      name,
      Buffer.from('7fff0400', 'hex'),
    ]);
  })();
  const image = Buffer.concat([u64(0), u64(1), u64(0), u64(filePath.length), filePath]);

  return [
    ['text of the firmware', { pcr: 0, type: 8, data: Buffer.from(hostile) }],
    ['text of the firmware in UTF-16', { pcr: 0, type: 8, data: utf16(hostile) }],
    ['an action', { pcr: 4, type: 0x8000_0007, data: Buffer.from(hostile) }],
    ['the name of a variable', { pcr: 1, type: 0x8000_0002, data: makeVariable(GLOBAL, hostile, Buffer.from('1')) }],
    [
      'the description of a boot option',
      { pcr: 1, type: 0x8000_0002, data: makeVariable(GLOBAL, 'Boot0001', bootOption) },
    ],
    ['the path of an image', { pcr: 4, type: 0x8000_0003, data: image, measured: Buffer.from('image') }],
    [
      'the description of a firmware blob',
      { pcr: 0, type: 0x8000_000a, data: Buffer.concat([Buffer.from([20]), Buffer.from(hostile), u64(0), u64(1)]) },
    ],
    [
      'a command of GRUB',
      { pcr: 8, type: 13, data: Buffer.from(`grub_cmd: ${hostile}\0`), measured: Buffer.from(hostile) },
    ],
    [
      'a command line',
      { pcr: 8, type: 13, data: Buffer.from(`kernel_cmdline: ${hostile}\0`), measured: Buffer.from(hostile) },
    ],
    ['a file that GRUB read', { pcr: 9, type: 13, data: Buffer.from(`${hostile}\0`), measured: Buffer.from('file') }],
    ['a command line of the stub', { pcr: 12, type: 13, data: utf16(hostile) }],
    [
      'a certificate of db',
      { pcr: 7, type: 0x8000_0001, data: makeVariable(SECURITY, 'db', makeSignatureList(X509_TYPE, [certificate])) },
    ],
    [
      'the SBAT level',
      {
        pcr: 7,
        type: 0x8000_00e0,
        data: makeVariable('605dab50-e046-4300-abb6-3dd810dd8b23', 'SbatLevel', Buffer.from(hostile)),
      },
    ],
    ['the name of an unknown type', { pcr: 3, type: 0x4141, data: Buffer.from(hostile) }],
  ];
}

/** Of these other text than ASCII is no text, and is shown in hexadecimal. */
const AS_BYTES: readonly string[] = [
  'text of the firmware in UTF-16',
  'the description of a firmware blob',
  'a command line of the stub',
  'the SBAT level',
  'the name of an unknown type',
];

let shell: Shell;

beforeEach(async () => {
  shell = await Shell.open();
});

describe('a terminal is never told what to do by', () => {
  test.each([...eventsWith(hostile), ...eventsWith(unseen)])('%s', async (_name, event) => {
    shell.binaries.set('log', makeLog([event]));
    let printed = '';
    for (const output of ['table', 'json']) {
      shell.out = '';
      await shell.assay('inspect', 'eventlog', 'log', '--output', output);
      printed += shell.out;
      for (const trick of TRICKS) expect(shell.out).not.toContain(trick);
    }
    expect(printed.length).toBeGreaterThan(100);
  });

  const shown = eventsWith(unseen).filter(([name]) => !AS_BYTES.includes(name));

  test.each(shown)('%s, which is shown in its escaped form', async (_name, event) => {
    shell.binaries.set('log', makeLog([event]));
    shell.out = '';
    await shell.assay('inspect', 'eventlog', 'log', '--output', 'json');
    expect(shell.out).toMatch(/u\{?202e/);
  });

  test('a record of the userspace log', async () => {
    shell.binaries.set('log', makeLog([{ pcr: 0, type: 8, data: Buffer.from('v') }]));
    const digests = [{ hashAlg: 'sha256', digest: 'ab'.repeat(32) }];
    const content = { eventType: hostile, string: hostile };
    shell.files.set('userspace', `${JSON.stringify({ pcr: 11, digests, content })}\n`);
    for (const output of ['table', 'json']) {
      shell.out = '';
      await shell.assay('inspect', 'eventlog', 'log', '--userspace-log', 'userspace', '--output', output);
      expect(shell.out).toContain('y');
      for (const trick of TRICKS) expect(shell.out).not.toContain(trick);
    }
  });

  test('the name of a file that is not there, or is not what it should be', async () => {
    shell.binaries.set(hostile, Buffer.from('junk'));
    for (const args of [
      ['inspect', 'eventlog', `absent${hostile}`],
      ['inspect', 'ek-certificate', hostile],
      ['inspect', 'quote', '--attest', hostile, '--signature', hostile, '--ak', hostile],
      ['verify', 'evidence', `absent${hostile}`],
    ]) {
      shell.err = '';
      expect(await shell.assay(...args)).toBe(2);
      for (const trick of TRICKS) expect(shell.err).not.toContain(trick);
    }
  });
});

test('a log of as many events as are read is printed in full', async () => {
  const one: MadeEvent = { pcr: 0, type: 8, data: Buffer.from('v') };
  const many = (event: MadeEvent) => Array.from({ length: 66_000 }, () => event);
  shell.binaries.set('log', makeLog(many({ ...one, digests: [] }), []));
  const count = () => shell.out.split('S_CRTM_VERSION').length - 1;
  shell.out = '';
  expect(await shell.assay('inspect', 'eventlog', 'log')).toBe(2);
  shell.binaries.set('log', makeLog(many(one)));
  shell.out = '';
  expect(await shell.assay('inspect', 'eventlog', 'log')).toBe(1);
  expect(count()).toBe(65_535);
});
