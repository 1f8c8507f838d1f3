import { describe, expect, test } from 'vitest';
import { digest } from '../../../tpm/crypto/digest.ts';
import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { replayLog, startValue } from '../../../tpm/eventlog/replay.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { makeEvent, makeHeader, makeLog, sha256 } from './make-log.ts';
import type { MadeEvent } from './make-log.ts';

const version: MadeEvent = { pcr: 0, type: 8, data: Buffer.from('version') };
const separators: readonly MadeEvent[] = [0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => ({
  pcr,
  type: 4,
  data: Buffer.alloc(4),
}));
const locality = (value: number, pcr = 0): MadeEvent => ({
  pcr,
  type: 3,
  data: Buffer.concat([Buffer.from('StartupLocality\0'), Buffer.from([value])]),
});
const hcrtm: MadeEvent = { pcr: 0, type: 0x8000_0010, data: Buffer.from('HCRTM'), measured: Buffer.from('crtm') };

function extend(start: Buffer, ...measured: readonly Buffer[]): Buffer {
  return measured.reduce((value, data) => sha256(Buffer.concat([value, sha256(data)])), start);
}

function replayed(events: readonly MadeEvent[], pcr = 0): Buffer | undefined {
  return replayLog(parseEventLog(makeLog(events)))
    .pcrs.get(TPM_ALG_SHA256)
    ?.get(pcr);
}

describe('PCR 0 begins', () => {
  const start = (last: number): Buffer => startValue(0, 32, last);
  test.each<[string, readonly MadeEvent[], Buffer]>([
    ['at zero', [version], extend(start(0), version.data)],
    ['with the locality that the log states', [locality(3), version], extend(start(3), version.data)],
    ['with 4 after an H-CRTM', [hcrtm, version], extend(start(4), Buffer.from('crtm'), version.data)],
    ['with 4 after an H-CRTM, whatever the log states', [locality(0), hcrtm], extend(start(4), Buffer.from('crtm'))],
  ])('%s', (_, events, value) => {
    expect(replayed(events)).toEqual(value);
  });

  test.each<[string, readonly MadeEvent[]]>([
    ['after an extension', [version, locality(3)]],
    ['of another PCR', [locality(3, 1), version]],
    ['of a locality that none can start from', [locality(1), version]],
  ])('at zero where the log states it %s', (_, events) => {
    const { findings, replay } = readEventLog(makeLog(events));
    expect(replay.pcrs.get(TPM_ALG_SHA256)?.get(0)).toEqual(extend(start(0), version.data));
    expect(findings).toContainEqual(expect.objectContaining({ code: 'STARTUP_LOCALITY_INVALID', severity: 'error' }));
  });

  test('with the first of two statements', () => {
    const { findings, replay } = readEventLog(makeLog([locality(3), locality(0), version]));
    expect(replay.startup.locality).toBe(3);
    expect(findings).toContainEqual(expect.objectContaining({ code: 'STARTUP_LOCALITY_INVALID', event: 2 }));
  });

  test('with a finding where an H-CRTM and a stated locality disagree', () => {
    expect(readEventLog(makeLog([locality(3), hcrtm])).findings).toContainEqual(
      expect.objectContaining({ code: 'STARTUP_LOCALITY_CONFLICT' }),
    );
  });
});

test('PCRs of a dynamic launch begin with ones', () => {
  expect(replayed([{ ...version, pcr: 17 }], 17)).toEqual(extend(Buffer.alloc(32, 0xff), version.data));
  expect(replayed([{ ...version, pcr: 23 }], 23)).toEqual(extend(Buffer.alloc(32), version.data));
});

test('events that extend nothing change nothing', () => {
  const nothing: readonly MadeEvent[] = [
    { ...version, type: 3, digests: [[TPM_ALG_SHA256, sha256(Buffer.from('x'))]] },
    { ...version, pcr: 24 },
    { ...version, pcr: 0xffff_ffff },
  ];
  expect(replayed([version, ...nothing])).toEqual(replayed([version]));
  expect([
    ...(replayLog(parseEventLog(makeLog([version, ...nothing])))
      .pcrs.get(TPM_ALG_SHA256)
      ?.keys() ?? []),
  ]).toEqual([0]);
});

describe('beside given PCRs', () => {
  const log = makeLog([version, ...separators]);
  const values = (bank: number): ReadonlyMap<number, Buffer> =>
    replayLog(parseEventLog(log)).pcrs.get(bank) ?? new Map<number, Buffer>();
  const given = new Map([TPM_ALG_SHA1, TPM_ALG_SHA256].map((bank) => [bank, values(bank)]));

  test('an honest log explains all', () => {
    const { findings, pcrs } = readEventLog(log, { pcrs: given });
    expect(findings).toEqual([]);
    expect(pcrs).toHaveLength(16);
    expect(pcrs.every(({ outcome }) => outcome === 'explained')).toBe(true);
  });

  test('a PCR that differs is named with its bank', () => {
    const changed = new Map([...values(TPM_ALG_SHA256), [2, Buffer.alloc(32, 7)]]);
    const { findings } = readEventLog(log, { pcrs: new Map([...given, [TPM_ALG_SHA256, changed]]) });
    expect(findings).toEqual([expect.objectContaining({ code: 'PCR_MISMATCH', pcr: 2, bank: TPM_ALG_SHA256 })]);
  });

  test('a log that goes on further than the PCR says from which event on', () => {
    const { findings } = readEventLog(
      makeLog([version, ...separators, { pcr: 4, type: 0x8000_0007, data: Buffer.from('More') }]),
      { pcrs: given },
    );
    expect(findings).toContainEqual(expect.objectContaining({ code: 'PCR_MISMATCH', pcr: 4, event: 10 }));
  });

  test('an active bank that the firmware left alone is an error, with and without events for it', () => {
    const reset = new Map([0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => [pcr, startValue(pcr, 32, pcr === 0 ? 3 : 0)]));
    const codes = (pcrs: ReadonlyMap<number, ReadonlyMap<number, Buffer>>): readonly string[] =>
      readEventLog(log, { pcrs }).findings.map(({ code }) => code);
    expect(codes(new Map([...given, [TPM_ALG_SHA256, reset]]))).toContain('BANK_AT_RESET');
    const sha384 = new Map([0, 7].map((pcr) => [pcr, Buffer.alloc(48)]));
    expect(codes(new Map([...given, [TPM_ALG_SHA384, sha384]]))).toEqual(['BANK_AT_RESET', 'BANK_NOT_IN_LOG']);
  });

  test('an active bank without digests in the log is an error', () => {
    const sha384 = new Map([[0, Buffer.alloc(48, 1)]]);
    expect(readEventLog(log, { pcrs: new Map([[TPM_ALG_SHA384, sha384]]) }).findings).toEqual([
      expect.objectContaining({ code: 'BANK_NOT_IN_LOG', bank: TPM_ALG_SHA384 }),
    ]);
  });

  test('an active bank of an unknown hash is an error', () => {
    const made = makeEvent({ ...version, digests: [[0x99, Buffer.alloc(24, 1)]] });
    const unknown = Buffer.concat([makeHeader([[0x99, 24]]), made]);
    expect(
      readEventLog(unknown, { pcrs: new Map([[0x99, new Map([[0, Buffer.alloc(24, 1)]])]]) }).findings,
    ).toContainEqual(expect.objectContaining({ code: 'BANK_NOT_REPLAYABLE' }));
  });

  test('a PCR without events speaks by its value alone, and a moved one is noted', () => {
    const more = new Map([...values(TPM_ALG_SHA256), [10, Buffer.alloc(32, 1)], [16, Buffer.alloc(32)]]);
    const { findings, pcrs } = readEventLog(log, { pcrs: new Map([...given, [TPM_ALG_SHA256, more]]) });
    expect(findings).toEqual([expect.objectContaining({ code: 'PCR_WITHOUT_EVENTS', severity: 'info', pcr: 10 })]);
    expect(pcrs.filter(({ outcome }) => outcome === 'unexplained').map(({ pcr }) => pcr)).toEqual([10, 16]);
  });

  test('missing ExitBootServices actions are never supposed where the log has some', () => {
    const action = (text: string): MadeEvent => ({ pcr: 5, type: 0x8000_0007, data: Buffer.from(text) });
    const begun = [version, ...separators, action('Exit Boot Services Invocation')];
    const missing = replayed(
      [...begun, action('Exit Boot Services Invocation'), action('Exit Boot Services Returned with Success')],
      5,
    );
    const pcrs = new Map([[TPM_ALG_SHA256, new Map([[5, missing ?? Buffer.alloc(32)]])]]);
    expect(readEventLog(makeLog(begun), { pcrs }).findings).toContainEqual(
      expect.objectContaining({ code: 'PCR_MISMATCH', pcr: 5 }),
    );
  });
});

describe('separators', () => {
  test.each<[string, readonly MadeEvent[], string]>([
    ['one too few', separators.slice(1), 'SEPARATOR_MISSING'],
    ['one too many', [...separators, { pcr: 7, type: 4, data: Buffer.alloc(4) }], 'SEPARATOR_REPEATED'],
    [
      'an odd value',
      [...separators.slice(1), { pcr: 0, type: 4, data: Buffer.from('02000000', 'hex') }],
      'SEPARATOR_INVALID',
    ],
    ['an error', [...separators.slice(1), { pcr: 0, type: 4, data: Buffer.from('01000000', 'hex') }], 'FIRMWARE_ERROR'],
    [
      'an error with a description',
      [
        ...separators.slice(1),
        { pcr: 0, type: 4, data: Buffer.from('disk'), measured: Buffer.from('01000000', 'hex') },
      ],
      'FIRMWARE_ERROR',
    ],
  ])('%s is found', (_, events, code) => {
    expect(readEventLog(makeLog([version, ...events])).findings.map((finding) => finding.code)).toEqual([code]);
  });

  const windows = (pcr: number): MadeEvent => ({ pcr, type: 4, data: Buffer.from('WBCL') });

  test('of Windows, which ends its own part of some PCRs with the name of its log, are right', () => {
    const ends = [11, 12, 13, 14].map(windows);
    expect(readEventLog(makeLog([version, ...separators, ...ends])).findings).toEqual([]);
  });

  test.each([8, 9, 15])('of Windows are an odd value in PCR %i', (pcr) => {
    const { findings } = readEventLog(makeLog([version, ...separators, windows(pcr)]));
    expect(findings.map(({ code }) => code)).toEqual(['SEPARATOR_INVALID']);
  });

  test('of ones, as older firmware has them, are right', () => {
    const ones = separators.map((event) => ({ ...event, data: Buffer.alloc(4, 0xff) }));
    expect(readEventLog(makeLog([version, ...ones])).findings).toEqual([]);
  });
});

test('the boot aggregate is over the firmware’s PCRs, before the operating system measures', () => {
  const record = { pcr: 9, digests: [{ hashAlg: 'sha256', digest: 'ab'.repeat(32) }], content: {} };
  const bytes = makeLog([version]);
  const alone = readEventLog(bytes);
  const both = readEventLog(bytes, { userspaceLog: Buffer.from(`\u001e${JSON.stringify(record)}\n`) });
  expect(both.replay.pcrs.get(TPM_ALG_SHA256)?.get(9)).toEqual(
    digest(TPM_ALG_SHA256, Buffer.alloc(32), Buffer.from('ab'.repeat(32), 'hex')),
  );
  expect(both.bootAggregates).toEqual(alone.bootAggregates);
});
