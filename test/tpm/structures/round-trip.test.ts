import { describe, expect, it } from 'vitest';

import { CodecError } from '../../../tpm/codec/codec-error.ts';
import { decode, encode } from '../../../tpm/codec/structure.ts';
import type { Structure } from '../../../tpm/codec/structure.ts';
import { TPMS_ATTEST, decodeAttest } from '../../../tpm/structures/attest.ts';
import { TPMS_CAPABILITY_DATA } from '../../../tpm/structures/capability.ts';
import {
  TPM_ALG_AES,
  TPM_ALG_CFB,
  TPM_ALG_ECC,
  TPM_ALG_ECDAA,
  TPM_ALG_ECDSA,
  TPM_ALG_HMAC,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_MGF1,
  TPM_ALG_NULL,
  TPM_ALG_OAEP,
  TPM_ALG_RSA,
  TPM_ALG_RSAES,
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ALG_SM4,
  TPM_ALG_SYMCIPHER,
  TPM_ALG_XOR,
  TPM_CAP_PCRS,
  TPM_ST_ATTEST_QUOTE,
  TPM_ST_ATTEST_SESSION_AUDIT,
} from '../../../tpm/structures/constants.ts';
import { TPM2B_ENCRYPTED_SECRET, TPM2B_ID_OBJECT } from '../../../tpm/structures/credential.ts';
import { TPML_PCR_SELECTION } from '../../../tpm/structures/pcr-selection.ts';
import { TPM2B_PUBLIC, TPMT_PUBLIC } from '../../../tpm/structures/public-area.ts';
import type { TPMT_ECC_SCHEME, TPMT_RSA_SCHEME, TPMT_SYM_DEF_OBJECT } from '../../../tpm/structures/schemes.ts';
import { TPMT_SIGNATURE } from '../../../tpm/structures/signature.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

const ROUNDS = 60;

/** A structure with a maker of random values, its type closed over so that all can stand in one table. */
interface Subject {
  readonly name: string;
  readonly roundTrip: (random: SeededRandom) => {
    readonly value: unknown;
    readonly bytes: Buffer;
    readonly again: unknown;
  };
  readonly decode: (bytes: Buffer) => unknown;
  readonly encode: (value: unknown) => Buffer;
}

function subject<T>(name: string, structure: Structure<T>, make: (random: SeededRandom) => T): Subject {
  return {
    name,
    roundTrip(random) {
      const value = make(random);
      const bytes = encode(structure, value);
      return { value, bytes, again: decode(structure, bytes) };
    },
    decode: (bytes) => decode(structure, bytes),
    encode: (value) => encode(structure as Structure<unknown>, value),
  };
}

function selection(random: SeededRandom): TPML_PCR_SELECTION {
  return Array.from({ length: random.below(5) }, () => ({
    hash: random.below(0x10000),
    pcrSelect: random.bytesUpTo(4),
  }));
}

function symmetric(random: SeededRandom): TPMT_SYM_DEF_OBJECT {
  return random.pick<TPMT_SYM_DEF_OBJECT>([
    { algorithm: TPM_ALG_NULL },
    { algorithm: TPM_ALG_AES, keyBits: random.pick([128, 256]), mode: TPM_ALG_CFB },
    { algorithm: TPM_ALG_SM4, keyBits: 128, mode: TPM_ALG_CFB },
  ]);
}

function rsaScheme(random: SeededRandom): TPMT_RSA_SCHEME {
  return random.pick<TPMT_RSA_SCHEME>([
    { scheme: TPM_ALG_NULL },
    { scheme: TPM_ALG_RSASSA, hashAlg: TPM_ALG_SHA256 },
    { scheme: TPM_ALG_RSAPSS, hashAlg: TPM_ALG_SHA384 },
    { scheme: TPM_ALG_RSAES },
    { scheme: TPM_ALG_OAEP, hashAlg: TPM_ALG_SHA256 },
  ]);
}

function eccScheme(random: SeededRandom): TPMT_ECC_SCHEME {
  return random.pick<TPMT_ECC_SCHEME>([
    { scheme: TPM_ALG_NULL },
    { scheme: TPM_ALG_ECDSA, hashAlg: TPM_ALG_SHA384 },
    { scheme: TPM_ALG_ECDAA, hashAlg: TPM_ALG_SHA256, count: random.below(0x10000) },
  ]);
}

function publicArea(random: SeededRandom): TPMT_PUBLIC {
  const common = {
    nameAlg: random.below(0x10000),
    objectAttributes: random.uint32(),
    authPolicy: random.bytesUpTo(64),
  };
  const keyBits = random.pick([2048, 3072, 4096]);
  return random.pick<TPMT_PUBLIC>([
    {
      type: TPM_ALG_RSA,
      ...common,
      parameters: { symmetric: symmetric(random), scheme: rsaScheme(random), keyBits, exponent: random.uint32() },
      unique: random.bytesUpTo(512),
    },
    {
      type: TPM_ALG_ECC,
      ...common,
      parameters: {
        symmetric: symmetric(random),
        scheme: eccScheme(random),
        curveID: random.below(0x10000),
        kdf: random.pick([{ scheme: TPM_ALG_NULL }, { scheme: TPM_ALG_MGF1, hashAlg: TPM_ALG_SHA256 }]),
      },
      unique: { x: random.bytesUpTo(66), y: random.bytesUpTo(66) },
    },
    {
      type: TPM_ALG_KEYEDHASH,
      ...common,
      parameters: random.pick([
        { scheme: TPM_ALG_NULL },
        { scheme: TPM_ALG_HMAC, hashAlg: TPM_ALG_SHA256 },
        { scheme: TPM_ALG_XOR, hashAlg: TPM_ALG_SHA256, kdf: TPM_ALG_MGF1 },
      ]),
      unique: random.bytesUpTo(64),
    },
    { type: TPM_ALG_SYMCIPHER, ...common, parameters: symmetric(random), unique: random.bytesUpTo(64) },
  ]);
}

function attest(random: SeededRandom): TPMS_ATTEST {
  const common = {
    magic: random.uint32(),
    qualifiedSigner: random.bytesUpTo(66),
    extraData: random.bytesUpTo(66),
    clockInfo: {
      clock: random.bytes(8).readBigUInt64BE(),
      resetCount: random.uint32(),
      restartCount: random.uint32(),
      safe: random.below(2) === 1,
    },
    firmwareVersion: random.bytes(8).readBigUInt64BE(),
  };
  const digest = random.bytesUpTo(64);
  return random.pick<TPMS_ATTEST>([
    { ...common, type: TPM_ST_ATTEST_QUOTE, attested: { pcrSelect: selection(random), pcrDigest: digest } },
    {
      ...common,
      type: TPM_ST_ATTEST_SESSION_AUDIT,
      attested: { exclusiveSession: random.below(2) === 1, sessionDigest: digest },
    },
  ]);
}

function signature(random: SeededRandom): TPMT_SIGNATURE {
  return random.pick<TPMT_SIGNATURE>([
    { sigAlg: TPM_ALG_NULL },
    { sigAlg: TPM_ALG_RSASSA, hash: random.below(0x10000), sig: random.bytesUpTo(512) },
    { sigAlg: TPM_ALG_RSAPSS, hash: random.below(0x10000), sig: random.bytesUpTo(512) },
    {
      sigAlg: TPM_ALG_ECDSA,
      hash: random.below(0x10000),
      signatureR: random.bytesUpTo(66),
      signatureS: random.bytesUpTo(66),
    },
  ]);
}

const SUBJECTS: readonly Subject[] = [
  subject('TPMT_PUBLIC', TPMT_PUBLIC, publicArea),
  subject('TPM2B_PUBLIC', TPM2B_PUBLIC, publicArea),
  subject('TPMS_ATTEST', TPMS_ATTEST, attest),
  subject('TPMT_SIGNATURE', TPMT_SIGNATURE, signature),
  subject('TPML_PCR_SELECTION', TPML_PCR_SELECTION, selection),
  subject('TPMS_CAPABILITY_DATA', TPMS_CAPABILITY_DATA, (random) => ({
    capability: TPM_CAP_PCRS,
    assignedPCR: selection(random),
  })),
  subject('TPM2B_ID_OBJECT', TPM2B_ID_OBJECT, (random) => ({
    integrityHMAC: random.bytesUpTo(64),
    encIdentity: random.bytesUpTo(66),
  })),
  subject('TPM2B_ENCRYPTED_SECRET', TPM2B_ENCRYPTED_SECRET, (random) => random.bytesUpTo(512)),
];

describe.each(SUBJECTS)('$name', ({ roundTrip, decode: decodeSubject, encode: encodeSubject }) => {
  it('decodes what it encoded', () => {
    const random = new SeededRandom(1);
    for (let round = 0; round < ROUNDS; round++) {
      const { value, again } = roundTrip(random);
      expect(again).toEqual(value);
    }
  });

  it('refuses every truncation and a trailing byte', () => {
    const random = new SeededRandom(2);
    for (let round = 0; round < ROUNDS / 6; round++) {
      const { bytes } = roundTrip(random);
      for (let length = 0; length < bytes.length; length++) {
        expect(() => decodeSubject(bytes.subarray(0, length))).toThrow(CodecError);
      }
      expect(() => decodeSubject(Buffer.concat([bytes, Buffer.from([random.below(256)])]))).toThrow(CodecError);
    }
  });

  it('meets random and damaged bytes with a CodecError or a value that encodes to the same bytes', () => {
    const random = new SeededRandom(3);
    let refused = 0;
    for (let round = 0; round < 20 * ROUNDS; round++) {
      const bytes = round % 2 === 0 ? random.bytesUpTo(120) : damaged(roundTrip(random).bytes, random);
      let value: unknown;
      try {
        value = decodeSubject(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(CodecError);
        refused++;
        continue;
      }
      expect(encodeSubject(value)).toEqual(bytes);
    }
    expect(refused).toBeGreaterThan(0);
  });
});

describe('decodeAttest', () => {
  it('meets random bytes of every statement type with a CodecError or a value of a known kind', () => {
    const random = new SeededRandom(4);
    const kinds = new Set<string>();
    for (let round = 0; round < 20 * ROUNDS; round++) {
      const bytes = damaged(encode(TPMS_ATTEST, attest(random)), random);
      try {
        kinds.add(decodeAttest(bytes).kind);
      } catch (error) {
        expect(error).toBeInstanceOf(CodecError);
      }
    }
    expect([...kinds].toSorted()).toEqual(['other', 'quote', 'sessionAudit']);
  });
});

function damaged(bytes: Buffer, random: SeededRandom): Buffer {
  const copy = Buffer.from(bytes);
  if (copy.length > 0) {
    const at = random.below(Math.min(copy.length, 40));
    copy[at] = random.below(256);
  }
  return copy;
}
