import { createPublicKey } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { encode } from '../../../tpm/codec/structure.ts';
import { subjectPublicKeyInfo } from '../../../tpm/crypto/public-key.ts';
import {
  TPM_ALG_NULL,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ECC_NIST_P256,
} from '../../../tpm/structures/constants.ts';
import { objectAttributes } from '../../../tpm/structures/object-attributes.ts';
import type { ObjectAttribute } from '../../../tpm/structures/object-attributes.ts';
import { makePcrSelection } from '../../../tpm/structures/pcr-selection.ts';
import { encodeSizedPublicArea, makePublicArea } from '../../../tpm/structures/public-area.ts';
import { decodeSignature, TPMT_SIGNATURE } from '../../../tpm/structures/signature.ts';
import { encodeOtherAttest, signAttest } from '../../support/software-tpm.ts';
import type { QuoteFields, SoftwareAk } from '../../support/software-tpm.ts';
import { makeAk } from '../../support/tpm-keys.ts';
import { errorsOf, NONCE, pcrStructures, pcrText, QuoteBench } from '../support/quote-bench.ts';
import type { QuoteParts } from '../support/quote-bench.ts';

let bench: QuoteBench;
const nonce = ['--nonce', NONCE.toString('hex')] as const;

beforeAll(async () => {
  bench = await QuoteBench.open();
});

const spkiOf = (ak: SoftwareAk): Buffer => subjectPublicKeyInfo(ak.publicArea);
const pemOf = (ak: SoftwareAk): string =>
  createPublicKey({ key: spkiOf(ak), format: 'der', type: 'spki' }).export({ type: 'spki', format: 'pem' }) as string;

describe('refused by its own code', () => {
  const attested = (change: Partial<QuoteFields['attested']>) => (truth: QuoteFields) => ({
    ...truth,
    attested: { ...truth.attested, ...change },
  });
  const withAk = (change: (raw: SoftwareAk['publicArea']) => SoftwareAk['publicArea']): QuoteParts => {
    const good = bench.quote();
    return { ...good, ak: encodeSizedPublicArea(change(bench.ak.publicArea)) };
  };
  const withAttributes = (...names: readonly ObjectAttribute[]) =>
    withAk((area) => makePublicArea({ ...area, objectAttributes: objectAttributes(...names) }));
  const all = ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'userWithAuth', 'restricted', 'sign'] as const;
  const without = (name: (typeof all)[number]) => withAttributes(...all.filter((each) => each !== name));

  test.each<[string, string, () => QuoteParts]>([
    ['SIGNATURE_INVALID', 'of another key', () => ({ ...bench.quote(), ak: spkiOf(bench.tpm.createAk()) })],
    [
      'SIGNATURE_NULL',
      'with a null signature',
      () => ({ ...bench.quote(), signature: encode(TPMT_SIGNATURE, { sigAlg: TPM_ALG_NULL }) }),
    ],
    [
      'SIGNATURE_NULL',
      'with a null signature, under a bare key',
      () => ({ ...bench.quote(), ak: pemOf(bench.ak), signature: encode(TPMT_SIGNATURE, { sigAlg: TPM_ALG_NULL }) }),
    ],
    [
      'SIGNATURE_ALGORITHM_MISMATCH',
      'with a signature of another scheme',
      () => {
        const sig = Buffer.alloc(256, 1);
        const signature = encode(TPMT_SIGNATURE, { sigAlg: TPM_ALG_RSASSA, hash: TPM_ALG_SHA256, sig });
        return { ...bench.quote(), signature };
      },
    ],
    [
      'SIGNATURE_ALGORITHM_MISMATCH',
      'with a signature by another hash',
      () => {
        const good = bench.quote();
        const signature = encode(TPMT_SIGNATURE, { ...decodeSignature(good.signature), hash: TPM_ALG_SHA384 } as never);
        return { ...good, signature };
      },
    ],
    ['ATTEST_MAGIC_WRONG', 'of another magic', () => bench.quote((truth) => ({ ...truth, magic: 0x1234 }))],
    [
      'ATTEST_TYPE_WRONG',
      'which is an attested time',
      () => {
        let fields: QuoteFields | undefined;
        const good = bench.quote((truth) => (fields = truth));
        if (fields === undefined) throw new TypeError('nothing was quoted');
        return { ...good, ...signAttest(bench.ak, encodeOtherAttest(0x8019, fields, Buffer.alloc(25))) };
      },
    ],
    [
      'EXTRA_DATA_MISMATCH',
      'for another nonce',
      () => bench.quote((truth) => ({ ...truth, extraData: Buffer.alloc(16) })),
    ],
    [
      'EXTRA_DATA_MISMATCH',
      'for a shorter nonce',
      () => bench.quote((truth) => ({ ...truth, extraData: NONCE.subarray(1) })),
    ],
    ['PCR_SELECTION_EMPTY', 'over no bank', () => bench.quote(attested({ pcrSelect: [] }))],
    [
      'PCR_SELECTION_EMPTY',
      'over no PCR of a bank',
      () => bench.quote(attested({ pcrSelect: [makePcrSelection(TPM_ALG_SHA256, [])] })),
    ],
    [
      'PCR_BANK_DUPLICATE',
      'over a bank twice',
      () => bench.quote(attested({ pcrSelect: [0, 1].map((pcr) => makePcrSelection(TPM_ALG_SHA256, [pcr])) })),
    ],
    ['PCR_DIGEST_MISMATCH', 'over other values', () => bench.quote(attested({ pcrDigest: Buffer.alloc(32) }))],
    [
      'PCR_DIGEST_MISMATCH',
      'with another value of one PCR',
      () => ({ ...bench.quote(), pcrs: pcrText(bench.tpm.read()).replace(/^(sha1 4 .*)..$/m, '$1ff') }),
    ],
    [
      'PCR_VALUE_MISSING',
      'with the values of one bank',
      () => ({ ...bench.quote(), pcrs: pcrText(new Map([...bench.tpm.read()].slice(1))) }),
    ],
    ['AK_NOT_RESTRICTED', 'by a key that is not restricted', () => without('restricted')],
    ['AK_NOT_SIGNING', 'by a key that does not sign', () => without('sign')],
    ['AK_NOT_FIXED_TPM', 'by a key that may leave its TPM', () => without('fixedTPM')],
    ['AK_NOT_FIXED_PARENT', 'by a key that may leave its parent', () => without('fixedParent')],
    ['AK_NOT_GENERATED_IN_TPM', 'by a key that came from outside', () => without('sensitiveDataOrigin')],
    ['AK_DECRYPTS', 'by a key that decrypts', () => withAttributes(...all, 'decrypt')],
    [
      'AK_SCHEME_UNSUPPORTED',
      'by a key without a scheme',
      () =>
        withAk((area) => {
          if (!('curveID' in area.parameters)) throw new TypeError('no elliptic key');
          return makePublicArea({
            ...area,
            parameters: { ...area.parameters, scheme: { scheme: TPM_ALG_NULL } },
          } as never);
        }),
    ],
    [
      'AK_HASH_WEAK',
      'by a key that signs with SHA-1',
      () => {
        const key = makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA1, nameAlg: TPM_ALG_SHA256 });
        return bench.quote(undefined, bench.tpm.adopt(key));
      },
    ],
    [
      'AK_KEY_WEAK',
      'by an RSA key of 1024 bits',
      () => bench.quote(undefined, bench.tpm.adopt(makeAk({ rsaBits: 1024 }, { hashAlg: TPM_ALG_SHA256 }))),
    ],
  ])('%s: %s', async (code, _name, make) => {
    const [exit, report] = await bench.inspect(make(), ...nonce);
    expect([bench.shell.err, exit, errorsOf(report)]).toEqual(['', 1, expect.arrayContaining([code])]);
    expect(report.result === 'refused' || errorsOf(report).length > 0).toBe(true);
    expect(report.pcrs).toBeNull();
    expect(report.checks['pcrDigest']).not.toBe('passed');
  });

  test('nothing is proven where anything but the values failed', async () => {
    const [, report] = await bench.inspect(
      bench.quote((truth) => ({ ...truth, magic: 1 })),
      ...nonce,
    );
    expect(report).toMatchObject({
      result: 'refused',
      pcrs: null,
      checks: { pcrDigest: 'unchecked', signature: 'passed' },
    });
  });
});

describe('never verified', () => {
  const noInternal = expect.not.stringContaining('internal') as unknown;

  test('with any one byte changed', async () => {
    const good = { ...bench.quote(), pcrs: pcrStructures(bench.tpm.read()) };
    for (const part of ['attest', 'signature'] as const) {
      for (let at = 0; at < good[part].length; at += 1) {
        const changed = Buffer.from(good[part]);
        changed.writeUInt8(changed.readUInt8(at) ^ 0x41, at);
        const [exit] = await bench.inspect({ ...good, [part]: changed }, ...nonce);
        expect([part, at, exit, bench.shell.err]).toEqual([part, at, exit === 1 ? 1 : 2, noInternal]);
      }
    }
  });

  test('cut short at any byte', async () => {
    const good = { ...bench.quote(), pcrs: pcrStructures(bench.tpm.read()) };
    for (const part of ['attest', 'signature', 'ak', 'pcrs'] as const) {
      const whole = Buffer.from(good[part] as Buffer);
      for (let length = 0; length < whole.length; length += part === 'pcrs' ? 13 : 1) {
        const [exit] = await bench.inspect({ ...good, [part]: whole.subarray(0, length) }, ...nonce);
        expect([part, length, exit, bench.shell.err]).toEqual([part, length, exit === 1 ? 1 : 2, noInternal]);
      }
    }
  });

  test.each<[string, Partial<QuoteParts>]>([
    ['an empty attest', { attest: Buffer.alloc(0) }],
    ['an attest with bytes after it', { attest: Buffer.alloc(3000, 0xff) }],
    ['no signature', { signature: Buffer.from('junk') }],
    ['no key', { ak: 'junk' }],
    ['an empty key', { ak: '' }],
    ['a key of another kind', { ak: '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n' }],
    ['no PCR values', { pcrs: 'junk' }],
    ['PCR values that are no structure', { pcrs: Buffer.alloc(1200, 0xff) }],
  ])('and exit code 2 for %s', async (_name, change) => {
    const [exit] = await bench.inspect({ ...bench.quote(), ...change }, ...nonce);
    expect([exit, bench.shell.err]).toEqual([2, expect.stringMatching(/^assay: (?!internal)/)]);
  });

  test('with options that contradict each other or are no such thing', async () => {
    for (const options of [
      [...nonce, '--extra-data', '00'],
      ['--nonce', 'xyz'],
      ['--hash', 'md5'],
      ['--scheme', 'none'],
    ]) {
      expect((await bench.inspect(bench.quote(), ...options))[0]).toBe(2);
    }
  });
});
