import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { objectName } from '../../../tpm/crypto/name.ts';
import { provePcrValues } from '../../../tpm/crypto/pcr.ts';
import type { PcrValues } from '../../../tpm/crypto/pcr.ts';
import { makeSigningKey, signingKeyOf, verifySignature } from '../../../tpm/crypto/verify-signature.ts';
import type { SigningKey } from '../../../tpm/crypto/verify-signature.ts';
import { decodeAttest } from '../../../tpm/structures/attest.ts';
import type { QuoteAttest } from '../../../tpm/structures/attest.ts';
import {
  TPM_ALG_ECDSA,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  hashAlgorithmByName,
} from '../../../tpm/structures/constants.ts';
import { formatPcrSelection, selectedBanks } from '../../../tpm/structures/pcr-selection.ts';
import { decodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import { decodeSignature } from '../../../tpm/structures/signature.ts';
import { conformancePath, measuredBootPath } from '../../support/data.ts';
import { gceQuotes } from '../../support/gce-quotes.ts';

function verifiedQuote(signer: SigningKey, message: Buffer, signature: Buffer): QuoteAttest {
  const attest = decodeAttest(verifySignature(signer, message, decodeSignature(signature)).message);
  if (attest.kind !== 'quote') {
    throw new Error('statement is no quote');
  }
  return attest;
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}

describe('quotes of measured boots', () => {
  /** `bank index VALUE` by line, cut down to what was quoted. */
  function pcrValues(folder: string, quote: QuoteAttest): PcrValues {
    const quoted = new Map(selectedBanks(quote.attested.pcrSelect).map(({ hash, pcrs }) => [hash, new Set(pcrs)]));
    const values = new Map<number, Map<number, Buffer>>();
    for (const line of readFileSync(measuredBootPath(folder, 'pcrs.txt'), 'utf8').trim().split('\n')) {
      const [bank = '', index, hex = ''] = line.split(' ');
      const hash = hashAlgorithmByName(bank)?.alg ?? 0;
      if (quoted.get(hash)?.has(Number(index)) === true) {
        values.set(hash, (values.get(hash) ?? new Map<number, Buffer>()).set(Number(index), Buffer.from(hex, 'hex')));
      }
    }
    return values;
  }

  /** PCR 10 as it was when quoted, from the output of tpm2_checkquote. */
  function quotedPcr10(folder: string): Buffer {
    const line = readFileSync(measuredBootPath(folder, 'quote.txt'), 'utf8').match(/^\s+10: 0x([0-9A-F]{64})$/m);
    return Buffer.from(line?.[1] ?? '', 'hex');
  }

  it.each(['nosb-kernel-tis', 'sb-ms-shim-grub', 'debian-systemd-ima'])(
    'of %s verify and prove their PCRs',
    (folder) => {
      const file = (name: string) => readFileSync(measuredBootPath(folder, name));
      const signer = makeSigningKey(createPublicKey(file('ak.pem')), TPM_ALG_ECDSA, TPM_ALG_SHA256);
      const [message, signature] = [file('quote.msg'), file('quote.sig')];
      const quote = verifiedQuote(signer, message, signature);
      const values = new Map([...pcrValues(folder, quote)].map(([hash, bank]) => [hash, new Map(bank)]));
      // PCR 10 moved on between the quote and the listing of all banks.
      values.get(TPM_ALG_SHA256)?.set(10, quotedPcr10(folder));
      const proven = provePcrValues(quote.attested, values, TPM_ALG_SHA256);
      expect(proven.get(TPM_ALG_SHA256)?.size).toBe(15);
      for (let at = 0; at < message.length; at++) {
        expect(() => verifiedQuote(signer, flipped(message, at), signature)).toThrow(
          expect.objectContaining({ code: 'SIGNATURE_INVALID' }),
        );
      }
    },
  );
});

describe('keylime’s quote', () => {
  // keylime (Apache-2.0), tpm_util_test.py: PCR 16 of the SHA-256 bank, RSASSA with SHA-256.
  const { quote: vector } = JSON.parse(
    readFileSync(conformancePath('derived', 'keylime-tpm-util-vectors.json'), 'utf8'),
  ) as { readonly quote: Readonly<Record<string, string>> };
  const hex = (field: string) => Buffer.from(vector[field] ?? '', 'hex');
  const signer = makeSigningKey(createPublicKey(vector['akPem'] ?? ''), TPM_ALG_RSASSA, TPM_ALG_SHA256);
  const pcrBlob = hex('tpm2toolsPcrBlobHex');
  const pcr16 = pcrBlob.subarray(pcrBlob.indexOf('d471c0674951f0ef', 0, 'hex')).subarray(0, 32);

  it('verifies, answers its nonce and proves its PCR', () => {
    const quote = verifiedQuote(signer, hex('tpmsAttestHex'), hex('tpmtSignatureHex'));
    expect(quote.extraData.toString()).toBe(vector['nonceUtf8']);
    expect(formatPcrSelection(quote.attested.pcrSelect)).toBe('sha256:16');
    const values = new Map([[TPM_ALG_SHA256, new Map([[16, pcr16]])]]);
    expect(provePcrValues(quote.attested, values, TPM_ALG_SHA256).get(TPM_ALG_SHA256)?.get(16)).toBe(pcr16);
    expect(() =>
      provePcrValues(quote.attested, new Map([[TPM_ALG_SHA256, new Map([[16, flipped(pcr16, 5)]])]]), TPM_ALG_SHA256),
    ).toThrow(expect.objectContaining({ code: 'PCR_DIGEST_MISMATCH' }));
  });

  it('is refused after the changes that keylime refuses', () => {
    const [message, signature] = [hex('tpmsAttestHex'), hex('tpmtSignatureHex')];
    expect(() => verifiedQuote(signer, flipped(message, 5), signature)).toThrow(
      expect.objectContaining({ code: 'SIGNATURE_INVALID' }),
    );
    const sha1Signer = makeSigningKey(createPublicKey(vector['akPem'] ?? ''), TPM_ALG_RSASSA, TPM_ALG_SHA1);
    expect(() => verifiedQuote(sha1Signer, message, signature)).toThrow(
      expect.objectContaining({ code: 'SIGNATURE_HASH_MISMATCH' }),
    );
  });

  it('of its stored files verifies under the stored attestation key', () => {
    const file = (name: string) => readFileSync(conformancePath('keylime+keylime', 'test-data', 'files', name));
    const ak = decodeSizedPublicArea(file('ak.pub'));
    const quote = verifiedQuote(signingKeyOf(ak), file('quote.out'), file('quotesig.out'));
    expect(objectName(ak)).toEqual(file('ak.name'));
    expect(formatPcrSelection(quote.attested.pcrSelect)).toBe('sha256:15,16,22');
    // tpm2-tools writes C structures: 136 bytes before the first TPML_DIGEST, its count, then 66 bytes for each digest.
    const values = [15, 16, 22].map((pcr, index) => {
      const at = 136 + 4 + index * 66 + 2;
      return [pcr, file('quotepcr.out').subarray(at, at + 32)] as const;
    });
    const proven = provePcrValues(quote.attested, new Map([[TPM_ALG_SHA256, new Map(values)]]), TPM_ALG_SHA256);
    expect(proven.get(TPM_ALG_SHA256)?.size).toBe(3);
  });
});

describe('quotes of a GCE instance', () => {
  it('over three banks verify and prove their PCRs with the signing hash', () => {
    const banks = ['sha1', 'sha256', 'sha384'].map((bank) => {
      const { akPublic, attest, signature, pcrs } = gceQuotes(bank);
      const quote = verifiedQuote(signingKeyOf(akPublic), attest, signature);
      expect(quote.extraData.toString('hex')).toBe('9009');
      return [...provePcrValues(quote.attested, pcrs, TPM_ALG_SHA256).keys()];
    });
    expect(banks.flat().toSorted((a, b) => a - b)).toEqual([TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384]);
  });
});
