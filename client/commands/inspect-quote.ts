import type { Command } from 'commander';
import { Option } from 'commander';
import { TPM_ALG_RSAPSS, TPM_ALG_RSASSA, hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import { UsageError } from '../failure.ts';
import { hasErrors } from '../inspect/offline-finding.ts';
import { inspectQuote } from '../inspect/quote.ts';
import { reportQuote } from '../inspect/quote-report.ts';
import { formatQuote } from '../inspect/quote-text.ts';
import type { KnownScheme } from '../inspect/quote-signer.ts';
import type { NamedFile } from '../inspect/trust-anchors.ts';
import { outputOption, readNamedFile, writeReport } from './context.ts';
import type { Context } from './context.ts';
import { INSPECT_EXIT, inspectCommand } from './inspect.ts';

/** Bytes of one file of a quote: the largest key, in PEM with text around it. */
export const MAX_QUOTE_FILE_BYTES = 64 * 1024;

/** How a quote is judged, as options of a command say it. */
export interface QuoteOptions {
  readonly nonce?: Buffer;
  readonly extraData?: Buffer;
  readonly scheme?: 'rsassa' | 'rsapss';
  readonly hash?: string;
}

interface Options extends QuoteOptions {
  readonly attest: string;
  readonly signature: string;
  readonly ak: string;
  readonly pcrs?: string;
  readonly output: 'table' | 'json';
}

const HELP = `
--attest takes TPMS_ATTEST or TPM2B_ATTEST; --signature TPMT_SIGNATURE, or DER or bare as tpm2-tools write it; --ak
TPM2B_PUBLIC, TPMT_PUBLIC or PEM; --pcrs the file of tpm2_quote or tpm2_pcrread, or lines of BANK PCR HEX; all also in
base64, and - is standard input.

Exit codes:
  ${INSPECT_EXIT.consistent}  the quote verifies, and the PCR values where any were given
  ${INSPECT_EXIT.findings}  it does not
  ${INSPECT_EXIT.unreadable}  a file is not what it is said to be, or wrong usage
`;

/** `assay inspect quote`. Needs no service. */
export function addInspectQuoteCommand(context: Context, program: Command): void {
  quoteOptions(
    inspectCommand(program)
      .command('quote')
      .description('show what a TPM attested, and check signature, nonce and PCR values')
      .requiredOption('--attest <file>', 'what the TPM attested')
      .requiredOption('--signature <file>', 'the signature over it')
      .requiredOption('--ak <file>', 'public key of the attestation key')
      .option('--pcrs <file>', 'PCR values that the quote must be over'),
  )
    .addOption(outputOption().default('table'))
    .addHelpText('after', HELP)
    .action(async (options: Options) => {
      const read = (path: string, what: string) => readQuoteFile(context, path, what);
      const inspection = inspectQuote({
        attest: await read(options.attest, 'attest'),
        signature: await read(options.signature, 'signature'),
        ak: await read(options.ak, 'attestation key'),
        pcrs: options.pcrs === undefined ? undefined : await read(options.pcrs, 'PCR file'),
        extraData: expectedExtraData(options),
        ...knownScheme(options),
      });
      const report = reportQuote(inspection);
      if (options.output === 'json') writeReport(context, report);
      else context.write(formatQuote(report, context.style));
      const good = report.result === 'verified' && !hasErrors(report.findings);
      context.setExitCode(good ? INSPECT_EXIT.consistent : INSPECT_EXIT.findings);
    });
}

/** Gives a command the options by which quotes are judged. */
export function quoteOptions(command: Command): Command {
  return command
    .option('--nonce <hex>', 'what extraData must be, as tpm2_quote takes it by --qualification', parseHex)
    .option('--extra-data <hex>', 'the same: of Assay, the digest that binds its nonce', parseHex)
    .addOption(new Option('--scheme <scheme>', 'what a bare RSA key signs with').choices(['rsassa', 'rsapss']))
    .option('--hash <hash>', 'the hash that a bare key signs with');
}

/** What extraData must be; undefined where nobody says. */
export function expectedExtraData({ nonce, extraData }: QuoteOptions): Buffer | undefined {
  if (nonce !== undefined && extraData !== undefined)
    throw new UsageError('--nonce and --extra-data are one and the same');
  return nonce ?? extraData;
}

export function knownScheme({ scheme, hash }: QuoteOptions): KnownScheme {
  const row = hash === undefined ? undefined : hashAlgorithmByName(hash);
  if (hash !== undefined && row === undefined) throw new UsageError(`--hash ${hash} is no hash that is known`);
  const schemes = { rsassa: TPM_ALG_RSASSA, rsapss: TPM_ALG_RSAPSS } as const;
  return { scheme: scheme === undefined ? undefined : schemes[scheme], hash: row?.alg };
}

export async function readQuoteFile(context: Context, path: string, what: string): Promise<NamedFile> {
  return { name: path, bytes: await readNamedFile(context, path, MAX_QUOTE_FILE_BYTES, what) };
}

export function parseHex(text: string): Buffer {
  if (!/^(?:[0-9a-f]{2})*$/i.test(text)) throw new UsageError(`not hexadecimal: ${text.slice(0, 200)}`);
  return Buffer.from(text, 'hex');
}
