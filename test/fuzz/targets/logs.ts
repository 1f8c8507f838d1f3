import { readFileSync } from 'node:fs';

import { decodeEventData } from '../../../tpm/eventlog/event-data.ts';
import { EV_SEPARATOR } from '../../../tpm/eventlog/event-types.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { extendReplay, parseUserspaceLog } from '../../../tpm/eventlog/userspace-log.ts';
import { readSigners } from '../../../tpm/eventlog/signers.ts';
import { hashAlgorithm } from '../../../tpm/crypto/digest.ts';
import { parseImaAscii } from '../../../tpm/ima/ascii.ts';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import { ImaKeyError, ImaKeyring, readImaKeys } from '../../../tpm/ima/keyring.ts';
import { ImaListReader } from '../../../tpm/ima/parse.ts';
import { ImaPcrs } from '../../../tpm/ima/pcrs.ts';
import { TPM_ALG_SHA1 } from '../../../tpm/structures/constants.ts';
import { dataIsHere, measuredBootPath } from '../../support/data.ts';
import { testKey } from '../../support/test-ca.ts';
import { makeLog } from '../../tpm/eventlog/make-log.ts';
import { digestField, makeList, nameField } from '../../tpm/ima/list-builder.ts';
import { drain } from '../../tpm/ima/read-entries.ts';
import { rsaSigner, signV2 } from '../../tpm/ima/signing.ts';
import { BrokenPromise, reader } from '../target.ts';
import type { Target } from '../target.ts';

const DIGEST = Buffer.alloc(32, 0xd1);
const MADE_LOG = makeLog([
  { pcr: 0, type: EV_SEPARATOR, data: Buffer.alloc(4) },
  { pcr: 7, type: EV_SEPARATOR, data: Buffer.alloc(4) },
]);
const RECORD = `\u001e${JSON.stringify({
  pcr: 11,
  digests: [{ hashAlg: 'sha256', digest: DIGEST.toString('hex') }],
  content_type: 'systemd',
  content: { eventType: 'phase', string: 'ready', bootId: '0'.repeat(32), timestamp: 1 },
})}\n`;
const ASCII = [
  `10 ${'ab'.repeat(20)} ima-ng sha256:${DIGEST.toString('hex')} /usr/bin/true`,
  `10 ${'00'.repeat(20)} ima-sig sha256:${DIGEST.toString('hex')} /usr/bin/false 030204`,
  '',
].join('\n');

/** Real logs where they are, beside made ones. */
function real(boot: string, file: string): readonly Buffer[] {
  return dataIsHere('measured-boot') ? [readFileSync(measuredBootPath(boot, file)).subarray(0, 64 * 1024)] : [];
}

export function logTargets(): Readonly<Record<string, () => Target>> {
  const signer = rsaSigner(1024);
  const keyring = new ImaKeyring([signer.key]);
  const list = makeList([
    { template: 'ima', fields: [Buffer.alloc(20, 5), Buffer.from('/init')] },
    { template: 'ima-ng', fields: [digestField('sha256', DIGEST), nameField('boot_aggregate')] },
    { template: 'ima-sig', fields: [digestField('sha256', DIGEST), nameField('/a'), signV2(signer, 'sha256', DIGEST)] },
  ]);
  return {
    'event-log': () =>
      reader([MADE_LOG, ...real('sb-ms-shim-grub', 'binary_bios_measurements')], [], (input) => {
        const reading = readEventLog(input);
        readSigners(reading.secureBoot);
        for (const event of reading.log.events) decodeEventData(event);
        if (!reading.log.complete && reading.findings.every(({ severity }) => severity !== 'error'))
          throw new BrokenPromise('incomplete without an error');
      }),
    'userspace-log': () =>
      reader([Buffer.from(RECORD.repeat(3))], [], (input) => {
        const log = parseUserspaceLog(input);
        extendReplay(readEventLog(MADE_LOG).replay, log);
        if (!log.complete && log.findings.length === 0) throw new BrokenPromise('incomplete without a finding');
      }),
    'ima-list': () =>
      reader([list, ...real('debian-systemd-ima', 'binary_runtime_measurements')], [], (input) => {
        const found = new ImaListReader();
        found.push(input);
        const pcrs = new ImaPcrs([hashAlgorithm(TPM_ALG_SHA1)]);
        for (const entry of drain(found)) {
          pcrs.extend(entry);
          examineEntry(entry, keyring);
        }
        if (found.offset + found.pendingBytes !== input.length) throw new BrokenPromise('bytes are lost');
      }),
    'ima-ascii': () =>
      reader([Buffer.from(ASCII)], [], (input) => {
        for (const entry of parseImaAscii(input.toString('latin1')).entries) examineEntry(entry, keyring);
      }),
    'ima-keys': () => reader([signer.spki, testKey('P-256').spki], [ImaKeyError], (input) => readImaKeys(input)),
  };
}
