import type { PcrValues } from '../../../tpm/crypto/pcr.ts';
import { algorithmName, TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { makePcrSelection } from '../../../tpm/structures/pcr-selection.ts';
import { encodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import type { SignedAttest } from '../../../server/verifier/verify-quote.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import type { QuoteFields, SoftwareAk } from '../../support/software-tpm.ts';
import { Shell } from './shell.ts';

/** What a test reads of the report on a quote. */
export interface QuoteJson {
  readonly result: string;
  readonly checks: Readonly<Record<string, string>>;
  readonly attest: Readonly<Record<string, unknown>>;
  readonly pcrs: Readonly<Record<string, Readonly<Record<string, string>>>> | null;
  readonly findings: readonly { readonly code: string; readonly severity: string }[];
}

export interface QuoteParts extends SignedAttest {
  readonly ak: Buffer | string;
  readonly pcrs?: Buffer | string;
}

export const NONCE = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
export const errorsOf = ({ findings }: Pick<QuoteJson, 'findings'>): readonly string[] =>
  findings.filter(({ severity }) => severity === 'error').map(({ code }) => code);

/** A shell, and a TPM with two active banks of which something was measured into some PCRs. */
export class QuoteBench {
  readonly shell: Shell;
  readonly tpm = new SoftwareTpm({ banks: [TPM_ALG_SHA1, TPM_ALG_SHA256] });
  readonly ak: SoftwareAk;

  private constructor(shell: Shell) {
    this.shell = shell;
    this.ak = this.tpm.createAk('ecdsa');
    for (const pcr of [0, 4, 7]) {
      this.tpm.extend(pcr);
      this.tpm.extend(pcr, Buffer.alloc(20, 2), TPM_ALG_SHA1);
    }
  }

  static async open(): Promise<QuoteBench> {
    return new QuoteBench(await Shell.open());
  }

  /** The files of a good quote, of the key's own or what the TPM says in its place. */
  quote(lie?: (truth: QuoteFields) => QuoteFields, ak = this.ak): QuoteParts {
    const signed = this.tpm.quote(ak, { extraData: NONCE, ...(lie === undefined ? {} : { lie }) });
    return { ...signed, ak: encodeSizedPublicArea(ak.publicArea), pcrs: pcrText(this.tpm.read()) };
  }

  /** Exit code and report of `assay inspect quote`. */
  async inspect(parts: QuoteParts, ...options: readonly string[]): Promise<[number, QuoteJson]> {
    const { binaries } = this.shell;
    binaries.clear();
    for (const [name, bytes] of Object.entries(parts)) binaries.set(name, Buffer.from(bytes as Buffer));
    this.shell.out = '';
    this.shell.err = '';
    const files = ['--attest', 'attest', '--signature', 'signature', '--ak', 'ak'];
    const pcrs = parts.pcrs === undefined ? [] : ['--pcrs', 'pcrs'];
    const code = await this.shell.assay('inspect', 'quote', ...files, ...pcrs, '--output', 'json', ...options);
    return [code, this.shell.out === '' ? ({} as QuoteJson) : (JSON.parse(this.shell.out) as QuoteJson)];
  }
}

/** Lines of `BANK PCR HEX`. */
export function pcrText(values: PcrValues): string {
  return [...values]
    .flatMap(([alg, bank]) =>
      [...bank].map(([pcr, value]) => `${algorithmName(alg)} ${pcr} ${value.toString('hex')}\n`),
    )
    .join('');
}

/** The C structures, little-endian, that tpm2_quote writes. */
export function pcrStructures(values: PcrValues): Buffer {
  const banks = [...values];
  const selections = Buffer.alloc(4 + 16 * 8);
  selections.writeUInt32LE(banks.length, 0);
  for (const [index, [alg, bank]] of banks.entries()) {
    const { pcrSelect } = makePcrSelection(alg, bank.keys());
    selections.writeUInt16LE(alg, 4 + index * 8);
    selections.writeUInt8(pcrSelect.length, 6 + index * 8);
    pcrSelect.copy(selections, 7 + index * 8);
  }
  const digests = banks.flatMap(([, bank]) => [...bank].toSorted(([a], [b]) => a - b).map(([, value]) => value));
  const lists = Array.from({ length: Math.ceil(digests.length / 8) }, (_, list) => {
    const places = digests.slice(list * 8, list * 8 + 8);
    const bytes = Buffer.alloc(4 + 8 * 66);
    bytes.writeUInt32LE(places.length, 0);
    for (const [place, value] of places.entries()) {
      bytes.writeUInt16LE(value.length, 4 + place * 66);
      value.copy(bytes, 6 + place * 66);
    }
    return bytes;
  });
  const count = Buffer.alloc(4);
  count.writeUInt32LE(lists.length, 0);
  return Buffer.concat([selections, count, ...lists]);
}
