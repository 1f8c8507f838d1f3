import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { hashAlgorithm } from '../../../tpm/crypto/digest.ts';
import { parseImaAscii } from '../../../tpm/ima/ascii.ts';
import { bootAggregatesOf, checkBootAggregate } from '../../../tpm/ima/boot-aggregate.ts';
import { encodeImaList } from '../../../tpm/ima/encode.ts';
import type { ImaEntry } from '../../../tpm/ima/entry.ts';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import type { ExaminedEntry } from '../../../tpm/ima/examine.ts';
import { ImaKeyring, readImaKeys } from '../../../tpm/ima/keyring.ts';
import { ImaListReader } from '../../../tpm/ima/parse.ts';
import { ImaPcrs } from '../../../tpm/ima/pcrs.ts';
import { replayImaList } from '../../../tpm/ima/replay.ts';
import { hashAlgorithmByName, TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { conformancePath, dataIsHere, measuredBootPath } from '../../support/data.ts';
import { drain } from './read-entries.ts';

const banks = [TPM_ALG_SHA1, TPM_ALG_SHA256].map(hashAlgorithm);

/** Are the template hashes what the data yields? */
function hashesHold(entries: readonly ImaEntry[]): boolean[] {
  const pcrs = new ImaPcrs(banks);
  return entries.map((entry) => pcrs.extend(entry));
}

function pcr10(entries: readonly ImaEntry[]): Record<string, string> {
  const pcrs = new ImaPcrs(banks);
  for (const entry of entries) pcrs.extend(entry);
  return Object.fromEntries(
    pcrs.values().flatMap(({ bank, mode, value }) => (mode === 'bankHash' ? [[bank.name, value.toString('hex')]] : [])),
  );
}

function readPcrs(folder: string): Map<number, Map<number, Buffer>> {
  const banksOf = new Map<number, Map<number, Buffer>>();
  for (const line of readFileSync(measuredBootPath(folder, 'pcrs.txt'), 'utf8').trim().split('\n')) {
    const [name = '', pcr = '', value = ''] = line.split(' ');
    const alg = hashAlgorithmByName(name)?.alg ?? 0;
    banksOf.set(alg, (banksOf.get(alg) ?? new Map<number, Buffer>()).set(Number(pcr), Buffer.from(value, 'hex')));
  }
  return banksOf;
}

/** The values behind a quote as tpm2_quote writes them: TPML_PCR_SELECTION, then lists of at most eight digests, as C structures. */
function readQuotedPcrs(folder: string): readonly Buffer[] {
  const bytes = readFileSync(measuredBootPath(folder, 'quote.pcrs'));
  const lists = bytes.readUInt32LE(132);
  return Array.from({ length: lists }, (_, list) => 136 + list * 532).flatMap((at) =>
    Array.from({ length: bytes.readUInt32LE(at) }, (_, index) => {
      const start = at + 4 + index * 66;
      return bytes.subarray(start + 2, start + 2 + bytes.readUInt16LE(start));
    }),
  );
}

describe.skipIf(!dataIsHere('measured-boot'))('measured boots', () => {
  const boots = [
    ['nosb-kernel-tis', 54],
    ['sb-ms-shim-grub', 54],
    ['debian-systemd-ima', 392],
  ] as const;

  test.each(boots)('%s: the list yields PCR 10 in every bank, SHA-384 by zero-padded SHA-1', (folder, count) => {
    const list = readFileSync(measuredBootPath(folder, 'binary_runtime_measurements'));
    const target = new Map(
      [...readPcrs(folder)].map(([alg, pcrs]) => [alg, new Map([[10, pcrs.get(10) ?? Buffer.alloc(0)]])]),
    );
    const outcome = replayImaList(list, { target });
    if (outcome.kind !== 'matched') throw new Error(outcome.kind);
    expect(outcome.findings).toEqual([]);
    expect(outcome.entries).toHaveLength(count);
    expect(outcome.checkpoint.pcrs.map(({ bank, modes }) => [bank.name, modes])).toEqual([
      ['sha1', ['bankHash']],
      ['sha256', ['bankHash']],
      // The same until there is a violation.
      ['sha384', ['paddedSha1', 'paddedViolations']],
    ]);
    expect(encodeImaList(outcome.entries)).toEqual(list);
  });

  test.each(boots)(
    '%s: PCR 10 of the quote is that of a prefix, from which the list is followed on',
    (folder, count) => {
      const list = readFileSync(measuredBootPath(folder, 'binary_runtime_measurements'));
      const quoted = readQuotedPcrs(folder);
      const message = readFileSync(measuredBootPath(folder, 'quote.msg'));
      // pcrDigest is the last field of a quote.
      expect(createHash('sha256').update(Buffer.concat(quoted)).digest()).toEqual(message.subarray(-32));
      const value = quoted[10] ?? Buffer.alloc(0);
      const outcome = replayImaList(list, { target: new Map([[TPM_ALG_SHA256, new Map([[10, value]])]]) });
      if (outcome.kind !== 'matched') throw new Error(outcome.kind);
      expect(outcome.entries.length).toBeLessThan(count);
      expect(outcome.waitingBytes).toBeGreaterThan(0);
      const { checkpoint } = outcome;
      const target = new Map([
        [TPM_ALG_SHA256, new Map([[10, readPcrs(folder).get(TPM_ALG_SHA256)?.get(10) ?? Buffer.alloc(0)]])],
      ]);
      const next = replayImaList(list.subarray(checkpoint.offset), { target, checkpoint });
      expect(next).toMatchObject({ kind: 'matched', checkpoint: { entries: count } });
    },
  );

  test.each(boots)('%s: the boot aggregate is over PCR 0 to 9, and no entry has an error', (folder) => {
    const reader = new ImaListReader();
    reader.push(readFileSync(measuredBootPath(folder, 'binary_runtime_measurements')));
    const examined = drain(reader).map((entry) => examineEntry(entry, new ImaKeyring([])));
    expect(examined.flatMap(({ findings }) => findings)).toEqual([]);
    const [first] = examined;
    if (first?.measurement === undefined) throw new Error('no entry');
    const result = checkBootAggregate(first.entry, first.measurement.digest, bootAggregatesOf(readPcrs(folder)));
    expect(result).toEqual({ kind: 'matched', algorithm: 'sha256', variant: 'PCR0-9' });
  });
});

interface Vectors {
  readonly valid: readonly string[];
  readonly invalid: readonly string[];
  readonly deviceMapper: readonly string[];
  readonly measurements: readonly string[];
  readonly signatures: readonly string[];
  readonly malformedSignature: readonly string[];
  readonly keyringEntry: readonly string[];
}

describe.skipIf(!dataIsHere('conformance'))('vectors of keylime', () => {
  const vectors = (): Vectors =>
    JSON.parse(readFileSync(conformancePath('derived', 'keylime-ima-vectors.json'), 'utf8')) as Vectors;
  const keyring = (): ImaKeyring =>
    new ImaKeyring([
      ...readImaKeys(readFileSync(conformancePath('keylime+keylime', 'test', 'data', 'ima_keys', 'rsa2048pub.pem'))),
      ...secp256k1(),
    ]);
  // The file holds a private key; its public part is among the vectors.
  const secp256k1 = () => {
    const { imaKeyring } = JSON.parse(readFileSync(conformancePath('derived', 'keylime-ima-vectors.json'), 'utf8')) as {
      imaKeyring: { pubkeys: string[] };
    };
    return imaKeyring.pubkeys.slice(1).flatMap((base64) => readImaKeys(Buffer.from(base64, 'base64')));
  };
  const examineLines = (lines: readonly string[]): readonly ExaminedEntry[] => {
    const { entries, findings } = parseImaAscii(lines.join('\n'));
    expect(findings).toEqual([]);
    expect(entries).toHaveLength(lines.length);
    expect(hashesHold(entries)).not.toContain(false);
    return entries.map((entry) => examineEntry(entry, keyring()));
  };
  const errors = (examined: readonly ExaminedEntry[]) =>
    examined.flatMap(({ findings }) => findings).filter(({ severity }) => severity === 'error');

  test.each([['valid'], ['deviceMapper'], ['measurements'], ['signatures']] as const)(
    '%s lines have the template hashes that they claim',
    (name) => {
      expect(errors(examineLines(vectors()[name]))).toEqual([]);
    },
  );

  test('RSA and secp256k1 signatures verify', () => {
    const examined = examineLines(vectors().signatures);
    expect(examined.map(({ signature }) => (signature.kind === 'valid' ? signature.key.type : signature.kind))).toEqual(
      ['rsa', 'ec'],
    );
  });

  test('signatures do not verify over another digest', () => {
    for (const line of vectors().signatures) {
      const changed = line.replace(/sha256:(..)/, (_, byte: string) => `sha256:${byte === '00' ? '01' : '00'}`);
      const [entry] = parseImaAscii(changed).entries;
      if (entry === undefined) throw new Error('no entry');
      expect(hashesHold([entry])).toEqual([false]);
      expect(examineEntry(entry, keyring()).signature).toMatchObject({ kind: 'invalid', fault: 'VALUE_WRONG' });
    }
  });

  test('a malformed signature is invalid, and its line has another template hash', () => {
    const { entries } = parseImaAscii(vectors().malformedSignature.join('\n'));
    expect(entries.map((entry) => examineEntry(entry, keyring()).signature)).toMatchObject([
      { kind: 'invalid', fault: 'SIZE_MISMATCH' },
    ]);
  });

  test('invalid lines are refused, each', () => {
    for (const line of vectors().invalid) {
      const { entries, findings } = parseImaAscii(line);
      expect(entries).toEqual([]);
      expect(findings).toMatchObject([{ severity: 'error' }]);
    }
  });

  test('device-mapper entries are buffers of that kind', () => {
    expect(examineLines(vectors().deviceMapper).map(({ buffer }) => buffer?.kind)).toEqual(
      Array(15).fill('deviceMapper'),
    );
  });

  test('a key that is added to the .ima keyring is learned', () => {
    expect(examineLines(vectors().keyringEntry)).toMatchObject([
      { learnedKey: { keyring: '.ima', key: { type: 'ec' } } },
    ]);
  });

  test.each([
    ['sha1', [true, true], ['IMA_VIOLATION']],
    ['sha256', [true, true], []],
    ['sha384', [true, true], ['IMA_VIOLATION']],
    ['sha512', [true, true], ['IMA_VIOLATION']],
    ['sm3_256', [true, true], ['IMA_VIOLATION']],
    ['unknown', [true, false], ['IMA_VIOLATION', 'IMA_DIGEST_ALGORITHM_UNKNOWN', 'IMA_DIGEST_ALGORITHM_UNKNOWN']],
  ])('the list with %s digests parses, or is told what it has', (name, holds, codes) => {
    const file = conformancePath('keylime+keylime', 'test', 'data', 'create-runtime-policy', `ima-log-${name}`);
    const { entries, findings } = parseImaAscii(readFileSync(file, 'latin1'));
    expect(findings).toEqual([]);
    expect(hashesHold(entries)).toEqual(holds);
    const made = entries.flatMap((entry) => examineEntry(entry, new ImaKeyring([])).findings);
    expect(made.map(({ code }) => code)).toEqual(codes);
  });
});

describe.skipIf(!dataIsHere('conformance'))('lists of other projects', () => {
  const folder = ['tpm2-software+tpm2-tss', 'test', 'data', 'fapi', 'eventlog'] as const;

  test.each([
    ['sml-ima-ng-sha1.b64', 'ima-ng', 6, 1],
    ['sml-ima-sig-sha256.b64', 'ima-sig', 9, 6],
    // Its one entry lacks the last byte.
    ['sml-ima-ng-sha1-invalidated.b64', 'ima-ng', 0, 86],
  ])('%s holds whole entries and the beginning of another', (name, template, count, pending) => {
    const reader = new ImaListReader();
    reader.push(Buffer.from(readFileSync(conformancePath(...folder, name), 'latin1'), 'base64'));
    const entries = drain(reader);
    expect(entries.map((entry) => entry.template.name)).toEqual(Array(count).fill(template));
    expect(hashesHold(entries)).toEqual(Array(count).fill(true));
    expect([reader.pendingBytes, reader.fault]).toEqual([pending, undefined]);
    reader.push(Buffer.alloc(1));
    const rest = drain(reader);
    expect(rest.map(({ isViolation, pcr }) => [isViolation, pcr])).toEqual(count === 0 ? [[true, 13]] : []);
  });

  test('780 entries of a server yield the values that were computed elsewhere', () => {
    const file = conformancePath('hpe-security-lab+keylime-perf-tests', 'data', 'ima_log.txt');
    const { entries, findings } = parseImaAscii(readFileSync(file, 'latin1'));
    expect(findings).toEqual([]);
    expect(entries).toHaveLength(780);
    expect(hashesHold(entries)).not.toContain(false);
    const values = pcr10(entries);
    expect([values['sha1']?.slice(0, 8), values['sha256']?.slice(0, 8)]).toEqual(['f90a1289', '0a1447c3']);
  });
});
