/** A report of a verified boot; a test changes what it is about. */
import type { BootReport } from '../../../client/sdk/boot-report.ts';

export const digest = (letter: string): string => letter.repeat(64);

export const REPORT: BootReport = {
  host: `hosts/h-${'a'.repeat(26)}`,
  state: 'VERIFIED',
  problem: undefined,
  bootLogDigest: digest('1'),
  format: 'crypto-agile',
  banks: ['sha1', 'sha256'],
  secureBoot: {
    mode: 'enabled',
    databases: [],
    authorities: [{ variable: 'db', sha256: digest('5'), subject: 'CN=Maker' }],
    sbatLevel: 'sbat,1,2024\nshim,4\ngrub,3\ngrub,2\nbroken,x\n',
    mokMeasurements: [],
    weaknesses: [],
  },
  kernelCommandLines: [{ index: 9, pcr: 8, source: 'grub', text: '/vmlinuz quiet ', verified: true }],
  initrds: [],
  exitBootServices: 'success',
  phases: [],
  eventCount: 0,
  events: [],
  userspaceRecordCount: 0,
  userspaceRecords: [],
  findings: [],
  provenPcrs: [0, 2, 4, 7, 16].flatMap((index) => [
    { bank: 'sha1', index, value: '1'.repeat(40) },
    { bank: 'sha256', index, value: digest(String(index % 10)) },
  ]),
  unexplainedPcrs: [],
  images: [
    { index: 3, pcr: 2, digests: ['2'.repeat(40), digest('d')], name: 'driver' },
    { index: 5, pcr: 4, digests: ['3'.repeat(40), digest('e')], name: 'shim' },
    { index: 6, pcr: 4, digests: ['3'.repeat(40), digest('e')], name: 'shim again' },
  ],
  contradictions: [],
  json: {},
};
