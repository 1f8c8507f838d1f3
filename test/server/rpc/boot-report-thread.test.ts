/** Reports on long logs, which hold nobody else up. */
import { setImmediate } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { AttestationResultService, BootLogState } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { LogKind } from '../../../server/store/records.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { EV_IPL } from '../../../tpm/eventlog/event-types.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { enroll } from '../../support/test-service.ts';
import { makeLog } from '../../tpm/eventlog/make-log.ts';

let running: Running;
beforeEach(async () => {
  running = await startAssay();
});
afterEach(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

const clientOf = async (name = 'rita') =>
  running.connect(await running.identity(name, ['relying_party'])).client(AttestationResultService);

/** A host whose log has so many events, its header among them. */
async function booted(events: number): Promise<string> {
  const log = makeLog([
    { pcr: 0, type: 8, data: Buffer.from('v1') },
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => ({ pcr, type: 4, data: Buffer.alloc(4) })),
    ...Array.from({ length: events - 10 }, (_, index) => {
      const text = `module ${index} ${'a=b '.repeat(10)}`;
      return { pcr: 8, type: EV_IPL, data: Buffer.from(`grub_cmd: ${text}\0`), measured: Buffer.from(text) };
    }),
  ]);
  const tpm = new SoftwareTpm();
  const { replay } = readEventLog(log);
  for (const [pcr, value] of replay.pcrs.get(TPM_ALG_SHA256) ?? []) tpm.pcrs.get(TPM_ALG_SHA256)?.set(pcr, value);
  const { host } = await enroll(running.house, tpm, tpm.createAk(), { logs: [{ kind: 'boot', data: log }] });
  return `hosts/${host.id}`;
}

/** Counts the bytes of logs that are read, and may give others. */
function watchReads(change: (bytes: Uint8Array, kind: LogKind) => Uint8Array = (bytes) => bytes): { bytes: number } {
  const read = { bytes: 0 };
  const { store } = running.house;
  const readLog = store.readLog.bind(store);
  Object.assign(store, {
    readLog: async (...[hostId, kind, offset, limit]: Parameters<typeof readLog>) => {
      const bytes = await readLog(hostId, kind, offset, limit);
      read.bytes += bytes.byteLength;
      return change(bytes, kind);
    },
  });
  return read;
}

const sum = ({ user, system }: NodeJS.CpuUsage): number => user + system;

describe('a report on a long log', () => {
  it('holds nobody up: the event loop goes on while it is made', async () => {
    const host = await booted(12_000);
    const client = await clientOf();
    await client.getAttestationResult({ host });
    // Known by then, as it is where a round has proven it.
    const first = await client.getBootReport({ host, pageSize: 1000 });
    expect(first.report).toMatchObject({ state: BootLogState.VERIFIED, eventCount: 12_000 });
    const other = await booted(11_000);
    await client.getBootReport({ host: other });
    const began = process.cpuUsage();
    let longest = 0;
    let done = false;
    const report = client.getBootReport({ host, pageSize: 1000 }).finally(() => {
      done = true;
    });
    while (!done) {
      const turn = process.threadCpuUsage();
      await setImmediate();
      longest = Math.max(longest, sum(process.threadCpuUsage(turn)));
    }
    expect((await report).report?.events).toHaveLength(1000);
    // Where the log is read on the loop, that is nearly all that the call costs. A machine that is busy with others costs nothing.
    expect(longest).toBeLessThan(sum(process.cpuUsage(began)) / 2);
  });

  it('reads the log once for all of its pages', async () => {
    const host = await booted(4_000);
    const client = await clientOf();
    await client.getBootReport({ host });
    const read = watchReads();
    let pages = 0;
    let events = 0;
    for (let pageToken = ''; pages === 0 || pageToken !== ''; pages++) {
      const page = await client.getBootReport({ host, pageSize: 1000, pageToken });
      events += page.report?.events.length ?? 0;
      pageToken = page.nextPageToken;
    }
    expect([pages, events, read.bytes]).toEqual([4, 4_000, 0]);
  });

  it.each([
    ['where it was read by no round', 4_000, false],
    ['where what it comes to is known', 4_000, true],
    ['and is short', 20, true],
  ])('says nothing of bytes that are not those whose hash is on record, %s', async (_name, events, known) => {
    const host = await booted(events);
    const other = await booted(events + 1_000);
    const client = await clientOf();
    if (known) {
      expect((await client.getBootReport({ host })).report?.state).toBe(BootLogState.VERIFIED);
      // The thread holds another log by then.
      await client.getBootReport({ host: other });
    }
    watchReads((bytes) => {
      if (bytes.byteLength === 0) return bytes;
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1);
      return changed;
    });
    const { report } = await client.getBootReport({ host });
    expect(report).toMatchObject({ state: BootLogState.UNPROVEN, events: [], provenPcrs: [] });
  });
});

describe('reports on boots', () => {
  it('are four at once for each caller, and make room for the next', async () => {
    const host = await booted(20);
    const { store } = running.house;
    const getBoot = store.getBoot.bind(store);
    const held = Promise.withResolvers<void>();
    Object.assign(store, {
      getBoot: async (id: string) => {
        await held.promise;
        return getBoot(id);
      },
    });
    const client = await clientOf();
    const reports = Array.from({ length: 4 }, () => client.getBootReport({ host }));
    const refused = { code: 'RESOURCE_EXHAUSTED', reason: 'REPORT_BUSY', retryDelayMillis: 1_000 };
    expect(await failure(client.getBootReport({ host }))).toMatchObject(refused);
    const other = (await clientOf('otto')).getBootReport({ host });
    held.resolve();
    for (const report of [...reports, other]) expect((await report).report?.state).toBe(BootLogState.VERIFIED);
    expect((await client.getBootReport({ host })).report?.state).toBe(BootLogState.VERIFIED);
  });
});
