import { describe, expect, it } from 'vitest';

import {
  algorithmName,
  hashAlgorithmByName,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
} from '../../../tpm/structures/constants.ts';
import { digest } from '../../../tpm/crypto/digest.ts';
import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { BootCache } from '../../../server/verifier/boot-cache.ts';
import { verifyBoot } from '../../../server/verifier/verify-boot.ts';
import type { BootOutcome, VerifiedBoot } from '../../../server/verifier/verify-boot.ts';
import {
  bootedTpm,
  bootLog,
  COMMAND_LINE,
  eventSpans,
  IMAGES,
  NO_SECURE_BOOT,
  proveBootOf,
  SECURE_BOOT,
  SIGNERS,
  userspaceRecord,
} from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import type { SoftwareTpm } from '../../support/software-tpm.ts';

const here = dataIsHere('measured-boot');
const BANKS = ['sha1', 'sha256', 'sha384'];

function outcomeOf(change: (log: Buffer) => Buffer, tpm = bootedTpm(SECURE_BOOT)): BootOutcome {
  return proveBootOf(tpm, [bootLog(SECURE_BOOT, change)]).outcome;
}

function verified(outcome: BootOutcome): VerifiedBoot {
  if (outcome.kind !== 'verified') throw new Error(JSON.stringify(outcome.finding));
  return outcome.boot;
}

/** Puts other bytes into the place of an event. */
function replaceEvent(log: Buffer, index: number, make: (event: Buffer) => Buffer): Buffer {
  const span = eventSpans(log)[index];
  if (span === undefined) throw new Error(`no event ${index}`);
  return Buffer.concat([
    log.subarray(0, span.start),
    make(Buffer.from(log.subarray(span.start, span.end))),
    log.subarray(span.end),
  ]);
}

function eventOf(log: Buffer, index: number): Buffer {
  const span = eventSpans(log)[index];
  return Buffer.from(log.subarray(span?.start, span?.end));
}

/** Extends a text into every bank, as systemd does. */
function extendAll(tpm: SoftwareTpm, pcr: number, text: string): void {
  for (const name of BANKS) {
    const alg = hashAlgorithmByName(name)?.alg ?? 0;
    tpm.extend(pcr, Buffer.from(digest(alg, Buffer.from(text))), alg);
  }
}

describe.skipIf(!here)('a real boot log beside the PCRs that it led to', () => {
  it('gives the claims of a Secure Boot, from every active bank', () => {
    const boot = verified(outcomeOf((log) => log));
    expect(boot.secureBoot).toMatchObject({ mode: 'enabled', authorities: SIGNERS, unused: false, debugMode: false });
    expect(boot.secureBoot.sbatLevel).toContain('shim,4');
    expect(boot.images.filter(({ pcr }) => pcr === 4).map(({ digests }) => digests[1])).toEqual([
      IMAGES[0],
      IMAGES[1],
      IMAGES[2],
      IMAGES[2],
    ]);
    expect(boot.commandLines).toEqual([{ text: COMMAND_LINE }]);
    expect(boot.unexplained).toEqual([]);
    expect(boot.contradictions).toEqual([]);
  });

  it('gives those of a boot without Secure Boot, and no text for a command line that the log lacks', () => {
    const boot = verified(proveBootOf(bootedTpm(NO_SECURE_BOOT), [bootLog(NO_SECURE_BOOT)]).outcome);
    expect(boot.secureBoot).toMatchObject({ mode: 'disabled', authorities: [] });
    expect(boot.commandLines).toEqual([{ text: null }]);
  });

  const U32 = 4;
  const tampers: readonly { name: string; change: (log: Buffer) => Buffer; reason: string; where?: RegExp }[] = [
    {
      name: 'one event dropped',
      change: (log) => replaceEvent(log, 24, () => Buffer.alloc(0)),
      reason: 'BOOT_LOG_MISMATCH',
      where: /PCR 4 of the sha1 bank/,
    },
    {
      name: 'two events of a PCR reordered',
      change: (log) => {
        const [first, second] = [eventOf(log, 24), eventOf(log, 30)];
        return replaceEvent(
          replaceEvent(log, 30, () => first),
          24,
          () => second,
        );
      },
      reason: 'BOOT_LOG_MISMATCH',
      where: /PCR 4 /,
    },
    {
      name: 'an event relabelled as one that it cannot be',
      change: (log) =>
        replaceEvent(log, 15, (event) => {
          event.writeUInt32LE(0x0d, U32);
          return event;
        }),
      reason: 'BOOT_LOG_MISLABELLED',
    },
    {
      name: 'a changed digest',
      change: (log) =>
        replaceEvent(log, 4, (event) => {
          const at = 3 * U32 + 2;
          event[at] = (event[at] ?? 0) ^ 1;
          return event;
        }),
      reason: 'BOOT_LOG_MISMATCH',
      where: /PCR 7 of the sha1 bank/,
    },
    {
      name: 'an event moved to another PCR',
      change: (log) =>
        replaceEvent(log, 30, (event) => {
          event.writeUInt32LE(2, 0);
          return event;
        }),
      reason: 'BOOT_LOG_MISMATCH',
    },
    { name: 'an event more', change: (log) => Buffer.concat([log, eventOf(log, 22)]), reason: 'BOOT_LOG_MISMATCH' },
    { name: 'nothing in it', change: () => Buffer.alloc(0), reason: 'BOOT_LOG_EMPTY' },
    { name: 'its header alone', change: (log) => eventOf(log, 0), reason: 'BOOT_LOG_EMPTY' },
    {
      name: 'half of an event at its end',
      change: (log) => log.subarray(0, log.length - 7),
      reason: 'BOOT_LOG_MALFORMED',
    },
    {
      name: 'its last event cut off',
      change: (log) => log.subarray(0, eventSpans(log).at(-1)?.start),
      reason: 'BOOT_LOG_MISMATCH',
      where: /PCR 5 /,
    },
    {
      name: 'text in its place',
      change: () => Buffer.from('no boot log at all, but text'),
      reason: 'BOOT_LOG_MALFORMED',
    },
  ];

  it.each(tampers)('is refused with $name: $reason', ({ change, reason, where }) => {
    const outcome = outcomeOf(change);
    if (outcome.kind !== 'unverified') throw new Error(outcome.kind);
    expect(outcome.finding).toMatchObject({ id: 'boot-log', outcome: 'failed', reason });
    if (where !== undefined) expect(outcome.finding.message).toMatch(where);
    expect(outcome.torn).toBe(false);
  });

  it('is refused where it is that of another host', () => {
    const { outcome } = proveBootOf(bootedTpm(SECURE_BOOT), [bootLog(NO_SECURE_BOOT)]);
    expect(outcome).toMatchObject({ kind: 'unverified', finding: { reason: 'BOOT_LOG_MISMATCH' } });
  });

  it('is not believed at any length but its own', () => {
    const whole = bootLog(SECURE_BOOT).data;
    const tpm = bootedTpm(SECURE_BOOT);
    const believed = [...eventSpans(whole).entries()].filter(
      ([, { start }]) =>
        proveBootOf(tpm, [bootLog(SECURE_BOOT, (log) => log.subarray(0, start))]).outcome.kind !== 'unverified',
    );
    // Some firmware measures ExitBootServices and does not log it: without these two events the log is still the host's.
    expect(believed.map(([index]) => index)).toEqual([46]);
    for (let length = 1; length < whole.length; length += 97) {
      expect(proveBootOf(tpm, [bootLog(SECURE_BOOT, (log) => log.subarray(0, length))]).outcome.kind).toBe(
        'unverified',
      );
    }
  });

  it('that the host cannot read is missing, and says why', () => {
    const { outcome } = proveBootOf(bootedTpm(SECURE_BOOT), [], 'permission denied');
    expect(outcome).toMatchObject({
      kind: 'missing',
      finding: { outcome: 'error', reason: 'BOOT_LOG_UNREADABLE', observed: 'permission denied' },
    });
  });

  it('must explain every active bank, whichever one is wrong', () => {
    for (const alg of [TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384]) {
      const tpm = bootedTpm(SECURE_BOOT);
      tpm.pcrs.get(alg)?.set(7, Buffer.alloc(tpm.pcrs.get(alg)?.get(7)?.length ?? 0, 0x77));
      const { outcome } = proveBootOf(tpm, [bootLog(SECURE_BOOT)]);
      expect(outcome).toMatchObject({ kind: 'unverified', finding: { reason: 'BOOT_LOG_MISMATCH' } });
    }
  });

  it('fails where an active bank was left at its reset value', () => {
    const tpm = bootedTpm(SECURE_BOOT);
    const bank = tpm.pcrs.get(TPM_ALG_SHA1);
    for (const [pcr, value] of bank ?? []) bank?.set(pcr, Buffer.alloc(value.length));
    const { outcome } = proveBootOf(tpm, [bootLog(SECURE_BOOT)]);
    expect(outcome).toMatchObject({ kind: 'unverified', finding: { reason: 'BOOT_BANK_AT_RESET' } });
  });

  it('says of a PCR without events that the log does not explain it', () => {
    const tpm = bootedTpm(SECURE_BOOT);
    for (const alg of [TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384]) {
      tpm.extend(12, Buffer.from(digest(alg, Buffer.from('something'))), alg);
    }
    expect(verified(proveBootOf(tpm, [bootLog(SECURE_BOOT)]).outcome).unexplained).toEqual([12]);
  });

  it('that lacks every event of a PCR explains that PCR no more', () => {
    const kept = bootLog(SECURE_BOOT, (log) =>
      Buffer.concat(
        eventSpans(log)
          .map(({ start, end }) => log.subarray(start, end))
          .filter((event) => event.readUInt32LE(0) !== 8),
      ),
    );
    const boot = verified(proveBootOf(bootedTpm(SECURE_BOOT), [kept]).outcome);
    expect(boot.unexplained).toEqual([8]);
    expect(boot.commandLines).toEqual([]);
  });
});

describe.skipIf(!here)("the operating system's log", () => {
  const userspace = (...records: readonly string[]) =>
    ({ kind: 'userspace', data: Buffer.from(records.join('')) }) as const;
  const phase = (text: string): string => userspaceRecord(11, text, BANKS);

  it('goes on where the firmware log ended', () => {
    const tpm = bootedTpm(SECURE_BOOT);
    for (const text of ['sysinit', 'ready']) extendAll(tpm, 11, text);
    const logs = [bootLog(SECURE_BOOT), userspace(phase('sysinit'), phase('ready'))];
    // Explained, but not by the firmware's log, which alone rules look at.
    expect(verified(proveBootOf(tpm, logs).outcome).unexplained).toEqual([11]);
  });

  it('hides nothing from a rule: what firmware measured may not stand there', () => {
    const whole = bootLog(SECURE_BOOT).data;
    const spans = eventSpans(whole);
    const hidden = spans.slice(25).filter(({ start }) => whole.readUInt32LE(start) === 4);
    const rest = spans.filter((span) => !hidden.includes(span)).map(({ start, end }) => whole.subarray(start, end));
    const { banks, events } = parseEventLog(whole);
    const records = events
      .filter(({ index, pcr }) => pcr === 4 && index >= 25)
      .map(({ digests }) => ({
        pcr: 4,
        digests: banks.map(({ alg }, at) => ({ hashAlg: algorithmName(alg), digest: digests[at]?.toString('hex') })),
      }));
    const data = Buffer.from(records.map((record) => `\u001e${JSON.stringify(record)}\n`).join(''));
    const { outcome } = proveBootOf(bootedTpm(SECURE_BOOT), [
      { kind: 'boot', data: Buffer.concat(rest) },
      { kind: 'userspace', data },
    ]);
    // The values are explained, and three of four images are not seen.
    expect(verified(outcome).images.filter(({ pcr }) => pcr === 4)).toHaveLength(1);
    expect(verified(outcome).unexplained).toEqual([4]);
  });

  it('may hold records that were made after the quote, and half of one', () => {
    const tpm = bootedTpm(SECURE_BOOT);
    extendAll(tpm, 11, 'sysinit');
    const logs = [bootLog(SECURE_BOOT), userspace(phase('sysinit'), phase('ready'), '\u001e{"pcr":11,"dig')];
    expect(proveBootOf(tpm, logs).outcome.kind).toBe('verified');
  });

  it('that ends before the quote is torn: no guilt yet', () => {
    const tpm = bootedTpm(SECURE_BOOT);
    for (const text of ['sysinit', 'ready']) extendAll(tpm, 11, text);
    const { outcome } = proveBootOf(tpm, [bootLog(SECURE_BOOT), userspace(phase('sysinit'))]);
    expect(outcome).toMatchObject({ kind: 'unverified', torn: true, finding: { reason: 'BOOT_LOG_MISMATCH' } });
  });

  it('excuses no difference in a PCR that only the firmware extends', () => {
    const tpm = bootedTpm(SECURE_BOOT);
    extendAll(tpm, 11, 'sysinit');
    extendAll(tpm, 4, 'an image that nobody logged');
    const { outcome } = proveBootOf(tpm, [bootLog(SECURE_BOOT), userspace(phase('other'))]);
    expect(outcome).toMatchObject({ kind: 'unverified', torn: false });
  });

  it('makes no false log a torn one by naming the PCRs of the firmware', () => {
    const records = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14].map((pcr) => userspaceRecord(pcr, 'x', ['sha256']));
    const { outcome } = proveBootOf(bootedTpm(NO_SECURE_BOOT), [bootLog(SECURE_BOOT), userspace(...records)]);
    expect(outcome).toMatchObject({ kind: 'unverified', torn: false, finding: { reason: 'BOOT_LOG_MISMATCH' } });
  });

  it('of another machine is refused', () => {
    const tpm = bootedTpm(SECURE_BOOT);
    const { outcome } = proveBootOf(tpm, [bootLog(SECURE_BOOT), userspace(userspaceRecord(4, 'image', BANKS))]);
    // A record more than the PCR holds is one that was made after the quote.
    expect(outcome.kind).toBe('verified');
    extendAll(tpm, 4, 'another image');
    expect(proveBootOf(tpm, [bootLog(SECURE_BOOT), userspace(userspaceRecord(4, 'image', BANKS))]).outcome.kind).toBe(
      'unverified',
    );
  });

  it('where it is missing, what the system measured is not explained, and no lie', () => {
    const tpm = bootedTpm(SECURE_BOOT);
    extendAll(tpm, 11, 'sysinit');
    expect(verified(proveBootOf(tpm, [bootLog(SECURE_BOOT)]).outcome).unexplained).toEqual([11]);
  });
});

describe.skipIf(!here)('the cache of boots', () => {
  it('replays equal logs once for the whole fleet', async () => {
    const cache = new BootCache();
    const log = bootLog(SECURE_BOOT);
    const [first, second] = [proveBootOf(bootedTpm(SECURE_BOOT), [log]), proveBootOf(bootedTpm(SECURE_BOOT), [log])];
    let reads = 0;
    const read = () => {
      reads += 1;
      return { boot: log.data, userspace: null };
    };
    const one = await cache.verify(first.record, read);
    const two = await cache.verify(second.record, read);
    expect(reads).toBe(1);
    expect(two?.outcome).toBe(one?.outcome);
  });

  it('takes other values for another boot', async () => {
    const cache = new BootCache();
    const log = bootLog(SECURE_BOOT);
    const tpm = bootedTpm(SECURE_BOOT);
    const good = proveBootOf(tpm, [log]);
    tpm.extend(7);
    const bad = proveBootOf(tpm, [log]);
    const read = () => ({ boot: log.data, userspace: null });
    expect((await cache.verify(good.record, read))?.outcome.kind).toBe('verified');
    expect((await cache.verify(bad.record, read))?.outcome.kind).toBe('unverified');
  });

  it('gives nothing for logs that are not those of the record', async () => {
    const { record } = proveBootOf(bootedTpm(SECURE_BOOT), [bootLog(SECURE_BOOT)]);
    const others = { boot: bootLog(NO_SECURE_BOOT).data, userspace: null };
    expect(verifyBoot(record, others)).toBeNull();
    expect(await new BootCache().verify(record, () => others)).toBeNull();
  });
});
