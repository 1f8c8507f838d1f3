import type { Command } from 'commander';
import { MAX_BUNDLE_BYTES } from '../../tpm/endorsement/certificate-bundle.ts';
import { EndorsementError } from '../../tpm/endorsement/endorsement-error.ts';
import { MAX_REVOCATION_LIST_BYTES } from '../../tpm/endorsement/revocation.ts';
import { UsageError } from '../failure.ts';
import { MAX_CERTIFICATE_FILE_BYTES, readEkCertificateFile } from '../inspect/certificate-input.ts';
import { inspectEkCertificate } from '../inspect/ek-certificate.ts';
import type { EkCertificateContext, EkCertificateReport } from '../inspect/ek-certificate.ts';
import { formatEkCertificate } from '../inspect/ek-certificate-text.ts';
import { hasErrors } from '../inspect/offline-finding.ts';
import { readTrustAnchors } from '../inspect/trust-anchors.ts';
import type { NamedFile } from '../inspect/trust-anchors.ts';
import { outputOption, readNamedFile, writeReport } from './context.ts';
import type { Context } from './context.ts';
import { readFolder } from './folder.ts';
import { INSPECT_EXIT, inspectCommand } from './inspect.ts';

/** What a folder of a manufacturers' bundle may hold. */
const ANCHOR_BOUNDS = { maxFiles: 2048, maxFileBytes: MAX_BUNDLE_BYTES, maxBytes: 64 * 1024 * 1024 } as const;

/** How endorsements are judged, as options of a command say it. */
export interface EndorsementOptions {
  readonly trustAnchors?: string;
  readonly crl?: readonly string[];
  readonly at?: Date;
}

interface Options extends EndorsementOptions {
  readonly output: 'table' | 'json';
}

const HELP = `
FILE is PEM, DER or the base64 of DER, bare or as NV holds it; - is standard input. The first certificate is the
EK's, what follows is its chain. In DIR, or a file, self-issued certificates are trusted and others may stand between.

Exit codes:
  ${INSPECT_EXIT.consistent}  it parses, and is valid up to a trust anchor where any were given
  ${INSPECT_EXIT.findings}  a finding of severity error was made, or no path is valid
  ${INSPECT_EXIT.unreadable}  the file is no certificate, or wrong usage
`;

/** `assay inspect ek-certificate`. Needs no service. */
export function addInspectEkCertificateCommand(context: Context, program: Command): void {
  endorsementOptions(
    inspectCommand(program)
      .command('ek-certificate <file>')
      .description('show what an EK certificate says, check its key and profile, and its path to a trust anchor'),
  )
    .addOption(outputOption().default('table'))
    .addHelpText('after', HELP)
    .action(async (file: string, options: Options) => {
      const bytes = await readNamedFile(context, file, MAX_CERTIFICATE_FILE_BYTES, 'certificate file');
      const report = readEkCertificate({ name: file, bytes }, await readEndorsementContext(context, options));
      if (options.output === 'json') writeReport(context, report);
      else context.write(formatEkCertificate(report, context.style));
      context.setExitCode(hasErrors(report.findings) ? INSPECT_EXIT.findings : INSPECT_EXIT.consistent);
    });
}

/** Gives a command the options by which EK certificates are judged. */
export function endorsementOptions(command: Command): Command {
  return command
    .option('--trust-anchors <dir>', 'CA certificates of TPM manufacturers (PEM or DER)')
    .option('--crl <file...>', 'revocation lists of those CAs (PEM or DER)')
    .option('--at <time>', 'judge validity at this time, such as 2026-11-25T12:00:00Z, and not now', parseTime);
}

/** What the options name, read. */
export async function readEndorsementContext(
  context: Context,
  options: EndorsementOptions,
): Promise<EkCertificateContext> {
  const { trustAnchors, crl = [], at = context.now() } = options;
  if (trustAnchors === undefined) {
    if (crl.length > 0) throw new UsageError('--crl means nothing without --trust-anchors');
    return { trustAnchors: null, revocationLists: [], now: at };
  }
  const files = await readFolder(context, trustAnchors, { bounds: ANCHOR_BOUNDS, what: 'trust anchors' });
  const read = readTrustAnchors(files);
  if (read.anchors.length === 0) {
    throw new UsageError(`trust anchors ${trustAnchors}: no self-issued certificate is there`);
  }
  const revocationLists: NamedFile[] = [];
  for (const name of crl) {
    const bytes = await readNamedFile(context, name, MAX_REVOCATION_LIST_BYTES, 'revocation list');
    revocationLists.push({ name, bytes });
  }
  return { trustAnchors: read, revocationLists, now: at };
}

/** Reads a file with an EK certificate and judges it. */
export function readEkCertificate({ name, bytes }: NamedFile, context: EkCertificateContext): EkCertificateReport {
  try {
    return inspectEkCertificate(readEkCertificateFile(bytes), context);
  } catch (error) {
    if (error instanceof EndorsementError) throw new UsageError(`${name}: ${error.message}`, { cause: error });
    throw error;
  }
}

function parseTime(text: string): Date {
  const time = new Date(text);
  if (!/^\d{4}-\d\d-\d\dT/.test(text) || Number.isNaN(time.getTime())) throw new UsageError(`--at ${text} is no time`);
  return time;
}
