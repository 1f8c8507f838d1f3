import { describe, expect, test } from 'vitest';
import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { replayLog } from '../../../tpm/eventlog/replay.ts';
import {
  MAX_USERSPACE_LOG_BYTES,
  MAX_USERSPACE_RECORDS,
  extendReplay,
  parseUserspaceLog,
} from '../../../tpm/eventlog/userspace-log.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { makeLog, sha256 } from './make-log.ts';

/** A record as systemd-pcrextend writes it. */
function record(
  pcr: number,
  text: string,
  {
    eventType = 'phase',
    measured = text,
    ...more
  }: Record<string, unknown> & { eventType?: string; measured?: string } = {},
): string {
  const digest = sha256(Buffer.from(measured)).toString('hex');
  const content = { eventType, string: text, bootId: '0'.repeat(32), timestamp: 1_000_000 };
  return `\u001e${JSON.stringify({ pcr, digests: [{ hashAlg: 'sha256', digest }], content_type: 'systemd', content, ...more })}\n`;
}

const phases = ['enter-initrd', 'leave-initrd', 'sysinit', 'ready'];
const log = (...records: readonly string[]): Buffer => Buffer.from(records.join(''));

test('records of systemd are read in order, their text verified', () => {
  const { records, complete, findings } = parseUserspaceLog(log(...phases.map((phase) => record(11, phase))));
  expect(complete).toBe(true);
  expect(findings).toEqual([]);
  expect(records.map(({ pcr, eventType, text, verified }) => [pcr, eventType, text, verified])).toEqual(
    phases.map((phase) => [11, 'phase', phase, true]),
  );
});

test('go on where the firmware log ended', () => {
  const firmware = makeLog([
    { pcr: 0, type: 8, data: Buffer.from('v') },
    { pcr: 11, type: 13, data: Buffer.from('.linux\0', 'utf16le'), measured: Buffer.from('.linux\0') },
  ]);
  const replay = replayLog(parseEventLog(firmware));
  const before = replay.pcrs.get(TPM_ALG_SHA256)?.get(11) ?? Buffer.alloc(32);
  const extended = extendReplay(
    replay,
    parseUserspaceLog(log(record(11, 'sysinit'), record(15, 'machine-id:x', { eventType: 'machine-id' }))),
  );
  const values = extended.pcrs.get(TPM_ALG_SHA256);
  expect(values?.get(11)).toEqual(sha256(Buffer.concat([before, sha256(Buffer.from('sysinit'))])));
  expect(values?.get(15)).toEqual(sha256(Buffer.concat([Buffer.alloc(32), sha256(Buffer.from('machine-id:x'))])));
  expect(values?.get(0)).toEqual(replay.pcrs.get(TPM_ALG_SHA256)?.get(0));
  expect(extended.pcrs.get(TPM_ALG_SHA1)?.get(11)).toEqual(replay.pcrs.get(TPM_ALG_SHA1)?.get(11));
  expect(replay.pcrs.get(TPM_ALG_SHA256)?.get(11)).toEqual(before);
});

test('explain the PCRs that the firmware log alone does not', () => {
  const firmware = makeLog([{ pcr: 0, type: 8, data: Buffer.from('v') }]);
  const userspaceLog = log(record(11, 'ready'));
  const { replay } = readEventLog(firmware, { userspaceLog });
  const pcrs = new Map([[TPM_ALG_SHA256, replay.pcrs.get(TPM_ALG_SHA256) ?? new Map<number, Buffer>()]]);
  expect(readEventLog(firmware, { pcrs }).findings.map(({ code }) => code)).toContain('PCR_WITHOUT_EVENTS');
  expect(readEventLog(firmware, { pcrs, userspaceLog }).pcrs.map(({ outcome }) => outcome)).toEqual([
    'explained',
    'explained',
  ]);
});

test('a text that is not what was measured is found where the type measures its text', () => {
  const { records, findings } = parseUserspaceLog(log(record(11, 'ready', { measured: 'emergency' })));
  expect(records).toMatchObject([{ verified: false }]);
  expect(findings).toEqual([expect.objectContaining({ code: 'USERSPACE_DATA_MISMATCH', event: 0, pcr: 11 })]);
});

test('a secret is measured by an HMAC, and its text is a description', () => {
  const { records, findings } = parseUserspaceLog(
    log(record(15, 'cryptsetup:root:x', { eventType: 'volume-key', measured: 'hmac' })),
  );
  expect(records).toMatchObject([{ verified: false, eventType: 'volume-key' }]);
  expect(findings).toEqual([]);
});

test('a record of an NV index extends no PCR', () => {
  const { records, complete } = parseUserspaceLog(log('{"nv_index":1,"digests":[],"content":{"string":"x"}}\n'));
  expect(complete).toBe(true);
  expect(records).toMatchObject([{ pcr: undefined, verified: false }]);
});

test('a digest of an unknown hash is left out', () => {
  const line = '{"pcr":11,"digests":[{"hashAlg":"whirlpool","digest":"00"}],"content":{}}\n';
  expect(parseUserspaceLog(Buffer.from(line)).records[0]?.digests.size).toBe(0);
});

test('numbered records must ascend', () => {
  const { findings } = parseUserspaceLog(log(record(11, 'a', { recnum: 1 }), record(11, 'b', { recnum: 1 })));
  expect(findings).toEqual([expect.objectContaining({ code: 'USERSPACE_RECORD_OUT_OF_ORDER', event: 1 })]);
});

describe('what cannot be read ends the reading with a finding', () => {
  const digest = 'ab'.repeat(32);
  test.each<[string, string]>([
    ['text', 'hello\n'],
    ['half a record', record(11, 'ready').slice(0, 40)],
    ['a list', '[]\n'],
    ['null', 'null\n'],
    ['no digests', '{"pcr":11}\n'],
    ['a PCR that does not exist', `{"pcr":24,"digests":[]}\n`],
    ['a PCR that is text', `{"pcr":"11","digests":[]}\n`],
    ['half a PCR', `{"pcr":0.5,"digests":[]}\n`],
    ['a short digest', '{"pcr":11,"digests":[{"hashAlg":"sha256","digest":"abcd"}]}\n'],
    ['a digest that is no hexadecimal', `{"pcr":11,"digests":[{"hashAlg":"sha256","digest":"${'xy'.repeat(32)}"}]}\n`],
    [
      'a repeated digest',
      `{"pcr":11,"digests":[{"hashAlg":"sha256","digest":"${digest}"},{"hashAlg":"sha256","digest":"${digest}"}]}\n`,
    ],
    [
      '17 digests',
      `{"pcr":11,"digests":[${Array.from({ length: 17 }, () => `{"hashAlg":"x","digest":"00"}`).join()}]}\n`,
    ],
    ['a record of 65 kB', `{"pcr":11,"digests":[],"x":"${'y'.repeat(65 * 1024)}"}\n`],
    ['nesting of 30,000', `${'['.repeat(30_000)}${']'.repeat(30_000)}\n`],
  ])('%s', (_, line) => {
    const { records, complete, findings } = parseUserspaceLog(Buffer.from(record(11, 'first') + line));
    expect(records).toHaveLength(1);
    expect(complete).toBe(false);
    expect(findings).toEqual([
      expect.objectContaining({ code: 'USERSPACE_RECORD_MALFORMED', severity: 'error', event: 1 }),
    ]);
  });

  test('too many bytes or records', () => {
    expect(parseUserspaceLog(Buffer.alloc(MAX_USERSPACE_LOG_BYTES + 1)).findings[0]?.code).toBe(
      'USERSPACE_LOG_TOO_LARGE',
    );
    const many = '{"digests":[]}\n'.repeat(MAX_USERSPACE_RECORDS + 1);
    const { records, findings } = parseUserspaceLog(Buffer.from(many));
    expect(records).toHaveLength(MAX_USERSPACE_RECORDS);
    expect(findings).toEqual([expect.objectContaining({ code: 'USERSPACE_LOG_TOO_LARGE' })]);
  });
});

test('whatever the bytes, nothing is thrown', () => {
  const random = new SeededRandom(7);
  const honest = log(...phases.map((phase) => record(11, phase)));
  for (let round = 0; round < 2000; round++) {
    const bytes = Buffer.from(honest);
    for (let change = 0; change <= random.below(4); change++) bytes[random.below(bytes.length)] = random.below(256);
    const { records, findings, complete } = parseUserspaceLog(bytes.subarray(0, random.below(bytes.length + 1)));
    expect(complete || findings.length > 0).toBe(true);
    expect(records.length).toBeLessThan(10);
  }
});
