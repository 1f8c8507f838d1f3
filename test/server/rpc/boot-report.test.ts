import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { AttestationResultService, BootLogState } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { BootEvent } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import {
  bootedTpm,
  bootLog,
  COMMAND_LINE,
  IMAGES,
  NO_SECURE_BOOT,
  SECURE_BOOT,
  SIGNERS,
} from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import type { Log } from '../../support/evidence-builder.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { enroll } from '../../support/test-service.ts';
import { measuredPcrs } from '../../tpm/eventlog/real-logs.ts';

let running: Running;
let channel: Channel;
beforeEach(async () => {
  running = await startAssay();
  channel = running.connect(await running.identity('rita', ['relying_party']));
});
afterEach(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

const client = () => channel.client(AttestationResultService);

async function enrolled(logs: readonly Log[], tpm = bootedTpm(SECURE_BOOT)): Promise<string> {
  return `hosts/${(await enroll(running.house, tpm, tpm.createAk(), { logs })).host.id}`;
}

describe.skipIf(!dataIsHere('measured-boot'))('a boot report', () => {
  it('tells what booted, from the kept log and the proven values', async () => {
    const host = await enrolled([bootLog(SECURE_BOOT)]);
    const { report } = await client().getBootReport({ host });
    expect(report).toMatchObject({
      host,
      state: BootLogState.VERIFIED,
      format: 'crypto-agile',
      banks: ['sha1', 'sha256', 'sha384'],
      secureBoot: {
        mode: 'enabled',
        authorities: SIGNERS.map((sha256) => ({ sha256 })),
        sbatLevel: expect.stringContaining('shim,4') as string,
        mokMeasurements: ['MokList', 'MokListX', 'MokListTrusted'],
      },
      kernelCommandLines: [{ pcr: 8, source: 'grub', text: COMMAND_LINE, verified: true }],
      initrds: [{ text: '/initrd.gz', verified: false }],
      exitBootServices: 'success',
      eventCount: 48,
    });
    expect(report?.problem).toBeUndefined();
    expect(report?.secureBoot?.authorities[0]?.subject).toContain('Microsoft Corporation UEFI CA 2011');
    expect(report?.secureBoot?.databases.map(({ name, entries }) => [name, entries])).toEqual([
      ['PK', 1],
      ['KEK', 2],
      ['db', 2],
      ['dbx', 1],
    ]);
    expect(report?.phases.map(({ name }) => name)).toEqual(['firmware', 'boot-manager', 'boot-loader', 'exit']);
    expect(report?.events[4]).toMatchObject({
      pcr: 7,
      type: 'EV_EFI_VARIABLE_DRIVER_CONFIG',
      verified: true,
      data: 'SecureBoot = 01',
    });
  });

  it('has what policies name: proven values, images as rules see them, and nothing in their way', async () => {
    const host = await enrolled([bootLog(SECURE_BOOT)]);
    const { report } = await client().getBootReport({ host });
    const bank = new Map(
      report?.provenPcrs.filter((pcr) => pcr.bank === 'sha256').map((pcr) => [pcr.index, pcr.value]),
    );
    const captured = measuredPcrs(SECURE_BOOT).get('sha256');
    for (const pcr of [0, 2, 4, 7]) expect(bank.get(pcr)).toBe(captured?.get(pcr));
    expect(bank.has(10)).toBe(false);
    const applications = report?.images.filter(({ pcr }) => pcr === 4) ?? [];
    expect(new Set(applications.map(({ digests }) => digests[1]))).toEqual(new Set(IMAGES));
    expect(applications[0]?.name).toContain('BOOTX64.EFI');
    expect(report).toMatchObject({ contradictions: [], unexplainedPcrs: [], secureBoot: { weaknesses: [] } });
  });

  it('gives its events page by page, and a token is good for this boot alone', async () => {
    const host = await enrolled([bootLog(SECURE_BOOT)]);
    const seen: BootEvent[] = [];
    let pageToken = '';
    do {
      const page = await client().getBootReport({ host, pageSize: 20, pageToken });
      expect(page.report?.events.length).toBeLessThanOrEqual(20);
      expect(page.report?.eventCount).toBe(48);
      seen.push(...(page.report?.events ?? []));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(seen.map(({ index }) => index)).toEqual(Array.from({ length: 48 }, (_, index) => index));
    const other = await enrolled([bootLog(NO_SECURE_BOOT)], bootedTpm(NO_SECURE_BOOT));
    const { nextPageToken } = await client().getBootReport({ host, pageSize: 1 });
    expect(await failure(client().getBootReport({ host: other, pageToken: nextPageToken }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });

  it('of a log that is not this boot believes nothing of it', async () => {
    const host = await enrolled([bootLog(NO_SECURE_BOOT)]);
    const { report } = await client().getBootReport({ host });
    expect(report).toMatchObject({
      state: BootLogState.UNVERIFIED,
      problem: { id: 'boot-log', reason: 'BOOT_LOG_MISMATCH' },
      kernelCommandLines: [],
      phases: [],
      provenPcrs: [],
      images: [],
    });
    expect(report?.secureBoot).toBeUndefined();
    expect(report?.events.length).toBeGreaterThan(10);
    expect(report?.events.every(({ verified }) => !verified)).toBe(true);
    expect(report?.findings.map(({ code }) => code)).toContain('PCR_MISMATCH');
  });

  it('says where nothing was proven yet', async () => {
    const host = await enrolled([]);
    expect((await client().getBootReport({ host })).report).toMatchObject({ state: BootLogState.UNPROVEN, events: [] });
  });

  it('of a host that is not there, or of no name, is refused', async () => {
    const nowhere = `hosts/h-${'a'.repeat(26)}`;
    expect(await failure(client().getBootReport({ host: nowhere }))).toMatchObject({ code: 'NOT_FOUND' });
    expect(await failure(client().getBootReport({ host: 'x' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
