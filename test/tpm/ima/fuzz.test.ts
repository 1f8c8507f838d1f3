import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { hashAlgorithm } from '../../../tpm/crypto/digest.ts';
import { parseImaAscii } from '../../../tpm/ima/ascii.ts';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import { ImaKeyError, ImaKeyring, readImaKeys } from '../../../tpm/ima/keyring.ts';
import { checkModsig } from '../../../tpm/ima/modsig.ts';
import { ImaListReader } from '../../../tpm/ima/parse.ts';
import { ImaPcrs } from '../../../tpm/ima/pcrs.ts';
import { TPM_ALG_SHA1 } from '../../../tpm/structures/constants.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { digestField, makeList, nameField, number } from './list-builder.ts';
import type { EntryPlan } from './list-builder.ts';
import { drain } from './read-entries.ts';
import { ecSigner, rsaSigner, signV2, signV3 } from './signing.ts';

const rsa = rsaSigner(1024);
const ec = ecSigner('P-256');
// Without the EC key: curve arithmetic would be most of the time, and its inputs are flipped where signatures are tested.
const keyring = new ImaKeyring([rsa.key]);
const digest = hash('sha256', 'content', 'buffer');
const plans: readonly EntryPlan[] = [
  { template: 'ima', fields: [Buffer.alloc(20, 5), Buffer.from('/init')] },
  { template: 'ima-ng', fields: [digestField('sha256', digest), nameField('boot_aggregate')] },
  { template: 'ima-sig', fields: [digestField('sha256', digest), nameField('/a'), signV2(rsa, 'sha256', digest)] },
  {
    template: 'ima-sigv2',
    fields: [digestField('verity:sha256', digest), nameField('/a'), signV3(ec, 'sha256', digest)],
  },
  {
    template: 'ima-buf',
    fields: [digestField('sha256', hash('sha256', rsa.spki, 'buffer')), nameField('.ima'), rsa.spki],
  },
  {
    template: 'ima-modsig',
    fields: [
      digestField('sha256', digest),
      nameField('/a'),
      Buffer.alloc(0),
      digestField('sha256', digest),
      Buffer.from('3006060100', 'hex'),
    ],
  },
  {
    template: 'evm-sig',
    fields: [
      digestField('sha256', digest),
      nameField('/a'),
      signV2(rsa, 'sha256', digest, { type: 5 }),
      nameField('security.ima'),
      number(2, 4),
      Buffer.from('xy'),
      number(0, 4),
      number(0, 4),
      number(0, 2),
    ],
  },
];
const list = makeList(plans);

/** Reads whatever it is to the end and looks at each entry; any exception is the failure. */
function consume(bytes: Buffer): number {
  const reader = new ImaListReader();
  reader.push(bytes);
  const entries = drain(reader);
  const pcrs = new ImaPcrs([hashAlgorithm(TPM_ALG_SHA1)]);
  for (const entry of entries) {
    pcrs.extend(entry);
    examineEntry(entry, keyring);
  }
  expect(reader.offset + reader.pendingBytes).toBe(bytes.length);
  return entries.length;
}

describe('hostile lists', () => {
  test('flipped in any byte never throw', () => {
    for (let at = 0; at < list.length; at += 1) {
      for (const mask of [0x01, 0xff]) {
        const flipped = Buffer.from(list);
        flipped.writeUInt8((list[at] ?? 0) ^ mask, at);
        consume(flipped);
      }
    }
    expect(consume(list)).toBe(plans.length);
  });

  test('cut off anywhere never throw and lose no whole entry', () => {
    for (let length = 0; length < list.length; length += 1) {
      expect(consume(list.subarray(0, length))).toBeLessThan(plans.length);
    }
  });

  test('mixed from their own parts never throw (seed 2026)', () => {
    const random = new SeededRandom(2026);
    for (let round = 0; round < 400; round += 1) {
      const at = random.below(list.length);
      const from = random.below(list.length);
      const part = list.subarray(from, from + random.below(80));
      const kept = random.below(3) === 0 ? list.subarray(0, at) : Buffer.concat([list.subarray(0, at), part]);
      consume(Buffer.concat([kept, list.subarray(at + random.below(40))]));
    }
  });

  test('of random bytes never throw (seed 2027)', () => {
    const random = new SeededRandom(2027);
    for (let round = 0; round < 400; round += 1) consume(random.bytesUpTo(400));
  });
});

describe('hostile texts and keys', () => {
  const lines = plans
    .map((plan) => `10 ${'ab'.repeat(20)} ${plan.template} sha256:${digest.toString('hex')} /a_b_c 00 11 22`)
    .join('\n');

  test('flipped in any character never throw', () => {
    for (let at = 0; at < lines.length; at += 3) {
      for (const character of ['\u0000', ' ', '\n', ':', 'ÿ']) {
        const { entries } = parseImaAscii(lines.slice(0, at) + character + lines.slice(at + 1));
        for (const entry of entries) examineEntry(entry, keyring);
      }
    }
    expect(parseImaAscii(lines).entries.length + parseImaAscii(lines).findings.length).toBe(plans.length);
  });

  test('keys flipped in any byte are read or refused', () => {
    let refused = 0;
    for (let at = 0; at < rsa.spki.length; at += 1) {
      const flipped = Buffer.from(rsa.spki);
      flipped.writeUInt8((rsa.spki[at] ?? 0) ^ 0x81, at);
      try {
        readImaKeys(flipped);
      } catch (error) {
        if (!(error instanceof ImaKeyError)) throw error;
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(10);
  });

  test('messages that nest without end are refused', () => {
    let nested = Buffer.from('0500', 'hex');
    for (let depth = 0; depth < 20_000; depth += 1) {
      const length = nested.length;
      nested = Buffer.concat([
        Buffer.from([0x30, 0x83, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff]),
        nested,
      ]);
    }
    const measured = { algorithm: 'sha256', hash: undefined, of: 'untold', value: digest } as const;
    expect(checkModsig(nested, measured, keyring)).toMatchObject({ kind: 'invalid', fault: 'PKCS7_MALFORMED' });
  });
});
