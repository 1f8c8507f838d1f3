import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { ecdsaSignatureDer } from '../../../tpm/crypto/ecdsa-der.ts';
import { subjectPublicKeyInfo } from '../../../tpm/crypto/public-key.ts';
import {
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ECC_NIST_P384,
} from '../../../tpm/structures/constants.ts';
import { decodeSignature } from '../../../tpm/structures/signature.ts';
import { conformancePath, dataIsHere, measuredBootPath } from '../../support/data.ts';
import { digestOf } from '../../support/software-tpm.ts';
import type { SoftwareAk } from '../../support/software-tpm.ts';
import { makeAk } from '../../support/tpm-keys.ts';
import { errorsOf, NONCE, pcrStructures, QuoteBench } from '../support/quote-bench.ts';
import type { QuoteParts } from '../support/quote-bench.ts';

let bench: QuoteBench;
const nonce = ['--nonce', NONCE.toString('hex')] as const;

beforeAll(async () => {
  bench = await QuoteBench.open();
});

const sized = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
const base64 = (bytes: Buffer | string): string =>
  Buffer.from(bytes as Buffer)
    .toString('base64')
    .replaceAll(/(.{64})/g, '$1\n');
const spkiOf = (ak: SoftwareAk): Buffer => subjectPublicKeyInfo(ak.publicArea);
const pemOf = (ak: SoftwareAk): string =>
  createPublicKey({ key: spkiOf(ak), format: 'der', type: 'spki' }).export({ type: 'spki', format: 'pem' }) as string;

function plain({ signature }: QuoteParts): Buffer {
  const decoded = decodeSignature(signature);
  if ('sig' in decoded) return decoded.sig;
  if ('signatureR' in decoded) return ecdsaSignatureDer(decoded.signatureR, decoded.signatureS);
  throw new TypeError('no signature');
}

describe('a quote over two banks verifies', () => {
  test.each<[string, (good: QuoteParts) => QuoteParts]>([
    ['as it is', (good) => good],
    ['with TPM2B_ATTEST', (good) => ({ ...good, attest: sized(good.attest) })],
    ['with TPMT_PUBLIC', (good) => ({ ...good, ak: bench.ak.publicArea.raw })],
    ['under a bare key in PEM', (good) => ({ ...good, ak: `a comment\n${pemOf(bench.ak)}` })],
    ['under a bare key in DER', (good) => ({ ...good, ak: spkiOf(bench.ak) })],
    ['with the signature in DER', (good) => ({ ...good, signature: plain(good) })],
    [
      'with the signature in DER, under a bare key',
      (good) => ({ ...good, ak: pemOf(bench.ak), signature: plain(good) }),
    ],
    [
      'with r and s alone',
      (good) => {
        const { signatureR = Buffer.alloc(0), signatureS = Buffer.alloc(0) } = decodeSignature(good.signature) as {
          readonly signatureR?: Buffer;
          readonly signatureS?: Buffer;
        };
        return { ...good, signature: Buffer.concat([signatureR, signatureS]) };
      },
    ],
    ['with the PCR file of tpm2_quote', (good) => ({ ...good, pcrs: pcrStructures(bench.tpm.read()) })],
    [
      'with PCR values alone, one after another',
      (good) => ({
        ...good,
        pcrs: Buffer.concat([...bench.tpm.read().values()].flatMap((bank) => [...bank.values()])),
      }),
    ],
    [
      'in base64',
      ({ attest, signature, ak, pcrs = '' }) => ({
        attest: Buffer.from(base64(attest)),
        signature: Buffer.from(base64(signature)),
        ak: base64(ak),
        pcrs,
      }),
    ],
  ])('%s', async (_name, change) => {
    const [exit, report] = await bench.inspect(change(bench.quote()), ...nonce);
    expect([bench.shell.err, exit, errorsOf(report)]).toEqual(['', 0, []]);
    expect(report.checks).toEqual({
      ak: 'passed',
      signature: 'passed',
      magic: 'passed',
      type: 'passed',
      extraData: 'passed',
      selection: 'passed',
      pcrDigest: 'passed',
    });
    expect(Object.keys(report.pcrs ?? {})).toEqual(['sha1', 'sha256']);
    expect(report.pcrs?.['sha1']?.['7']).toBe(bench.tpm.read().get(TPM_ALG_SHA1)?.get(7)?.toString('hex'));
  });

  test.each([
    ['rsassa', TPM_ALG_RSASSA],
    ['rsapss', TPM_ALG_RSAPSS],
  ] as const)('signed by %s, as TPMT_SIGNATURE and bare', async (name, rsaScheme) => {
    const ak = bench.tpm.adopt(makeAk({ rsaBits: 2048 }, { hashAlg: TPM_ALG_SHA256, rsaScheme }));
    const good = bench.quote(undefined, ak);
    expect((await bench.inspect(good, ...nonce))[0]).toBe(0);
    expect((await bench.inspect({ ...good, signature: plain(good) }, ...nonce))[0]).toBe(0);
    const bare = { ...good, ak: pemOf(ak), signature: plain(good) };
    expect((await bench.inspect(bare, ...nonce, '--scheme', name))[0]).toBe(0);
    const other = name === 'rsassa' ? 'rsapss' : 'rsassa';
    expect((await bench.inspect(bare, ...nonce, '--scheme', other))[0]).toBe(1);
  });

  test('whose digest is by the signing hash, not by a hash of a bank', async () => {
    const ak = bench.tpm.adopt(makeAk({ curveID: TPM_ECC_NIST_P384 }, { hashAlg: TPM_ALG_SHA384 }));
    expect((await bench.inspect(bench.quote(undefined, ak), ...nonce))[0]).toBe(0);
    const byBank = bench.quote(
      (truth) => ({
        ...truth,
        attested: { ...truth.attested, pcrDigest: digestOf(bench.ak, truth.attested.pcrSelect, bench.tpm.read()) },
      }),
      ak,
    );
    expect(errorsOf((await bench.inspect(byBank, ...nonce))[1])).toEqual(['PCR_DIGEST_MISMATCH']);
    const bare = { ...bench.quote(undefined, ak), ak: pemOf(ak) };
    const signature = plain(bare);
    expect((await bench.inspect({ ...bare, signature }, ...nonce, '--hash', 'sha384'))[0]).toBe(0);
    expect((await bench.inspect({ ...bare, signature }, ...nonce))[0]).toBe(1);
  });
});

test('JSON has the documented parts, and text says what was attested', async () => {
  const good = bench.quote();
  const [, report] = await bench.inspect(good);
  expect(Object.keys(report)).toEqual(['result', 'checks', 'attest', 'ak', 'signature', 'pcrs', 'findings']);
  expect(report).toMatchObject({
    result: 'verified',
    checks: { extraData: 'unchecked' },
    attest: {
      magic: 'ff544347',
      type: 'TPM_ST_ATTEST_QUOTE',
      qualifiedSigner: bench.ak.qualifiedName.toString('hex'),
      extraData: NONCE.toString('hex'),
      clock: String(bench.tpm.clockInfo.clock),
      resetCount: 3,
      restartCount: 1,
      safe: true,
      firmwareVersion: '0x2020010100000000',
      selection: { sha1: Array.from({ length: 24 }, (_, pcr) => pcr), sha256: expect.any(Array) as unknown },
    },
    ak: { form: 'tpm2b-public', type: 'ecc P-256', name: bench.ak.name.toString('hex') },
    signature: { form: 'tpmt-signature', scheme: 'ecdsa', hash: 'sha256' },
    findings: [{ code: 'EXTRA_DATA_UNCHECKED', severity: 'warning' }],
  });
  bench.shell.out = '';
  await bench.shell.assay('inspect', 'quote', '--attest', 'attest', '--signature', 'signature', '--ak', 'ak');
  expect(bench.shell.out).toMatch(/resets, restarts: +3, 1\n/);
  expect(bench.shell.out).toMatch(/PCR values: +unchecked\n/);
  expect(bench.shell.out).toMatch(/info +PCR_VALUES_ABSENT/);
});

describe.skipIf(!dataIsHere('measured-boot'))('the quote of a real boot', () => {
  test.each(['nosb-kernel-tis', 'sb-ms-shim-grub', 'debian-systemd-ima'])(
    '%s verifies with its values',
    async (folder) => {
      const file = (name: string) => readFileSync(measuredBootPath(folder, name));
      const parts = {
        attest: file('quote.msg'),
        signature: file('quote.sig'),
        ak: file('ak.pem'),
        pcrs: file('quote.pcrs'),
      };
      const [exit, report] = await bench.inspect(parts, ...nonce);
      expect([exit, report.result, Object.keys(report.pcrs?.['sha256'] ?? {}).length]).toEqual([0, 'verified', 15]);
      // PCR 10 moved on before all banks were read.
      const [later, moved] = await bench.inspect({ ...parts, pcrs: file('pcrs.txt') }, ...nonce);
      expect([later, errorsOf(moved)]).toEqual([1, ['PCR_DIGEST_MISMATCH']]);
    },
  );
});

describe.skipIf(!dataIsHere('conformance'))('the quote of an old TPM', () => {
  test('verifies with the values of its file', async () => {
    const file = (name: string) => readFileSync(conformancePath('keylime+keylime', 'test-data', 'files', name));
    const parts = {
      attest: file('quote.out'),
      signature: file('quotesig.out'),
      ak: file('ak.pub'),
      pcrs: file('quotepcr.out'),
    };
    const [exit, report] = await bench.inspect(parts);
    expect([exit, Object.keys(report.pcrs?.['sha256'] ?? {})]).toEqual([0, ['15', '16', '22']]);
    expect((await bench.inspect({ ...parts, ak: file('akpub.pem') }))[0]).toBe(0);
  });
});
