import { describe, expect, test } from 'vitest';
import { EV_NO_ACTION, MAX_LOG_BYTES, MAX_LOG_EVENTS, parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { makeEvent, makeHeader, makeLog, makeSha1Event, sha256, u16, u32 } from './make-log.ts';
import type { MadeEvent } from './make-log.ts';

const event: MadeEvent = { pcr: 0, type: 8, data: Buffer.from('version') };
const header = makeHeader([
  [TPM_ALG_SHA1, 20],
  [TPM_ALG_SHA256, 32],
]);

function codesOf(bytes: Buffer): readonly string[] {
  return parseEventLog(bytes).findings.map(({ code }) => code);
}

test('a crypto-agile log is read to its end, its data as views', () => {
  const bytes = makeLog([event, { ...event, pcr: 7 }]);
  const log = parseEventLog(bytes);
  expect(log).toMatchObject({ format: 'crypto-agile', complete: true, findings: [] });
  expect(log.specId).toMatchObject({ version: '2.0.0', uintnSize: 2 });
  expect(log.events.map(({ index, pcr, type }) => [index, pcr, type])).toEqual([
    [0, 0, EV_NO_ACTION],
    [1, 0, 8],
    [2, 7, 8],
  ]);
  expect(log.events[1]?.data.buffer).toBe(bytes.buffer);
  expect(log.events[1]?.digests[1]).toEqual(sha256(event.data));
});

test('a SHA-1 log is read to its end', () => {
  const log = parseEventLog(Buffer.concat([makeSha1Event(event), makeSha1Event({ ...event, pcr: 1 })]));
  expect(log).toMatchObject({ format: 'sha1', complete: true, findings: [], specId: undefined });
  expect(log.events).toHaveLength(2);
});

test('digests in another order than the header has stand in the order of the header', () => {
  const digests = [
    [TPM_ALG_SHA256, Buffer.alloc(32, 2)],
    [TPM_ALG_SHA1, Buffer.alloc(20, 1)],
  ] as const;
  const log = parseEventLog(Buffer.concat([header, makeEvent({ ...event, digests })]));
  expect(log.events[1]?.digests.map((digest) => digest?.[0])).toEqual([1, 2]);
  expect(log.findings).toEqual([]);
});

test('a bank of an algorithm that is not known is read by its declared size', () => {
  const banks = makeHeader([
    [TPM_ALG_SHA256, 32],
    [0x0099, 24],
  ]);
  const digests = [
    [TPM_ALG_SHA256, sha256(event.data)],
    [0x0099, Buffer.alloc(24, 9)],
  ] as const;
  const log = parseEventLog(Buffer.concat([banks, makeEvent({ ...event, digests })]));
  expect(log.banks).toEqual([
    { alg: TPM_ALG_SHA256, size: 32, replayable: true },
    { alg: 0x0099, size: 24, replayable: false },
  ]);
  expect(log.complete).toBe(true);
  expect(log.findings).toEqual([
    expect.objectContaining({ code: 'BANK_UNSUPPORTED', severity: 'warning', bank: 0x99 }),
  ]);
});

describe('oddities of real firmware are read', () => {
  test.each([
    ['padding of 0xFF', Buffer.alloc(4096, 0xff)],
    ['padding of zeros', Buffer.alloc(100)],
  ])('%s', (_, padding) => {
    const log = parseEventLog(Buffer.concat([makeLog([event]), padding]));
    expect(log.complete).toBe(true);
    expect(log.events).toHaveLength(2);
    expect(log.findings).toEqual([expect.objectContaining({ code: 'LOG_PADDING', severity: 'info' })]);
  });

  test('an event whose data ends in zeros, as a separator’s does, is no padding', () => {
    const log = parseEventLog(makeLog([event, { pcr: 0, type: 4, data: Buffer.alloc(4) }]));
    expect(log.events).toHaveLength(3);
    expect(log.findings).toEqual([]);
  });

  test('the trust point of Windows: PCR 0xFFFFFFFF, not extended', () => {
    const log = parseEventLog(makeLog([event, { pcr: 0xffff_ffff, type: EV_NO_ACTION, data: Buffer.alloc(64, 1) }]));
    expect(log).toMatchObject({ complete: true, findings: [] });
    expect(log.events).toHaveLength(3);
  });
});

describe('what is odd in one event is a finding, and the rest is read', () => {
  const digest = (alg: number, size: number): readonly [number, Buffer] => [alg, Buffer.alloc(size, 1)];
  test.each<[string, MadeEvent, string]>([
    ['a PCR that does not exist', { ...event, pcr: 24 }, 'EVENT_PCR_INVALID'],
    ['a missing digest', { ...event, digests: [digest(TPM_ALG_SHA1, 20)] }, 'EVENT_DIGEST_MISSING'],
    [
      'a repeated digest',
      { ...event, digests: [digest(TPM_ALG_SHA1, 20), digest(TPM_ALG_SHA256, 32), digest(TPM_ALG_SHA1, 20)] },
      'EVENT_DIGEST_REPEATED',
    ],
    [
      'a digest that the header does not declare',
      { ...event, digests: [digest(TPM_ALG_SHA1, 20), digest(TPM_ALG_SHA256, 32), digest(TPM_ALG_SHA384, 48)] },
      'EVENT_DIGEST_UNDECLARED',
    ],
    [
      'a digest where nothing is extended',
      { ...event, type: EV_NO_ACTION, digests: [digest(TPM_ALG_SHA1, 20), digest(TPM_ALG_SHA256, 32)] },
      'NO_ACTION_DIGEST',
    ],
  ])('%s', (_, odd, code) => {
    const log = parseEventLog(makeLog([odd, event]));
    expect(log.complete).toBe(true);
    expect(log.events).toHaveLength(3);
    expect(log.findings).toEqual([expect.objectContaining({ code, event: 1 })]);
  });
});

describe('what cannot be read ends the reading with a finding', () => {
  const start = makeLog([event]);
  test.each<[string, Buffer, string, number]>([
    ['no bytes', Buffer.alloc(0), 'LOG_EMPTY', 0],
    ['a megabyte of zeros', Buffer.alloc(1024 * 1024), 'LOG_EMPTY', 0],
    ['padding alone', Buffer.alloc(100, 0xff), 'LOG_EMPTY', 0],
    ['a length of 4 GiB', Buffer.concat([start, u32(0), u32(8), u32(0), u32(0xffff_ffff)]), 'EVENT_TRUNCATED', 2],
    ['4 Gi digests', Buffer.concat([start, u32(0), u32(8), u32(0xffff_ffff), u32(0)]), 'EVENT_MALFORMED', 2],
    [
      'an undeclared digest of unknown size',
      Buffer.concat([start, u32(0), u32(8), u32(1), u16(0x99), Buffer.alloc(64)]),
      'EVENT_MALFORMED',
      2,
    ],
    [
      'a SHA-1 event of 4 GiB',
      Buffer.concat([u32(0), u32(8), Buffer.alloc(20), u32(0xffff_ffff)]),
      'EVENT_TRUNCATED',
      0,
    ],
    ['a header without banks', makeHeader([]), 'SPEC_ID_MALFORMED', 1],
    [
      'a header with a bank twice',
      makeHeader([
        [11, 32],
        [11, 32],
      ]),
      'SPEC_ID_MALFORMED',
      1,
    ],
    [
      'a header with 17 banks',
      makeHeader(Array.from({ length: 17 }, (_, index) => [0x100 + index, 32])),
      'SPEC_ID_MALFORMED',
      1,
    ],
    ['a header with SHA-256 digests of 20 bytes', makeHeader([[11, 20]]), 'SPEC_ID_MALFORMED', 1],
    ['a header with digests of 64 kB', makeHeader([[0x99, 0xffff]]), 'SPEC_ID_MALFORMED', 1],
    ['a header with digests of no bytes', makeHeader([[0x99, 0]]), 'SPEC_ID_MALFORMED', 1],
    ['a header in PCR 1', Buffer.concat([u32(1), header.subarray(4)]), 'SPEC_ID_MALFORMED', 1],
    ['a header without end', Buffer.concat([header.subarray(0, -1), Buffer.from([200])]), 'SPEC_ID_MALFORMED', 1],
  ])('%s', (_, bytes, code, events) => {
    const log = parseEventLog(bytes);
    expect(log.complete).toBe(false);
    expect(log.events).toHaveLength(events);
    expect(log.findings).toContainEqual(expect.objectContaining({ code, severity: 'error' }));
  });
});

test('a log without measurements is an error, whether agile or not', () => {
  expect(codesOf(header)).toEqual(['LOG_WITHOUT_MEASUREMENTS']);
  const noAction = makeSha1Event({ pcr: 0, type: EV_NO_ACTION, data: Buffer.from('Spec ID Event02\0') });
  expect(codesOf(noAction)).toEqual(['LOG_WITHOUT_MEASUREMENTS']);
});

describe('limits', () => {
  test('a log that is too large is not read', () => {
    expect(codesOf(Buffer.alloc(MAX_LOG_BYTES + 1, 1))).toEqual(['LOG_TOO_LARGE']);
  });

  test('of a million events so many are read, and no more', () => {
    const one = makeEvent({ pcr: 0, type: 8, data: Buffer.alloc(0), digests: [] }, []);
    const bytes = Buffer.concat([makeHeader([[0x99, 1]]), ...Array.from({ length: 1_000_000 }, () => one)]);
    const log = parseEventLog(bytes.subarray(0, MAX_LOG_BYTES));
    expect(log.events).toHaveLength(MAX_LOG_EVENTS);
    expect(log.complete).toBe(false);
    expect(log.findings.map(({ code }) => code)).toContain('LOG_TOO_MANY_EVENTS');
    expect(log.findings.length).toBeLessThan(200);
    expect(log.findings.find(({ message }) => message.includes('more of this kind'))).toBeDefined();
  });
});
