import { describe, expect, test } from 'vitest';
import { checkEvents } from '../../../tpm/eventlog/check-events.ts';
import { decodeEventData } from '../../../tpm/eventlog/event-data.ts';
import { hasErrors } from '../../../tpm/eventlog/finding.ts';
import { MAX_LOG_EVENTS, parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import type { EventLogReading } from '../../../tpm/eventlog/read-event-log.ts';
import { readSecureBoot } from '../../../tpm/eventlog/secure-boot.ts';
import { readSigners } from '../../../tpm/eventlog/signers.ts';
import { parseUserspaceLog } from '../../../tpm/eventlog/userspace-log.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { dataIsHere } from '../../support/data.ts';
import { commonName, ext, makeCertificate, SIGNATURE, testKey } from '../../support/test-ca.ts';
import {
  guid,
  makeEvent,
  makeHeader,
  makeLog,
  makeSignatureList,
  makeVariable,
  OWNER,
  SHA256_TYPE,
  u16,
  u32,
  X509_TYPE,
} from './make-log.ts';
import type { MadeEvent } from './make-log.ts';
import { measuredLog } from './real-logs.ts';

const GLOBAL = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
const SECURITY = 'd719b2cb-3d3a-4596-a3bc-dad00e67656f';
const LARGEST = 0xffff_ffff;

const db = (data: Buffer): MadeEvent => ({ pcr: 7, type: 0x8000_0001, data: makeVariable(SECURITY, 'db', data) });

/** All that is derived of a log, so that nothing of it can throw unseen. */
function readAll(bytes: Buffer): EventLogReading {
  const reading = readEventLog(bytes);
  readSigners(reading.secureBoot);
  for (const event of reading.log.events) decodeEventData(event);
  return reading;
}

function codesOf(reading: Pick<EventLogReading, 'findings'>): readonly string[] {
  return reading.findings.map(({ code }) => code);
}

describe.skipIf(!dataIsHere('measured-boot'))('a real log with 4,294,967,295 written over any four bytes', () => {
  test.each(['nosb-kernel-tis', 'debian-systemd-ima'] as const)('%s is read without an exception', (boot) => {
    const original = measuredLog(boot);
    const before = readAll(original).log.events.length;
    for (let at = 0; at <= original.length - 4; at += 1) {
      const bytes = Buffer.from(original);
      bytes.writeUInt32LE(LARGEST, at);
      const { log, findings } = readAll(bytes);
      const longest = Math.max(0, ...log.events.map(({ data }) => data.length));
      if (log.events.length > before || longest > bytes.length) expect.fail(`at ${at}: more than there is`);
      if (!log.complete && !hasErrors(findings)) expect.fail(`at ${at}: incomplete without an error`);
    }
  });
});

describe('a length of 4,294,967,295', () => {
  const header = makeHeader([[TPM_ALG_SHA256, 32]]);
  const prefix = Buffer.concat([u32(0), u32(8)]);
  test.each<[string, Buffer, string]>([
    [
      'of an event’s data',
      Buffer.concat([header, prefix, u32(1), u16(TPM_ALG_SHA256), Buffer.alloc(32), u32(LARGEST), Buffer.alloc(9)]),
      'EVENT_TRUNCATED',
    ],
    ['as the number of digests', Buffer.concat([header, prefix, u32(LARGEST), Buffer.alloc(64)]), 'EVENT_MALFORMED'],
    ['of a variable’s data', variableOf(12n, 0xffff_ffff_ffff_ffffn), 'SECURE_BOOT_EVENT_UNVERIFIED'],
    ['of a variable’s name', variableOf(0xffff_ffff_ffff_ffffn, 4n), 'SECURE_BOOT_EVENT_UNVERIFIED'],
    [
      'of a signature list',
      makeLog([db(Buffer.concat([guid(X509_TYPE), u32(LARGEST), u32(0), u32(17)]))]),
      'SECURE_BOOT_VARIABLE_MALFORMED',
    ],
    [
      'of a signature list’s header',
      makeLog([db(Buffer.concat([guid(X509_TYPE), u32(28), u32(LARGEST), u32(17)]))]),
      'SECURE_BOOT_VARIABLE_MALFORMED',
    ],
    ['of a signature', makeLog([db(Buffer.concat([guid(X509_TYPE), u32(28), u32(0), u32(LARGEST)]))]), ''],
  ])('%s is refused or holds nothing', (_name, log, code) => {
    const reading = readAll(log);
    if (code !== '') expect(codesOf(reading)).toContain(code);
    expect(JSON.stringify(reading.secureBoot.authorities)).toBe('[]');
  });

  function variableOf(nameLength: bigint, dataLength: bigint): Buffer {
    const data = makeVariable(GLOBAL, 'SecureBoot', Buffer.from([1]));
    data.writeBigUInt64LE(nameLength, 16);
    data.writeBigUInt64LE(dataLength, 24);
    return makeLog([{ pcr: 7, type: 0x8000_0001, data }]);
  }
});

test('as many events as are read, each with something wrong, cost bounded time and findings', () => {
  const one = makeEvent({ pcr: 7, type: 0x8000_0001, data: Buffer.from('x') });
  const log = Buffer.concat([
    makeHeader([
      [TPM_ALG_SHA1, 20],
      [TPM_ALG_SHA256, 32],
    ]),
    ...Array.from({ length: MAX_LOG_EVENTS + 10 }, () => one),
  ]);
  const reading = readAll(log);
  expect(reading.log.events).toHaveLength(MAX_LOG_EVENTS);
  expect(codesOf(reading)).toContain('LOG_TOO_MANY_EVENTS');
  expect(reading.findings.length).toBeLessThan(1000);
});

describe('a database of signatures', () => {
  function read(data: Buffer) {
    return readSecureBoot(checkEvents(parseEventLog(makeLog([db(data)]))));
  }

  test('that holds lists within lists is not entered: the inner one is bytes', () => {
    const inner = makeSignatureList(SHA256_TYPE, [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]);
    const outer = makeSignatureList(X509_TYPE, [makeSignatureList(X509_TYPE, [inner])]);
    const { databases } = read(outer).state;
    const signatures = databases.db.state === 'read' ? databases.db.lists.signatures : [];
    expect(signatures.map(({ kind, data }) => [kind, data.length])).toEqual([['x509', 28 + 16 + inner.length]]);
    expect(signatures.some(({ kind }) => kind === 'sha256')).toBe(false);
  });

  test('that nests as deep as a variable allows costs no stack', () => {
    let nested: Buffer = Buffer.alloc(1);
    for (let depth = 0; depth < 2000; depth += 1) nested = makeSignatureList(X509_TYPE, [nested]);
    expect(read(nested).state.databases.db.state).toBe('read');
  });

  test.each<[string, number]>([
    ['nothing', 0],
    ['one byte', 1],
    ['an owner alone', 16],
  ])('whose signatures have %s is malformed, with content and without', (_name, size) => {
    for (const content of [0, 1, 32]) {
      const list = Buffer.concat([guid(X509_TYPE), u32(28 + content), u32(0), u32(size), Buffer.alloc(content)]);
      const { state, findings } = read(list);
      expect(state.databases.db.state).toBe('malformed');
      expect(findings.map(({ code }) => code)).toContain('SECURE_BOOT_VARIABLE_MALFORMED');
    }
  });

  test('of a hundred thousand empty lists is malformed, and no list of it is used', () => {
    const empty = Buffer.concat([guid(SHA256_TYPE), u32(28), u32(0), u32(48)]);
    const { state, findings } = read(Buffer.concat(Array.from({ length: 100_000 }, () => empty)));
    expect(state.databases.db.state).toBe('malformed');
    expect(findings.map(({ code }) => code)).toContain('SECURE_BOOT_VARIABLE_MALFORMED');
  });

  test('of a hundred thousand hashes is malformed', () => {
    const hashes = Array.from({ length: 100_000 }, (_, index) => Buffer.concat([Buffer.alloc(28), u32(index)]));
    expect(read(makeSignatureList(SHA256_TYPE, hashes)).state.databases.db.state).toBe('malformed');
  });

  test('with ten thousand certificates: as many are read as a reader looks at, none is lost', () => {
    const key = testKey('P-256', 'db');
    const subject = commonName('One of many');
    const certificate = makeCertificate({
      issuer: subject,
      subject,
      notBefore: new Date('2020-01-01T00:00:00Z'),
      notAfter: new Date('2040-01-01T00:00:00Z'),
      spki: key.spki,
      extensions: [ext.ca()],
      signature: SIGNATURE.ecdsaSha256,
      signer: key.privateKey,
    });
    const many = Array.from({ length: 10_000 }, (_, index) => {
      const copy = Buffer.from(certificate);
      copy.writeUInt32BE(index, copy.length - 4);
      return copy;
    });
    const { state } = read(makeSignatureList(X509_TYPE, many));
    const signatures = state.databases.db.state === 'read' ? state.databases.db.lists.signatures : [];
    expect(signatures).toHaveLength(10_000);
    const { bySha256, findings } = readSigners(state);
    expect(bySha256.size).toBeLessThanOrEqual(256);
    expect(findings.length).toBeLessThanOrEqual(65);
  });

  test.each<[string, Buffer]>([
    ['that nests without end', nest(50_000)],
    ['that says it has four gigabytes', Buffer.from('3084ffffffff3084ffffffff', 'hex')],
    ['of a megabyte of zeros', Buffer.concat([Buffer.from('30830fffff', 'hex'), Buffer.alloc(0xfffff)])],
  ])('with a certificate %s keeps its digest and loses nothing else', (_name, certificate) => {
    const lists = Buffer.concat([
      makeSignatureList(X509_TYPE, [certificate]),
      makeSignatureList(SHA256_TYPE, [Buffer.alloc(32, 9)], { owner: OWNER }),
    ]);
    const { state } = read(lists);
    const signatures = state.databases.db.state === 'read' ? state.databases.db.lists.signatures : [];
    expect(signatures.map(({ kind }) => kind)).toEqual(['x509', 'sha256']);
    expect(readSigners(state).findings.map(({ code }) => code)).toEqual(['SIGNATURE_CERTIFICATE_UNREADABLE']);
  });

  function nest(depth: number): Buffer {
    const headers = Array.from({ length: depth }, (_, index) => {
      const header = Buffer.from('308300000000', 'hex').subarray(0, 5);
      header.writeUIntBE(5 * (depth - index - 1), 2, 3);
      return Buffer.from(header);
    });
    return Buffer.concat(headers);
  }
});

describe('banks that come and go between boots', () => {
  const events: readonly MadeEvent[] = [
    { pcr: 0, type: 8, data: Buffer.from('v') },
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => ({ pcr, type: 4, data: Buffer.alloc(4) })),
  ];
  const valuesOf = (algs: readonly number[]) => readEventLog(makeLog(events, algs)).replay.pcrs;

  test('one that is active and that the log does not know is an error', () => {
    const pcrs = new Map([...valuesOf([TPM_ALG_SHA256]), [TPM_ALG_SHA384, new Map([[7, Buffer.alloc(48, 1)]])]]);
    expect(codesOf(readEventLog(makeLog(events, [TPM_ALG_SHA256]), { pcrs }))).toEqual(['BANK_NOT_IN_LOG']);
  });

  test('one that the log knows and that is not active says nothing', () => {
    const log = makeLog(events, [TPM_ALG_SHA1, TPM_ALG_SHA256]);
    const reading = readEventLog(log, { pcrs: valuesOf([TPM_ALG_SHA256]) });
    expect(reading.findings).toEqual([]);
    expect(new Set(reading.pcrs.map(({ bank }) => bank))).toEqual(new Set([TPM_ALG_SHA256]));
  });

  test('the log of the boot before explains no bank of this one', () => {
    const before = makeLog([{ pcr: 0, type: 8, data: Buffer.from('older') }, ...events.slice(1)], [TPM_ALG_SHA256]);
    expect(codesOf(readEventLog(before, { pcrs: valuesOf([TPM_ALG_SHA256]) }))).toEqual(['PCR_MISMATCH']);
  });
});

test('a userspace log cut off at any byte is read up to there, and said to be incomplete within a record', () => {
  const record = (pcr: number, text: string): string =>
    `\u001e${JSON.stringify({ pcr, digests: [{ hashAlg: 'sha256', digest: 'ab'.repeat(32) }], content: { string: text } })}\n`;
  const whole = Buffer.from(record(11, 'one') + record(12, 'two') + record(13, 'three'));
  const ends = [...whole].flatMap((byte, index) => (byte === 0x0a ? [index] : []));
  for (let length = 0; length < whole.length; length += 1) {
    const { records, complete, findings } = parseUserspaceLog(whole.subarray(0, length));
    const wholeRecords = ends.filter((end) => end <= length).length;
    expect([length, records.length]).toEqual([length, wholeRecords]);
    if (!complete) expect(findings.map(({ code }) => code)).toEqual(['USERSPACE_RECORD_MALFORMED']);
  }
});
