import { hash } from 'node:crypto';

import { fromBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { BootLogState, GetBootReportResponseSchema } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { BootReporter } from '../../../server/rpc/boot-reporter.ts';
import type { OwnLogs } from '../../../server/rpc/boot-reporter.ts';
import type { BootPage } from '../../../server/rpc/describe-boot.ts';
import { verifyBoot } from '../../../server/verifier/verify-boot.ts';
import { makeLog } from '../../tpm/eventlog/make-log.ts';

const LOG = makeLog(
  Array.from({ length: 40 }, (_, index) => ({ pcr: 8, type: 13, data: Buffer.from(`module ${index}`) })),
);

let reporter: BootReporter;
let reads: number;
beforeEach(() => {
  reporter = new BootReporter({ short: 0 });
  reads = 0;
});
afterEach(() => reporter[Symbol.asyncDispose]());

const readLogs = (): Promise<OwnLogs> => {
  reads += 1;
  return Promise.resolve({ boot: new Uint8Array(LOG), userspace: null });
};

function pageOf(log: Buffer = LOG): BootPage {
  const record = {
    bootLog: { sha256: hash('sha256', log, 'hex'), size: log.length, unreadable: '' },
    userspaceLog: { sha256: '', size: 0, unreadable: '' },
    pcrs: [],
  };
  const outcome = verifyBoot(record, { boot: log, userspace: null });
  if (outcome === null || outcome.kind === 'missing') throw new Error('no log');
  return { hostId: 'h-a', record, outcome, page: { after: '', limit: 10 }, list: [] };
}

async function report(page = pageOf()) {
  using turn = await reporter.take('ada');
  const bytes = await turn.report(page, readLogs);
  return bytes === null ? null : fromBinary(GetBootReportResponseSchema, bytes);
}

it('makes the same report in its thread as where it is', async () => {
  await using here = new BootReporter();
  using turn = await here.take('ada');
  const expected = await turn.report(pageOf(), readLogs);
  const made = await report();
  expect(made).toEqual(fromBinary(GetBootReportResponseSchema, expected ?? new Uint8Array(0)));
  expect(made?.report).toMatchObject({ state: BootLogState.VERIFIED, eventCount: 41 });
  expect(made?.report?.events).toHaveLength(10);
});

it('reads a log once, and again when it has held another', async () => {
  for (let count = 0; count < 3; count++) await report();
  expect(reads).toBe(1);
  // What came was not the log of this record.
  expect(await report(pageOf(makeLog([{ pcr: 0, type: 8, data: Buffer.from('v2') }])))).toBeNull();
  await report();
  expect(reads).toBe(3);
});

it('lets go of the log when nobody has asked for long', async () => {
  await using forgetful = new BootReporter({ short: 0, idle: 1 });
  const ask = async () => {
    using turn = await forgetful.take('ada');
    return await turn.report(pageOf(), readLogs);
  };
  expect(await ask()).not.toBeNull();
  await expect
    .poll(async () => {
      await ask();
      return reads;
    })
    .toBeGreaterThan(1);
});

it('makes none once the service stops', async () => {
  using turn = await reporter.take('ada');
  const asked = Promise.resolve(turn.report(pageOf(), readLogs));
  const ended = expect(asked).rejects.toThrow('stopping');
  await reporter[Symbol.asyncDispose]();
  await ended;
  await expect(turn.report(pageOf(), readLogs)).rejects.toThrow('stopping');
});

it('goes on after a call that could not be made', async () => {
  using turn = await reporter.take('ada');
  await expect(turn.report(pageOf(), () => Promise.reject(new Error('disk')))).rejects.toThrow('disk');
  expect(await turn.report(pageOf(), readLogs)).not.toBeNull();
  turn[Symbol.dispose]();
  // A page that no report can be made of ends the thread, and the next one begins another.
  await expect(report({ ...pageOf(), record: { ...pageOf().record, pcrs: null as never } })).rejects.toThrow();
  expect(await report()).not.toBeNull();
});
