import { describe, expect, test } from 'vitest';
import { checkEvents } from '../../../tpm/eventlog/check-events.ts';
import type { CheckedLog } from '../../../tpm/eventlog/check-events.ts';
import { decodeEventData } from '../../../tpm/eventlog/event-data.ts';
import { EVENT_TYPES } from '../../../tpm/eventlog/event-types.ts';
import { EV_NO_ACTION, parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import type { EventLogReading } from '../../../tpm/eventlog/read-event-log.ts';
import { replayLog } from '../../../tpm/eventlog/replay.ts';
import { readSigners } from '../../../tpm/eventlog/signers.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { conformancePath, dataIsHere } from '../../support/data.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { readFileSync } from 'node:fs';
import { measuredLog } from './real-logs.ts';

/** Two logs of different make: GRUB under Secure Boot with three banks, systemd-boot with one. */
const logs = (): readonly (readonly [string, Buffer])[] => [
  ['shim and GRUB', measuredLog('sb-ms-shim-grub')],
  [
    'systemd-boot',
    readFileSync(conformancePath('tpm2-software+tpm2-tools/test/integration/fixtures/event-sd-boot-fedora37.bin')),
  ],
];
const here = dataIsHere('conformance') && dataIsHere('measured-boot');
const cases = here ? logs() : [];

/** All that is derived of a log, so that nothing of it can throw unseen. */
function readAll(bytes: Buffer): EventLogReading {
  const reading = readEventLog(bytes);
  readSigners(reading.secureBoot);
  for (const event of reading.log.events) decodeEventData(event);
  return reading;
}

function pcrsOf(log: CheckedLog): string {
  return JSON.stringify(
    [...replayLog(log).pcrs].map(([alg, values]) => [
      alg,
      [...values].map(([pcr, value]) => [pcr, value.toString('hex')]),
    ]),
  );
}

describe.skipIf(!here)('a real log', () => {
  test.each(cases)('of %s, cut off at any byte, is read up to there and called incomplete', (_, bytes) => {
    const { events } = parseEventLog(bytes);
    const ends = new Set(events.map(({ data }) => data.byteOffset - bytes.byteOffset + data.length));
    for (let length = 0; length < bytes.length; length++) {
      const cut = parseEventLog(bytes.subarray(0, length));
      const whole = events.filter(({ data }) => data.byteOffset - bytes.byteOffset + data.length <= length);
      const isPadding = cut.findings.some(({ code }) => code === 'LOG_PADDING');
      if (cut.events.length !== whole.length || cut.complete !== (ends.has(length) || isPadding)) {
        expect.fail(`cut at ${length}: ${cut.events.length} events of ${whole.length}, complete ${cut.complete}`);
      }
      if (!cut.complete && cut.findings.length === 0) expect.fail(`cut at ${length}: no finding`);
    }
  });

  test.each(cases)(
    'of %s, with any byte changed: a digest moves a PCR, measured data is no longer verified',
    (_, bytes) => {
      const base = checkEvents(parseEventLog(bytes));
      const basePcrs = pcrsOf(base);
      const start = bytes.byteOffset;
      let changes = 0;
      for (const event of base.events) {
        if (event.type === EV_NO_ACTION) continue;
        for (const digest of event.digests) {
          if (digest === undefined) continue;
          for (let at = digest.byteOffset - start; at < digest.byteOffset - start + digest.length; at += 5) {
            const log = checkEvents(parseEventLog(flip(bytes, at)), []);
            if (pcrsOf(log) === basePcrs) expect.fail(`byte ${at} of a digest moves no pcr`);
            changes++;
          }
        }
        const { measured } = event;
        if (measured === undefined || measured.buffer !== bytes.buffer) continue;
        for (let at = measured.byteOffset - start; at < measured.byteOffset - start + measured.length; at++) {
          const log = checkEvents(parseEventLog(flip(bytes, at)), [TPM_ALG_SHA256]);
          if (log.events[event.index]?.verified !== false)
            expect.fail(`byte ${at} of event ${event.index} stays verified`);
          changes++;
        }
      }
      expect(changes).toBeGreaterThan(bytes.length / 3);
    },
  );

  test.each(cases)(
    'of %s, with a byte changed that no digest covers: every PCR is the same, and the event is marked unverified',
    (_, bytes) => {
      const base = checkEvents(parseEventLog(bytes));
      const basePcrs = pcrsOf(base);
      const start = bytes.byteOffset;
      let uncovered = 0;
      for (const { index, data, measured, type } of base.events) {
        if (type === EV_NO_ACTION) continue;
        for (let at = 0; at < data.length; at += data.length > 256 ? 97 : 7) {
          const covered =
            measured !== undefined &&
            (measured.buffer !== bytes.buffer ||
              (data.byteOffset + at >= measured.byteOffset &&
                data.byteOffset + at < measured.byteOffset + measured.length));
          if (covered) continue;
          const log = checkEvents(parseEventLog(flip(bytes, data.byteOffset - start + at)));
          const changed = log.events[index];
          if (pcrsOf(log) !== basePcrs) expect.fail(`byte ${at} of event ${index} moves a pcr`);
          // What stays believed is what was measured, to the byte, and the changed byte is none of it.
          const believed = changed?.measured;
          if (changed?.verified === true && (believed === undefined || measured?.equals(believed) !== true))
            expect.fail(`byte ${at} of event ${index} is believed`);
          uncovered++;
        }
      }
      process.stdout.write(`${uncovered} changes of bytes that nothing covers\n`);
      expect(uncovered).toBeGreaterThan(10);
    },
  );

  test.each(cases)(
    'of %s, with any byte of its frame changed, is read without an exception and never the same',
    (_, bytes) => {
      const base = parseEventLog(bytes);
      const start = bytes.byteOffset;
      for (const { offset, data, index } of base.events) {
        if (index === 0) continue;
        const frame = [0, 1, 2, 3, 8, 9, 10, 11].map((step) => offset + step);
        const size = data.byteOffset - start - 4;
        for (const at of [...frame, size, size + 1, size + 2, size + 3]) {
          const reading = readAll(flip(bytes, at));
          const same =
            reading.log.events.length === base.events.length && pcrsOf(reading.log) === pcrsOf(checkEvents(base));
          if (same && base.events[index]?.type !== EV_NO_ACTION)
            expect.fail(`byte ${at} of event ${index} changes nothing`);
        }
      }
    },
  );

  test.each(cases)(
    'of %s, with an event under any other type: verified text never changes its meaning unseen',
    (_, bytes) => {
      const base = checkEvents(parseEventLog(bytes));
      const basePcrs = pcrsOf(base);
      for (const event of base.events) {
        if (event.index === 0) continue;
        for (const type of EVENT_TYPES.keys()) {
          if (type === event.type) continue;
          const changed = Buffer.from(bytes);
          changed.writeUInt32LE(type, event.offset + 4);
          const log = checkEvents(parseEventLog(changed));
          const relabelled = log.events[event.index];
          // Taken out of the replay, reported, no longer believed, or of a type whose digest covers the same bytes.
          const seen =
            pcrsOf(log) !== basePcrs ||
            log.findings.length > base.findings.length ||
            relabelled?.verified === false ||
            relabelled?.measured?.equals(event.measured ?? Buffer.alloc(0)) === true ||
            event.measured === undefined;
          if (!seen) expect.fail(`event ${event.index} as type ${type.toString(16)} is believed`);
        }
      }
    },
  );

  test('a structure-aware mutation is never an exception, a hang or an unnoticed end', () => {
    const random = new SeededRandom(20_261_125);
    const numbers = [0, 1, 2, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
    for (let round = 0; round < 1500; round++) {
      const [, original] = random.pick(cases);
      const bytes = Buffer.from(original);
      const { events } = parseEventLog(original);
      for (let change = 0; change <= random.below(3); change++) {
        const event = random.pick(events);
        const data = event.data.byteOffset - original.byteOffset;
        const targets = [
          event.offset,
          event.offset + 4,
          event.offset + 8,
          data - 4,
          data + random.below(Math.max(1, event.data.length)),
          data + 16,
          data + 24,
        ];
        const at = Math.min(random.pick(targets), bytes.length - 4);
        bytes.writeUInt32LE(random.pick(numbers), at);
      }
      const reading = readAll(bytes.subarray(0, random.below(10) === 0 ? random.below(bytes.length) : bytes.length));
      if (!reading.log.complete && reading.findings.every(({ severity }) => severity !== 'error')) {
        expect.fail(`round ${round}: incomplete without an error`);
      }
    }
  });
});

test('random bytes are never an exception', () => {
  const random = new SeededRandom(1);
  for (let round = 0; round < 2000; round++) {
    const { log, findings } = readAll(random.bytesUpTo(200));
    expect(log.complete || findings.length > 0).toBe(true);
  }
});

function flip(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] ?? 0) ^ 0x01;
  return changed;
}
