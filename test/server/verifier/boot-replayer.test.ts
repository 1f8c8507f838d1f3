import { hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { BootRecord } from '../../../server/store/records.ts';
import { BootCache } from '../../../server/verifier/boot-cache.ts';
import { logsOf } from '../../../server/verifier/boot-record.ts';
import { BootReplayer } from '../../../server/verifier/boot-replayer.ts';
import { EV_IPL } from '../../../tpm/eventlog/event-types.ts';
import { bootedTpm, bootLog, proveBootOf, SECURE_BOOT } from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { makeLog } from '../../tpm/eventlog/make-log.ts';

let replayer: BootReplayer;
beforeEach(() => {
  replayer = new BootReplayer({ short: 0 });
});
afterEach(() => replayer[Symbol.asyncDispose]());

/** A log that explains itself, of so many command lines that none is believed. */
function longLog(events: number): { readonly record: BootRecord; readonly logs: { boot: Buffer; userspace: null } } {
  const boot = makeLog(
    Array.from({ length: events }, (_, index) => {
      const text = `/vmlinuz root=/dev/sda${index} ${'a=b '.repeat(20)}`;
      return { pcr: 8, type: EV_IPL, data: Buffer.from(`kernel_cmdline: ${text}\0`), measured: Buffer.from(text) };
    }),
  );
  const bootLogRecord = { sha256: hash('sha256', boot, 'hex'), size: boot.length, unreadable: '' };
  const userspaceLog = { sha256: '', size: 0, unreadable: '' };
  return { record: { bootLog: bootLogRecord, userspaceLog, pcrs: [] }, logs: { boot, userspace: null } };
}

describe.skipIf(!dataIsHere('measured-boot'))('a boot log that is replayed in a thread of its own', () => {
  it('comes to the same as one that is replayed where it came', async () => {
    const log = bootLog(SECURE_BOOT);
    const here = proveBootOf(bootedTpm(SECURE_BOOT), [log]);
    const parts = [{ kind: 'boot', offset: 0, data: log.data }] as const;
    expect(here.outcome.kind).toBe('verified');
    expect(await replayer.replay(here.record, logsOf(parts))).toStrictEqual(here.outcome);
    const known = await new BootCache(replayer.replay).verify(here.record, () => logsOf(parts));
    expect(known?.outcome).toStrictEqual(here.outcome);
  });
});

describe('long boot logs', () => {
  it('hold nobody up: the event loop goes on while they are replayed', async () => {
    const { record, logs } = longLog(15_000);
    let turns = 0;
    let done = false;
    const replayed = Promise.resolve(replayer.replay(record, logs)).finally(() => {
      done = true;
    });
    while (!done) {
      turns += 1;
      await setImmediate();
    }
    expect(await replayed).toMatchObject({ kind: 'verified' });
    expect(turns).toBeGreaterThan(1_000);
  });

  it('wait for shorter ones', async () => {
    const done: number[] = [];
    const sizes = [4_000, 3_000, 2_000, 10];
    await Promise.all(
      sizes.map(async (size) => {
        const { record, logs } = longLog(size);
        await replayer.replay(record, logs);
        done.push(size);
      }),
    );
    expect(done).toEqual([4_000, 10, 2_000, 3_000]);
  });

  it('of another record are none', async () => {
    const { record } = longLog(10);
    expect(await replayer.replay(record, longLog(9).logs)).toBeNull();
  });

  it('are let go when the service stops', async () => {
    const outcomes = [5_000, 10].map((size) => {
      const { record, logs } = longLog(size);
      return Promise.resolve(replayer.replay(record, logs));
    });
    const ended = Promise.allSettled(outcomes);
    await replayer[Symbol.asyncDispose]();
    expect((await ended).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(replayer.replay(longLog(10).record, longLog(10).logs)).rejects.toThrow('stopping');
  });

  it('that are short need no thread', () => {
    const { record, logs } = longLog(10);
    expect(new BootReplayer().replay(record, logs)).toMatchObject({ kind: 'verified' });
  });
});
