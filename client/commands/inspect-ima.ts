import type { Command } from 'commander';
import { ImaKeyError, ImaKeyring, readImaKeys } from '../../tpm/ima/keyring.ts';
import { UsageError } from '../failure.ts';
import { parsePcrFile } from '../inspect/eventlog-input.ts';
import { inspectIma } from '../inspect/ima.ts';
import type { ImaReport } from '../inspect/ima.ts';
import { formatImaReport } from '../inspect/ima-text.ts';
import type { JsonValue } from '../sdk/resources.ts';
import { outputOption, readNamedFile, writeJson } from './context.ts';
import type { Context } from './context.ts';
import { INSPECT_EXIT, inspectCommand } from './inspect.ts';

/** Bytes of a saved list; in ASCII it is about twice as long as in binary. */
export const MAX_LIST_BYTES = 256 * 1024 * 1024;
const MAX_KEY_FILE_BYTES = 4 * 1024 * 1024;
const MAX_PCR_FILE_BYTES = 256 * 1024;

interface Options {
  readonly key?: readonly string[];
  readonly pcrs?: string;
  readonly output: 'table' | 'json';
}

const HELP = `
FILE is binary_runtime_measurements, the same in Base64, or ascii_runtime_measurements; - is standard input.
FILE of --pcrs has lines of "bank pcr hex", or is what tpm2_pcrread prints.

Exit codes:
  ${INSPECT_EXIT.consistent}  the list is consistent
  ${INSPECT_EXIT.findings}  a finding of severity error was made
  ${INSPECT_EXIT.unreadable}  the file is no IMA list, or wrong usage
`;

/** `assay inspect ima`. Needs no service. */
export function addInspectImaCommand(context: Context, program: Command): void {
  inspectCommand(program)
    .command('ima <file>')
    .description('show what an IMA measurement list says, and check its hashes and signatures')
    .option('--key <file...>', 'certificates or public keys that files are signed with (PEM or DER)')
    .option('--pcrs <file>', 'PCR values of the boot, to check the list and its boot aggregate against')
    .addOption(outputOption().default('table'))
    .addHelpText('after', HELP)
    .action(async (file: string, options: Options) => {
      const list = await readNamedFile(context, file, MAX_LIST_BYTES, 'list');
      const keyring = await readKeyring(context, options.key ?? []);
      const pcrs = await readPcrs(context, options.pcrs);
      const report = inspectIma(list, { keyring, ...(pcrs === undefined ? {} : { pcrs }) });
      if (options.output === 'json') writeJson(context, toJson(report));
      else context.write(formatImaReport(report, context.style));
      context.setExitCode(exitCodeOf(report));
    });
}

function exitCodeOf({ entries, findings }: ImaReport): number {
  if (entries === 0) return INSPECT_EXIT.unreadable;
  return findings.some(({ severity }) => severity === 'error') ? INSPECT_EXIT.findings : INSPECT_EXIT.consistent;
}

export async function readKeyring(context: Context, files: readonly string[]): Promise<ImaKeyring> {
  const keys = await Promise.all(
    files.map(async (file) => {
      const bytes = await readNamedFile(context, file, MAX_KEY_FILE_BYTES, 'key file');
      try {
        return readImaKeys(bytes);
      } catch (error) {
        if (error instanceof ImaKeyError) throw new UsageError(`${file}: ${error.message}`, { cause: error });
        throw error;
      }
    }),
  );
  return new ImaKeyring(keys.flat());
}

async function readPcrs(
  context: Context,
  file: string | undefined,
): Promise<ReturnType<typeof parsePcrFile> | undefined> {
  if (file === undefined) return undefined;
  return parsePcrFile(file, (await readNamedFile(context, file, MAX_PCR_FILE_BYTES, 'pcr file')).toString('utf8'));
}

function toJson(report: ImaReport): JsonValue {
  const { bootAggregate, keysAdded, prefix, findings, ...plain } = report;
  return {
    ...plain,
    bootAggregate: bootAggregate === null ? null : { ...bootAggregate },
    keysAdded: keysAdded.map((key) => ({ ...key })),
    ...(prefix === undefined ? {} : { prefix: { ...prefix } }),
    findings: findings.map((finding) => ({ ...finding })),
  };
}
