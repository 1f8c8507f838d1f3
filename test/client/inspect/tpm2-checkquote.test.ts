import { spawnSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inspectQuote } from '../../../client/inspect/quote.ts';
import { UsageError } from '../../../client/failure.ts';
import { hasErrors } from '../../../client/inspect/offline-finding.ts';
import { decodeAttest } from '../../../tpm/structures/attest.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { makePcrSelection } from '../../../tpm/structures/pcr-selection.ts';
import { encodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import { conformancePath, dataIsHere, measuredBootPath } from '../../support/data.ts';
import { gceQuotes } from '../../support/gce-quotes.ts';
import { SoftwareTpm, encodeOtherAttest, signAttest } from '../../support/software-tpm.ts';
import type { QuoteFields } from '../../support/software-tpm.ts';
import { startSwtpm } from '../../support/swtpm.ts';
import type { Swtpm } from '../../support/swtpm.ts';
import { pcrStructures } from '../support/quote-bench.ts';

/** A quote as files, and what its extraData is. */
interface SavedQuote {
  readonly attest: Buffer;
  readonly signature: Buffer;
  readonly ak: Buffer;
  readonly pcrs: Buffer;
  readonly nonce: Buffer;
}

type Verdict = 'verified' | 'refused';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'assay-checkquote-'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function judgedByTool({ attest, signature, ak, pcrs, nonce }: SavedQuote): Verdict {
  const file = (name: string, bytes: Buffer): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const isPem = ak.includes('-----BEGIN');
  const args = [
    ...['-u', file(isPem ? 'ak.pem' : 'ak.pub', ak), '-m', file('attest', attest), '-s', file('signature', signature)],
    ...['-f', file('pcrs', pcrs), '-g', 'sha256', '-q', nonce.toString('hex')],
  ];
  const { status, error } = spawnSync('tpm2_checkquote', args, { encoding: 'latin1' });
  if (error !== undefined) throw error;
  return status === 0 ? 'verified' : 'refused';
}

function judgedHere({ attest, signature, ak, pcrs, nonce }: SavedQuote): Verdict {
  const named = (name: string, bytes: Buffer) => ({ name, bytes });
  try {
    const { verified, findings } = inspectQuote({
      attest: named('attest', attest),
      signature: named('signature', signature),
      ak: named('ak', ak),
      pcrs: named('pcrs', pcrs),
      extraData: nonce,
    });
    return verified === null || verified.pcrs === null || hasErrors(findings) ? 'refused' : 'verified';
  } catch (error) {
    if (error instanceof UsageError) return 'refused';
    throw error;
  }
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}

/** Where the first value stands in the file of tpm2_quote. */
const FIRST_VALUE = 4 + 16 * 8 + 4 + 4 + 2;

/** What is changed of a quote that both verify; both must refuse it. */
const TAMPERS: readonly (readonly [string, (good: SavedQuote) => SavedQuote])[] = [
  ['the nonce', (good) => ({ ...good, nonce: flipped(good.nonce, 0) })],
  ['a longer nonce', (good) => ({ ...good, nonce: Buffer.concat([good.nonce, Buffer.from([0])]) })],
  ['the magic', (good) => ({ ...good, attest: flipped(good.attest, 0) })],
  ['the type', (good) => ({ ...good, attest: flipped(good.attest, 5) })],
  ['the qualified signer', (good) => ({ ...good, attest: flipped(good.attest, 12) })],
  ['the clock', (good) => ({ ...good, attest: flipped(good.attest, 45 + good.nonce.length) })],
  ['the digest', (good) => ({ ...good, attest: flipped(good.attest, good.attest.length - 1) })],
  ['the signature', (good) => ({ ...good, signature: flipped(good.signature, good.signature.length - 1) })],
  ['a signature that is cut short', (good) => ({ ...good, signature: good.signature.subarray(0, -1) })],
  ['an attest that is cut short', (good) => ({ ...good, attest: good.attest.subarray(0, -1) })],
  ['a PCR value', (good) => ({ ...good, pcrs: flipped(good.pcrs, FIRST_VALUE) })],
  ['a PCR file that is cut short', (good) => ({ ...good, pcrs: good.pcrs.subarray(0, -1) })],
];

function bothSay(quote: SavedQuote): readonly Verdict[] {
  return [judgedByTool(quote), judgedHere(quote)];
}

function compare(load: () => SavedQuote): void {
  test('verifies on both sides', () => {
    expect(bothSay(load())).toEqual(['verified', 'verified']);
  });

  test.each(TAMPERS)('with %s changed is refused on both sides', (_name, tamper) => {
    expect(bothSay(tamper(load()))).toEqual(['refused', 'refused']);
  });
}

describe.skipIf(!dataIsHere('measured-boot'))('the quote of a measured boot', () => {
  describe.each(['nosb-kernel-tis', 'sb-ms-shim-grub', 'debian-systemd-ima'])('%s', (boot) => {
    const file = (name: string) => readFileSync(measuredBootPath(boot, name));
    compare(() => ({
      attest: file('quote.msg'),
      signature: file('quote.sig'),
      ak: file('ak.pem'),
      pcrs: file('quote.pcrs'),
      nonce: Buffer.from('00112233445566778899aabbccddeeff', 'hex'),
    }));
  });
});

describe.skipIf(!dataIsHere('conformance'))('quotes of others', () => {
  describe('of the stored files of keylime', () => {
    const file = (name: string) => readFileSync(conformancePath('keylime+keylime', 'test-data', 'files', name));
    compare(() => ({
      attest: file('quote.out'),
      signature: file('quotesig.out'),
      ak: file('ak.pub'),
      pcrs: file('quotepcr.out'),
      nonce: decodeAttest(file('quote.out')).extraData,
    }));
  });

  describe('of keylime’s test of its verifier', () => {
    const { quote } = JSON.parse(readFileSync(conformancePath('derived', 'keylime-tpm-util-vectors.json'), 'utf8')) as {
      readonly quote: Readonly<Record<string, string>>;
    };
    const hex = (field: string) => Buffer.from(quote[field] ?? '', 'hex');
    compare(() => ({
      attest: hex('tpmsAttestHex'),
      signature: hex('tpmtSignatureHex'),
      ak: Buffer.from(quote['akPem'] ?? ''),
      pcrs: hex('tpm2toolsPcrBlobHex'),
      nonce: Buffer.from(quote['nonceUtf8'] ?? ''),
    }));
  });

  describe.each(['sha1', 'sha256', 'sha384'])('of a GCE instance over %s', (bank) => {
    compare(() => {
      const { attest, signature, akPublic, pcrs } = gceQuotes(bank);
      const nonce = Buffer.from('9009', 'hex');
      return { attest, signature, ak: encodeSizedPublicArea(akPublic), pcrs: pcrStructures(pcrs), nonce };
    });
  });
});

describe('a quote over two banks of a real TPM, as tpm2_quote saves it', () => {
  let swtpm: Swtpm;
  let quote: SavedQuote;

  beforeAll(async () => {
    swtpm = await startSwtpm({ banks: 'sha1,sha256', ekCertificates: false });
    const path = (name: string) => join(swtpm.directory, name);
    const tool = (name: string, ...args: readonly string[]): void => {
      const env = { ...process.env, TPM2TOOLS_TCTI: swtpm.tcti };
      const { status, stderr } = spawnSync(name, args, { env, encoding: 'utf8' });
      if (status !== 0) throw new Error(`${name}: ${stderr}`);
    };
    tool('tpm2_createek', '-c', path('ek.ctx'), '-G', 'ecc', '-u', path('ek.pub'));
    tool('tpm2_flushcontext', '-t');
    tool(
      'tpm2_createak',
      ...['-C', path('ek.ctx'), '-c', path('ak.ctx'), '-G', 'ecc', '-g', 'sha256', '-s', 'ecdsa', '-u', path('ak.pub')],
    );
    tool('tpm2_flushcontext', '-t');
    tool('tpm2_pcrextend', `4:sha1=${'11'.repeat(20)},sha256=${'22'.repeat(32)}`);
    tool(
      'tpm2_quote',
      ...['-c', path('ak.ctx'), '-l', 'sha1:0,4,7+sha256:all', '-q', 'c0ffee', '-g', 'sha256'],
      ...['-m', path('quote.msg'), '-s', path('quote.sig'), '-o', path('quote.pcrs')],
    );
    const file = (name: string) => readFileSync(path(name));
    quote = {
      attest: file('quote.msg'),
      signature: file('quote.sig'),
      ak: file('ak.pub'),
      pcrs: file('quote.pcrs'),
      nonce: Buffer.from('c0ffee', 'hex'),
    };
  });

  afterAll(() => swtpm?.stop());

  compare(() => quote);
});

/**
 * Quotes that only a key which is no attestation key of a TPM signs, or that leave out what a verifier must ask for. tpm2_checkquote
 * compares signature, nonce and digest; what is refused here beyond that, and why, has its name.
 */
describe('what is refused here whatever the tool says', () => {
  const tpm = new SoftwareTpm({ banks: [TPM_ALG_SHA1, TPM_ALG_SHA256] });
  const ak = tpm.createAk();
  const nonce = Buffer.from('c0ffee', 'hex');
  const save = (lie?: (truth: QuoteFields) => QuoteFields): SavedQuote => ({
    ...tpm.quote(ak, { extraData: nonce, ...(lie === undefined ? {} : { lie }) }),
    ak: encodeSizedPublicArea(ak.publicArea),
    pcrs: pcrStructures(tpm.read()),
    nonce,
  });

  test('both verify what is not lied about', () => {
    expect(bothSay(save())).toEqual(['verified', 'verified']);
    const pem = createPublicKey(ak.privateKey).export({ type: 'spki', format: 'pem' });
    expect(bothSay({ ...save(), ak: Buffer.from(pem) })).toEqual(['verified', 'verified']);
  });

  test.each<[string, () => SavedQuote]>([
    [
      'the magic is not that of a TPM, so anybody may have written the statement',
      () => save((t) => ({ ...t, magic: 1 })),
    ],
    [
      'the statement is no quote',
      () => {
        let fields: QuoteFields | undefined;
        const good = save((truth) => (fields = truth));
        if (fields === undefined) throw new TypeError('nothing was quoted');
        return { ...good, ...signAttest(ak, encodeOtherAttest(0x8019, fields, Buffer.alloc(25))) };
      },
    ],
    [
      'the quote selects nothing, so its digest is over nothing',
      () => save((truth) => ({ ...truth, attested: { ...truth.attested, pcrSelect: [] } })),
    ],
    [
      'the quote selects a bank twice, so values could stand for each other',
      () => {
        const pcrSelect = [0, 1].map((pcr) => makePcrSelection(TPM_ALG_SHA256, [pcr]));
        return save((truth) => ({ ...truth, attested: { ...truth.attested, pcrSelect } }));
      },
    ],
  ])('%s', (_name, make) => {
    expect(judgedHere(make())).toBe('refused');
  });
});
