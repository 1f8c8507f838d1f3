/** Logs that were made to have the largest report. */
import { hash } from 'node:crypto';

import { toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, it } from 'vitest';

import {
  AttestationResultService,
  BootLogState,
  GetBootReportResponseSchema,
} from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { BootEvent } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { HASH_ALGORITHMS, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { userspaceRecord } from '../../support/booted-machine.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { enroll } from '../../support/test-service.ts';
import { makeEvent, makeHeader, makeVariable, OWNER, u16, u64 } from '../../tpm/eventlog/make-log.ts';
import type { MadeEvent } from '../../tpm/eventlog/make-log.ts';

const SHIM = '605dab50-e046-4300-abb6-3dd810dd8b23';
/** What clients receive by default. */
const MESSAGE = 4 * 1024 * 1024;
/** Three bytes in a message, one character in a limit. */
const WIDE = '字';
let running: Running;
beforeEach(async () => {
  running = await startAssay();
});
afterEach(() => running[Symbol.asyncDispose]());

/** A log of every bank that is known here: each event has eight digests. */
function largeLog(events: readonly MadeEvent[]): Buffer {
  const hashes = [...HASH_ALGORITHMS.values()];
  return Buffer.concat([
    makeHeader(hashes.map(({ alg, size }) => [alg, size])),
    ...events.map((event) => {
      const measured = event.measured ?? event.data;
      return makeEvent({ ...event, digests: hashes.map(({ alg, node }) => [alg, hash(node, measured, 'buffer')]) });
    }),
  ]);
}

/** UEFI_IMAGE_LOAD_EVENT with a path of one file. */
function imageLoad(name: string): Buffer {
  const text = Buffer.from(`${name}\0`, 'utf16le');
  const path = Buffer.concat([Buffer.from([4, 4]), u16(4 + text.length), text, Buffer.from('7fff0400', 'hex')]);
  return Buffer.concat([u64(1), u64(2), u64(0), u64(path.length), path]);
}

const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

const WORST: readonly MadeEvent[] = [
  { pcr: 7, type: 4, data: Buffer.alloc(4) },
  ...times(64, (index) => ({
    pcr: 7,
    type: 0x8000_00e0,
    data: makeVariable(SHIM, 'Shim', Buffer.concat([Buffer.from(OWNER), Buffer.from([index])])),
  })),
  ...times(1200, (index) => ({
    pcr: 4,
    type: 0x8000_0003,
    data: imageLoad(WIDE.repeat(300)),
    measured: Buffer.from(`image ${index}`),
  })),
  ...times(80, (index) => ({
    pcr: 8,
    type: 0x0d,
    data: Buffer.from(`kernel_cmdline: ${index}${WIDE.repeat(4096)}`),
    measured: Buffer.from(`${index}${WIDE.repeat(4096)}`),
  })),
  ...times(80, (index) => ({
    pcr: 8,
    type: 0x0d,
    data: Buffer.from(`grub_cmd: initrd /${index}${WIDE.repeat(1300)}`),
    measured: Buffer.from(`initrd /${index}${WIDE.repeat(1300)}`),
  })),
  ...times(80, (index) => ({
    pcr: 9,
    type: 0x0d,
    data: Buffer.from(`/${index}${WIDE.repeat(1300)}`),
    measured: Buffer.from(`file ${index}`),
  })),
  ...times(64, (index) => ({
    pcr: 14,
    type: 0x0d,
    data: Buffer.from(`${WIDE.repeat(1000)}${index}`),
    measured: Buffer.from(`list ${index}`),
  })),
];

const USERSPACE = Buffer.from(
  times(300, (index) => userspaceRecord(11, `${index}${WIDE.repeat(4096)}`, ['sha256'])).join(''),
);

/** A machine whose owner extended what his logs say. */
async function enrolled(log: Buffer, change: (tpm: SoftwareTpm) => void = () => undefined): Promise<string> {
  const tpm = new SoftwareTpm({ banks: [TPM_ALG_SHA256] });
  const { replay } = readEventLog(log, { userspaceLog: USERSPACE });
  for (const [pcr, value] of replay.pcrs.get(TPM_ALG_SHA256) ?? []) tpm.pcrs.get(TPM_ALG_SHA256)?.set(pcr, value);
  for (let pcr = 17; pcr <= 22; pcr++) tpm.pcrs.get(TPM_ALG_SHA256)?.set(pcr, Buffer.alloc(32, 0xff));
  change(tpm);
  const logs = [
    { kind: 'boot', data: log },
    { kind: 'userspace', data: USERSPACE },
  ] as const;
  return `hosts/${(await enroll(running.house, tpm, tpm.createAk(), { logs })).host.id}`;
}

it.each([
  ['believed', BootLogState.VERIFIED, () => undefined],
  ['not believed', BootLogState.UNVERIFIED, (tpm: SoftwareTpm) => tpm.extend(4)],
] as const)('the report on the largest logs, %s, fits into a message, page by page', async (_name, state, change) => {
  const log = largeLog(WORST);
  const host = await enrolled(log, change);
  const client = running.connect(await running.identity('rita', ['relying_party'])).client(AttestationResultService);
  const events: BootEvent[] = [];
  let pageToken = '';
  let pages = 0;
  do {
    const page = await client.getBootReport({ host, pageSize: 1000, pageToken });
    expect(page.report?.state).toBe(state);
    expect(toBinary(GetBootReportResponseSchema, page).length).toBeLessThan(MESSAGE);
    if (state === BootLogState.VERIFIED) {
      // Nothing is crowded out by another list.
      const { report } = page;
      for (const list of [report?.kernelCommandLines, report?.initrds, report?.userspaceRecords, report?.images])
        expect(list?.length).toBeGreaterThan(8);
      expect(report?.secureBoot?.authorities.length).toBeGreaterThan(8);
    }
    events.push(...(page.report?.events ?? []));
    pageToken = page.nextPageToken;
    pages += 1;
  } while (pageToken !== '');
  // Nothing is lost between pages.
  expect(events.map(({ index }) => index)).toEqual(events.map((_, index) => index));
  expect(events.length).toBe(WORST.length + 1);
  expect(pages).toBeGreaterThan(1);
});
