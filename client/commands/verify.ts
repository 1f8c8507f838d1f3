import type { Command } from 'commander';
import { MAX_USERSPACE_LOG_BYTES } from '../../tpm/eventlog/userspace-log.ts';
import { UsageError } from '../failure.ts';
import { findParts, requirePart } from '../inspect/bundle.ts';
import type { BundlePaths } from '../inspect/bundle.ts';
import { MAX_CERTIFICATE_FILE_BYTES } from '../inspect/certificate-input.ts';
import { judgeEvidence } from '../inspect/evidence.ts';
import type { EvidenceFiles } from '../inspect/evidence.ts';
import { formatEvidence } from '../inspect/evidence-text.ts';
import { outputOption, readNamedFile, writeReport } from './context.ts';
import type { Context } from './context.ts';
import { listNamedFolder } from './folder.ts';
import { endorsementOptions, readEkCertificate, readEndorsementContext } from './inspect-ek-certificate.ts';
import type { EndorsementOptions } from './inspect-ek-certificate.ts';
import { MAX_LIST_BYTES, readKeyring } from './inspect-ima.ts';
import { expectedExtraData, knownScheme, parseHex, quoteOptions, readQuoteFile } from './inspect-quote.ts';
import type { QuoteOptions } from './inspect-quote.ts';
import { INSPECT_EXIT, MAX_LOG_FILE_BYTES } from './inspect.ts';

/** Names in a folder of evidence. */
const MAX_BUNDLE_FILES = 1024;

interface Options extends QuoteOptions, EndorsementOptions {
  readonly attest?: string;
  readonly signature?: string;
  readonly ak?: string;
  readonly pcrs?: string;
  readonly bootLog?: string;
  readonly userspaceLog?: string;
  readonly imaList?: string;
  readonly ekCertificate?: readonly string[];
  readonly key?: readonly string[];
  readonly output: 'table' | 'json';
}

const HELP = `
DIR holds the parts by their names, which docs/inspect.md lists; an option names a part that is elsewhere.

Exit codes:
  ${INSPECT_EXIT.consistent}  the quote verifies, it proves every log that is there, and nothing speaks against an EK certificate
  ${INSPECT_EXIT.findings}  it does not
  ${INSPECT_EXIT.unreadable}  a part is not what it is said to be or is missing, or wrong usage
`;

/** `assay verify evidence`. Needs no service. */
export function addVerifyCommands(context: Context, program: Command): void {
  const evidence = program
    .command('verify')
    .description('judge saved evidence offline, without a service')
    .command('evidence [dir]')
    .description('verify a quote, and the logs against the PCR values that it proves')
    .option('--attest <file>', 'what the TPM attested')
    .option('--signature <file>', 'the signature over it')
    .option('--ak <file>', 'public key of the attestation key')
    .option('--pcrs <file>', 'PCR values that the quote is over')
    .option('--boot-log <file>', "the firmware's log, binary or base64")
    .option('--userspace-log <file>', "systemd's tpm2-measure.log, which goes on where the boot log ends")
    .option('--ima-list <file>', 'the IMA list, binary, base64 or ASCII')
    .option('--ek-certificate <file...>', 'certificates of the EKs of this TPM')
    .option('--key <file...>', 'certificates or public keys that files are signed with (PEM or DER)');
  endorsementOptions(quoteOptions(evidence))
    .addOption(outputOption().default('table'))
    .addHelpText('after', HELP)
    .action((folder: string | undefined, options: Options) => verifyEvidence(context, folder, options));
}

async function verifyEvidence(context: Context, folder: string | undefined, options: Options): Promise<void> {
  const paths = await findEvidence(context, folder, options);
  if (paths.userspaceLog !== undefined && paths.bootLog === undefined) {
    throw new UsageError('a userspace log goes on where a boot log ends, and there is none');
  }
  const keyring = await readKeyring(context, options.key ?? []);
  const report = judgeEvidence(await readEvidence(context, paths, options), keyring);
  if (options.output === 'json') writeReport(context, report);
  else context.write(formatEvidence(report, context.style));
  context.setExitCode(report.result === 'verified' ? INSPECT_EXIT.consistent : INSPECT_EXIT.findings);
}

async function findEvidence(context: Context, folder: string | undefined, options: Options): Promise<BundlePaths> {
  const { ekCertificate, attest, signature, ak, pcrs, bootLog, userspaceLog, imaList } = options;
  const named = {
    ...Object.fromEntries(
      Object.entries({ attest, signature, ak, pcrs, bootLog, userspaceLog, imaList }).filter(
        ([, path]) => path !== undefined,
      ),
    ),
    ...(ekCertificate === undefined ? {} : { ekCertificates: ekCertificate }),
  };
  if (folder === undefined) return findParts(undefined, named);
  const names = await listNamedFolder(context, folder, { limit: MAX_BUNDLE_FILES, what: 'evidence' });
  if (names === null) throw new UsageError(`evidence ${folder}: is no directory`);
  return findParts({ path: folder, names }, named);
}

async function readEvidence(context: Context, paths: BundlePaths, options: Options): Promise<EvidenceFiles> {
  const read = (path: string, what: string) => readQuoteFile(context, path, what);
  const optional = async (path: string | undefined, limit: number, what: string): Promise<Buffer | undefined> =>
    path === undefined ? undefined : readNamedFile(context, path, limit, what);
  const endorsements = await readEndorsementContext(context, options);
  const ekCertificates: EvidenceFiles['ekCertificates'][number][] = [];
  for (const file of paths.ekCertificates) {
    const bytes = await readNamedFile(context, file, MAX_CERTIFICATE_FILE_BYTES, 'certificate file');
    ekCertificates.push({ file, report: readEkCertificate({ name: file, bytes }, endorsements) });
  }
  return {
    quote: {
      attest: await read(requirePart(paths, 'attest'), 'attest'),
      signature: await read(requirePart(paths, 'signature'), 'signature'),
      ak: await read(requirePart(paths, 'ak'), 'attestation key'),
      pcrs: paths.pcrs === undefined ? undefined : await read(paths.pcrs, 'PCR file'),
      extraData: expectedExtraData(options) ?? (await readExtraData(context, paths.extraData)),
      ...knownScheme(options),
    },
    bootLog: await optional(paths.bootLog, MAX_LOG_FILE_BYTES, 'boot log'),
    userspaceLog: await optional(paths.userspaceLog, MAX_USERSPACE_LOG_BYTES, 'userspace log'),
    imaList: await optional(paths.imaList, MAX_LIST_BYTES, 'list'),
    ekCertificates,
  };
}

/** Hexadecimal, as people keep a nonce. */
async function readExtraData(context: Context, path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  const { bytes } = await readQuoteFile(context, path, 'extraData');
  return parseHex(bytes.toString('latin1').trim());
}
