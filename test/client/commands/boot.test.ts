import { describe, expect, it } from 'vitest';

import { describeBoot } from '../../../client/commands/boot.ts';
import type { BootReport } from '../../../client/sdk/boot-report.ts';

const REPORT: BootReport = {
  host: 'hosts/h-a',
  state: 'VERIFIED',
  problem: undefined,
  bootLogDigest: 'ab',
  format: 'crypto-agile',
  banks: ['sha256'],
  secureBoot: {
    mode: 'enabled',
    databases: [{ name: 'db', state: 'read', entries: 2 }],
    authorities: [{ variable: 'db', sha256: 'cd', subject: '' }],
    sbatLevel: 'sbat,1\n',
    mokMeasurements: ['MokList'],
    weaknesses: ['setup mode'],
  },
  kernelCommandLines: [
    { index: 1, pcr: 8, source: 'grub', text: 'quiet', verified: true },
    { index: 2, pcr: 8, source: 'grub', text: 'init=/bin/sh', verified: false },
    { index: 3, pcr: 9, source: 'efi-stub', text: '', verified: false },
  ],
  initrds: [],
  exitBootServices: 'success',
  phases: [{ name: 'firmware', firstEvent: 1, eventCount: 3 }],
  eventCount: 1,
  events: [
    { index: 0, pcr: 0xffff_ffff, type: 'EV_NO_ACTION', digests: [], verified: false, covers: 'nothing', data: '' },
  ],
  userspaceRecordCount: 1,
  userspaceRecords: [{ index: 0, pcr: 11, source: 'phase', text: 'ready', verified: true }],
  findings: [{ code: 'LOG_PADDING', severity: 'info', message: 'padding' }],
  provenPcrs: [],
  unexplainedPcrs: [],
  images: [],
  contradictions: [],
  json: {},
};
const plain = { colours: false };

describe('a boot report on a terminal', () => {
  it('says first whether the log can be believed, then what booted', () => {
    const text = describeBoot(REPORT, plain);
    expect(text).toMatch(/^host: .*\nboot log: +verified/);
    expect(text).toMatch(/weakened by: +setup mode\n/);
    expect(text).toMatch(/kernel command line: +quiet\n/);
    expect(text).toMatch(/init=\/bin\/sh \(by grub, not verified\)/);
    expect(text).toContain('measured, and not in the log');
    expect(text).toMatch(/0 +none +NO_ACTION +nothing/);
    expect(text).toContain('LOG_PADDING');
  });

  it('says why a log cannot be believed', () => {
    const problem = { reason: 'BOOT_LOG_MISMATCH', observed: 'PCR_MISMATCH: x', message: 'It is not the log.' };
    const text = describeBoot({ ...REPORT, state: 'UNVERIFIED', problem, secureBoot: undefined }, plain);
    expect(text).toMatch(/boot log: +not verified/);
    expect(text).toContain('BOOT_LOG_MISMATCH: It is not the log.');
    expect(text).not.toContain('secure boot:');
  });

  it('shows nothing of a log that a terminal acts upon', () => {
    const evil = '\u001b[31m\u202e\u0007';
    const hostile: BootReport = {
      ...REPORT,
      problem: { reason: evil, observed: evil, message: evil },
      format: evil,
      banks: [evil],
      secureBoot: {
        mode: evil,
        databases: [{ name: evil, state: evil, entries: 1 }],
        authorities: [{ variable: evil, sha256: evil, subject: evil }],
        sbatLevel: evil,
        mokMeasurements: [evil],
        weaknesses: [evil],
      },
      kernelCommandLines: [{ index: 1, pcr: 8, source: evil, text: evil, verified: false }],
      initrds: [{ index: 1, pcr: 8, source: evil, text: evil, verified: false }],
      exitBootServices: evil,
      phases: [{ name: evil, firstEvent: 1, eventCount: 1 }],
      events: [{ index: 0, pcr: 1, type: evil, digests: [evil], verified: false, covers: evil, data: evil }],
      userspaceRecords: [{ index: 0, pcr: 11, source: evil, text: evil, verified: false }],
      findings: [{ code: evil, severity: evil, message: evil }],
    };
    // oxlint-disable-next-line no-control-regex -- what must not be there
    expect(describeBoot(hostile, plain)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
  });
});
