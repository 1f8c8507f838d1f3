/** Logs that are made to keep their reader busy: its time grows with their length and no faster. */
import { expect, test } from 'vitest';

import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { readSigners } from '../../../tpm/eventlog/signers.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { makeEvent, makeHeader, makeLog, makeSha1Event, makeSignatureList, SHA256_TYPE, u32 } from './make-log.ts';
import type { MadeEvent } from './make-log.ts';
import {
  authority,
  db,
  read,
  replaced,
  SECURITY,
  separator,
  SHIM,
  signed,
  used,
  variable,
} from './make-secure-boot.ts';

const COUNT = 6_000;
const BANKS = [TPM_ALG_SHA256];
const events = (make: (index: number) => MadeEvent): readonly MadeEvent[] =>
  Array.from({ length: COUNT }, (_, index) => make(index));

/** Milliseconds, the best of three. */
function timeOf(log: Buffer): number {
  const times = [1, 2, 3].map(() => {
    const start = performance.now();
    readSigners(readEventLog(log).secureBoot);
    return performance.now() - start;
  });
  return Math.min(...times);
}

const entry = (index: number): Buffer => Buffer.concat([u32(index), Buffer.alloc(28, 7)]);
/** Without the first {@link COUNT} entries. */
const full = variable(
  SECURITY,
  'db',
  makeSignatureList(
    SHA256_TYPE,
    Array.from({ length: 12_000 }, (_, index) => entry(index + COUNT)),
  ),
);
const ofDb = (index: number): MadeEvent => authority(SECURITY, 'db', signed(entry(index)));

test.each<[string, readonly MadeEvent[]]>([
  ['thousands of authorities beside a db of thousands of entries', [full, separator, ...events(ofDb)]],
  ['thousands of authorities of shim', [separator, ...events((index) => authority(SHIM, 'MokListRT', entry(index)))]],
  [
    'thousands of command lines',
    events((index) => ({
      pcr: 8,
      type: 0x0d,
      data: Buffer.from(`kernel_cmdline: root=${index}`),
      measured: Buffer.from(`root=${index}`),
    })),
  ],
  [
    'thousands of commands that load initrds',
    events((index) => ({
      pcr: 8,
      type: 0x0d,
      data: Buffer.from(`grub_cmd: initrd /${index} /a${index}`),
      measured: Buffer.from(`initrd /${index} /a${index}`),
    })),
  ],
])('%s cost as much as as many plain events, not their square', (_name, made) => {
  const plain = events((index) => ({ pcr: 9, type: 0x0d, data: Buffer.from(`/${index}`), measured: u32(index) }));
  const floor = timeOf(makeLog(plain, BANKS));
  // The square of six thousand was a hundred times the floor.
  expect(timeOf(makeLog(made, BANKS))).toBeLessThan(15 * floor + 200);
});

test.each([
  [256, []],
  [257, ['SECURE_BOOT_TOO_MANY_AUTHORITIES']],
  [COUNT, ['SECURE_BOOT_TOO_MANY_AUTHORITIES']],
])('of %i authorities at most 256 are read, each found in a db of thousands', (count, codes) => {
  const many = Array.from({ length: count }, (_, index) => ofDb(index + COUNT));
  const { state, findings } = read([...replaced(db, full).filter((event) => event !== used), ...many]);
  expect(state.authorities.map(({ inDb }) => inDb)).toEqual(Array.from({ length: 256 }, () => true));
  expect(findings.map(({ code }) => code)).toEqual(codes);
});

test.each<[string, (index: number) => Buffer, Buffer]>([
  [
    'crypto-agile',
    () => makeEvent({ pcr: 4, type: 0x0d, data: Buffer.alloc(0) }, BANKS),
    makeHeader([[TPM_ALG_SHA256, 32]]),
  ],
  ['SHA-1', () => makeSha1Event({ pcr: 4, type: 0x0d, data: Buffer.alloc(0) }), Buffer.alloc(0)],
])('a %s log of a million events is refused by its length before one is read', (_name, make, header) => {
  const event = make(0);
  const log = Buffer.concat([header, ...Array.from({ length: 1_000_000 }, () => event)]);
  const before = process.memoryUsage().heapUsed;
  const { events: read, findings, complete } = parseEventLog(log);
  expect([read.length, complete, findings.map(({ code }) => code)]).toEqual([0, false, ['LOG_TOO_LARGE']]);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(16 * 1024 * 1024);
});

test('a log with as many events as fit is read up to a limit and called incomplete', () => {
  const event = makeEvent({ pcr: 4, type: 0x0d, data: Buffer.alloc(0) }, BANKS);
  const log = Buffer.concat([makeHeader([[TPM_ALG_SHA256, 32]]), ...Array.from({ length: 300_000 }, () => event)]);
  const { events: read, findings, complete } = parseEventLog(log);
  expect([read.length, complete, findings.map(({ code }) => code)]).toEqual([65_536, false, ['LOG_TOO_MANY_EVENTS']]);
});
